"""Request handling: an id, one log line, bounded bodies, strict JSON."""

from __future__ import annotations

import re
import time
import traceback
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import anyio
import pydantic_core
import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import render
from api.problem import JsonInvalid, MediaTypeUnsupported, UploadTooSlow
from circuits.errors import ZkmlError
from prover.errors import UploadTooLarge
from prover.tracing import request_span

#: Timeout of a body that stalls, in seconds.
STALL_S = 30.0
#: The minimum rate of a body, checked after some seconds.
PATIENCE_S, LEAST_BYTES_PER_S = 30.0, 1024

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

log = structlog.get_logger("zkml.api")


class RequestContext:
    """ASGI middleware: gives each request an id, logs it, and handles uncaught exceptions.

    A valid ``X-Request-ID`` of the caller is kept, otherwise a new one is created; it is echoed and
    on every log line of the request. An unexpected exception becomes a problem document; the log
    gets its type and stack but not its message, which may contain a private value.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        started = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            request_span(scope["method"], Headers(scope=scope)) as span,
        ):
            try:
                await self._app(scope, receive, send_named)
            except ClientDisconnect:
                log.info("client_left")
            except Exception as exc:
                log.error("unexpected_error", error=type(exc).__name__, frames=_frames(exc))
                if status == 0:
                    await render(ZkmlError(), Request(scope))(scope, receive, send_named)
            finally:
                if span is not None:
                    route = getattr(scope.get("route"), "path", "")
                    span.update_name(f"{scope['method']} {route}".strip())
                    span.set_attributes(
                        {"http.response.status_code": status, "zkml.request": request_id}
                    )
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round((time.perf_counter() - started) * 1000, 1),
                )


def _frames(exc: BaseException) -> list[str]:
    frames = traceback.extract_tb(exc.__traceback__)
    return [f"{f.filename}:{f.lineno} {f.name}" for f in frames[-12:]]


class BoundedRequest(Request):
    """A request whose body is refused once it is longer than ``limit`` bytes.

    A too large ``Content-Length`` is refused before the first byte is read.
    """

    def __init__(self, request: Request, limit: int) -> None:
        super().__init__(request.scope, request.receive)
        self._limit = limit

    async def stream(self) -> AsyncGenerator[bytes, None]:
        announced = self.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced) > self._limit:
            raise self._too_large()
        seen, began = 0, time.monotonic()
        body = super().stream()
        while True:
            try:
                with anyio.fail_after(STALL_S):
                    chunk = await anext(body)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise UploadTooSlow(f"No data arrived for {STALL_S:.0f} s.") from None
            seen += len(chunk)
            if seen > self._limit:
                raise self._too_large()
            lasted_s = time.monotonic() - began
            if lasted_s > PATIENCE_S and seen < lasted_s * LEAST_BYTES_PER_S:
                raise UploadTooSlow(f"{seen} bytes arrived in {lasted_s:.0f} s.")
            yield chunk

    def _too_large(self) -> UploadTooLarge:
        return UploadTooLarge(
            f"The body is longer than {self._limit} bytes.", limit_bytes=self._limit
        )

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class JsonRequest(BoundedRequest):
    """A bounded request whose ``json()`` is strict."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json


def parse_json(body: bytes) -> Any:
    """The value of a JSON text; raises ``JsonInvalid``.

    Stricter than Python's parser: it refuses NaN and Infinity, nesting deeper than 200, and lone
    surrogates. Integers are exact up to 4 300 digits. A number too large for a double becomes
    infinity, which later checks refuse.
    """
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as exc:
        raise JsonInvalid(f"The body is not JSON: {exc}.") from None


class JsonRoute(APIRoute):
    """A route whose body is bounded by ``max_input_bytes`` and read as strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            if self.body_field is None:
                return await handle(request)
            bounded = JsonRequest(request, request.app.state.services.app.settings.max_input_bytes)
            if bounded.media_type != "application/json":
                raise MediaTypeUnsupported(
                    f"Content-Type is {bounded.media_type or 'missing'!r}, not application/json.",
                    advice="Send the header Content-Type: application/json.",
                )
            # Parsed here: FastAPI would turn a domain error into a plain 400.
            await bounded.json()
            return await handle(bounded)

        return handle_strictly
