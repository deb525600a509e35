"""Authentication of requests, before their body is read.

``KeyChecker`` looks up keys, ``Authentication`` is the middleware. An event stream whose key is
revoked or expires ends within ``RECHECK_S`` seconds. If a key cannot be looked up, its request is
refused.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import anyio
import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import OPTIONAL, needed, prefix_of
from api.caller import LOCAL, NOBODY, Caller, set_caller
from api.errors import render
from api.key_rate import KeyRate
from api.problem import HostNotLocal, RateLimited, ScopeMissing
from circuits.errors import ZkmlError
from prover.errors import ApiKeyInvalid, Unauthenticated
from prover.records.api_key import ID_LENGTH, ApiKey, check_secret, split_token
from prover.store import Store
from prover.store.database import utc_now

#: How long a looked-up key is cached, in seconds: the longest delay of a revocation.
FRESH_S = 1.0
#: A key in use is looked up again after this many seconds, in the background.
AHEAD_S = 0.5
#: Seconds between two checks of an open stream's key.
RECHECK_S = 2.0
#: Size of the cache of keys.
_REMEMBERED = 10_000

_log = structlog.get_logger("zkml.api")


@dataclass(frozen=True)
class _Known:
    key: ApiKey
    at: float


class KeyChecker:
    """The service's keys. Look-ups block and may raise ``StoreUnavailable``."""

    def __init__(
        self,
        store: Store,
        *,
        allow_anonymous: bool,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """``allow_anonymous``: as long as no key exists, every client has full access."""
        self._store = store
        self._allow_anonymous = allow_anonymous
        self._now = now
        self._known: dict[str, _Known] = {}
        self._used: dict[str, datetime] = {}
        self._no_keys_at = -math.inf

    def caller(self, token: str | None) -> Caller:
        """The caller with this token. Raises ``Unauthenticated`` and its subclasses."""
        if token is None:
            if self._anonymous():
                return LOCAL
            raise Unauthenticated
        key_id, secret = split_token(token)
        key = check_secret(self._find(key_id), secret, self._now())
        self._used[key.id] = self._now()
        return Caller(
            tenant=key.tenant,
            key_id=key.id,
            scopes=key.scopes,
            requests_per_minute=key.requests_per_minute,
            origins=key.origins,
        )

    def age_s(self, token: str | None) -> float:
        """Age of the cached answer; below ``FRESH_S`` ``caller`` does not ask the store."""
        if token is None:
            return _age_s(self._no_keys_at) if self._allow_anonymous else 0.0
        found = self._known.get(token[:ID_LENGTH])
        return math.inf if found is None else _age_s(found.at)

    def look_up(self, key_id: str | None) -> ApiKey | None:
        """Reads a key from the store into the cache; None: whether there are any keys."""
        asked = time.monotonic()
        if key_id is None:
            if self._store.has_api_keys():
                self._allow_anonymous = False
            self._no_keys_at = asked
            return None
        key = self._store.find_api_key(key_id)
        if key is not None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key_id] = _Known(key, asked)
        return key

    def check_in_force(self, key_id: str) -> None:
        """Raises ``Unauthenticated`` or a subclass if the key is no longer in force."""
        key = self._find(key_id)
        if key is None:
            raise ApiKeyInvalid
        key.check_in_force(self._now())

    def write_down_use(self) -> None:
        """Records when each key was last used. Called periodically, not for each request."""
        used, self._used = self._used, {}
        for key_id, at in list(used.items()):
            self._store.note_api_key_used(key_id, at)

    def _anonymous(self) -> bool:
        if not self._allow_anonymous:
            return False
        if _age_s(self._no_keys_at) >= FRESH_S:
            self.look_up(None)
        return self._allow_anonymous

    def _find(self, key_id: str) -> ApiKey | None:
        known = self._known.get(key_id)
        if known is not None and _age_s(known.at) < FRESH_S:
            return known.key
        return self.look_up(key_id)


def _age_s(at: float) -> float:
    return time.monotonic() - at


class Authentication:
    """ASGI middleware: finds the caller, or responds with 401, 403 or 503."""

    def __init__(
        self, app: ASGIApp, *, checker: KeyChecker, rate: KeyRate, public_verification: bool
    ) -> None:
        self._app = app
        self._checker = checker
        self._rate = rate
        self._optional = OPTIONAL if public_verification else frozenset()
        #: Keys that are being looked up in the background.
        self._ahead: dict[str | None, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope)
            counted = None
            if caller.key_id is not None:
                counted = await self._rate.take(caller.key_id, caller.requests_per_minute)
        except ZkmlError as error:
            await self._refuse(error, scope, receive, send)
            return
        set_caller(scope, caller)
        if counted is not None:
            send = _with_headers(send, counted.headers)
        if caller.key_id is None:
            await self._app(scope, receive, send)
            return
        with structlog.contextvars.bound_contextvars(tenant=caller.tenant, key=caller.key_id):
            if scope["method"] == "GET":
                await self._watched(caller.key_id, scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        path = scope["path"]
        scopes = needed(scope["method"], path)
        if scopes is None:
            return NOBODY
        token = _token(scope)
        if token is None and prefix_of(path) in self._optional:
            return NOBODY
        caller = await self._whose(token)
        if caller is LOCAL and not _names_this_machine(Headers(scope=scope).get("host", "")):
            # A web page may resolve its own name to loopback (DNS rebinding), and a proxy may
            # forward requests of other hosts.
            raise HostNotLocal
        if prefix_of(path) not in self._optional and not caller.may(scopes):
            names = " or ".join(sorted(scopes))
            raise ScopeMissing(f"The API key {caller.key_id} has no scope {names}.")
        return caller

    async def _whose(self, token: str | None) -> Caller:
        age_s = self._checker.age_s(token)
        if age_s >= FRESH_S:
            return await anyio.to_thread.run_sync(self._checker.caller, token)
        caller = self._checker.caller(token)
        if age_s >= AHEAD_S and caller.key_id not in self._ahead:
            self._ahead[caller.key_id] = asyncio.create_task(self._look_ahead(caller.key_id))
        return caller

    async def _look_ahead(self, key_id: str | None) -> None:
        try:
            await anyio.to_thread.run_sync(self._checker.look_up, key_id)
        except ZkmlError as error:  # the cached key expires, then requests get 503
            _log.warning("key_not_looked_up", code=error.code)
        finally:
            del self._ahead[key_id]

    async def _refuse(self, error: ZkmlError, scope: Scope, receive: Receive, send: Send) -> None:
        response = render(error, Request(scope))
        if isinstance(error, Unauthenticated):
            response.headers["WWW-Authenticate"] = "Bearer"
        response.headers.update(error.headers if isinstance(error, RateLimited) else {})
        await response(scope, receive, send)

    async def _watched(self, key_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request whose response may be an event stream, and ends the stream when the key
        is no longer in force."""
        ended = asyncio.Event()
        recheck: asyncio.Task[None] | None = None
        complete = False

        async def send_noting(message: Message) -> None:
            nonlocal recheck, complete
            if message["type"] == "http.response.start":
                content = Headers(raw=message["headers"]).get("content-type", "")
                if content.startswith("text/event-stream"):
                    recheck = asyncio.create_task(self._recheck(key_id, ended))
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            await send(message)

        async def receive_or_end() -> Message:
            """The next message, or a disconnect once the key is no longer in force."""
            hear = asyncio.ensure_future(receive())
            end = asyncio.ensure_future(ended.wait())
            try:
                await asyncio.wait({hear, end}, return_when=asyncio.FIRST_COMPLETED)
                return hear.result() if hear.done() else {"type": "http.disconnect"}
            finally:
                hear.cancel()
                end.cancel()

        try:
            await self._app(scope, receive_or_end, send_noting)
        finally:
            if recheck is not None:
                recheck.cancel()
        if ended.is_set() and not complete:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _recheck(self, key_id: str, ended: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                if self._checker.age_s(key_id) < FRESH_S:  # cached
                    self._checker.check_in_force(key_id)
                else:
                    await anyio.to_thread.run_sync(self._checker.check_in_force, key_id)
            except ZkmlError as error:
                _log.info("stream_ended", reason=error.code)
                ended.set()
                return


@functools.lru_cache(maxsize=64)
def _names_this_machine(host: str) -> bool:
    """Whether a Host header is a loopback address or a name that only resolves to such."""
    try:
        name = urlsplit(f"//{host}").hostname or "localhost"
        if name == "localhost" or name.endswith(".localhost"):
            return True
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _with_headers(send: Send, headers: dict[str, str]) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return send_with


def _token(scope: Scope) -> str | None:
    """The token of the Authorization header. Raises ``ApiKeyInvalid`` if it has none."""
    given = Headers(scope=scope).getlist("authorization")
    if not given:
        return None
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer":
        raise ApiKeyInvalid("The Authorization header is not `Bearer` and a key.")
    return token.strip()
