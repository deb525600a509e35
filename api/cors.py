"""CORS: web pages of other origins may call the API if an API key lists their origin.

Off as long as no key lists one. A preflight has no key, so it succeeds for an origin that any key
in force lists; the request itself is then checked against its own key.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.caller import known_caller
from circuits.errors import ZkmlError

#: How long the keys' origins are cached, and how long a browser may cache a preflight.
FRESH_S, PREFLIGHT_S = 5.0, 600

_METHODS = "GET, POST, PUT, PATCH, DELETE"
_ASKED = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer,"
    " X-Request-ID"
)
_SHOWN = (
    "ETag, Idempotent-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy,"
    " Retry-After, X-Request-ID"
)


class Cors:
    """ASGI middleware around authentication. ``origins`` returns the origins of keys in force; it
    blocks and may raise ``StoreUnavailable``, which counts as no origin."""

    def __init__(self, app: ASGIApp, *, origins: Callable[[], frozenset[str]]) -> None:
        self._app = app
        self._origins = origins
        self._known: frozenset[str] = frozenset()
        self._at = -FRESH_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or not await self._knows(origin):
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("access-control-request-method")
        if scope["method"] == "OPTIONS" and asked is not None:
            await _preflight(origin)(scope, receive, send)
            return

        async def send_shown(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                caller = known_caller(scope)
                if caller is None or caller.key_id is None or origin in caller.origins:
                    headers["Access-Control-Allow-Origin"] = origin
                    headers["Access-Control-Expose-Headers"] = _SHOWN
            await send(message)

        await self._app(scope, receive, send_shown)

    async def _knows(self, origin: str) -> bool:
        if time.monotonic() - self._at >= FRESH_S:
            try:
                self._known = await anyio.to_thread.run_sync(self._origins)
            except ZkmlError:
                self._known = frozenset()
            self._at = time.monotonic()
        return origin in self._known


def _preflight(origin: str) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _ASKED,
            "Access-Control-Max-Age": str(PREFLIGHT_S),
            "Vary": "Origin",
        },
    )
