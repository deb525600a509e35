"""The header ``Idempotency-Key``: a POST that may be sent again without being done again.

::

    async def create(body: ThingIn, once: Idempotency, …) -> Response | ThingOut:
        async with once.request("POST /v1/things", body) as attempt:
            if attempt.replay is not None:
                return replayed(attempt.replay)
            thing = await services.run(lambda: make(body, id=attempt.resource_id))
            out = thing_out(thing)
            await attempt.made(out, 201, {"Location": …})
        return out

Without the header the block runs as if it were not there. A block that ends without ``made``, by
an error or otherwise, frees the key. A first response that held a wait is kept as it was before
the wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import structlog
from fastapi import Depends, Header, Response
from pydantic import BaseModel

from api.services import Services, Use
from circuits.errors import ZkmlError
from prover.idempotency import (
    LOCK_S,
    Claim,
    IdempotencyKeyInvalid,
    KeptResponse,
    Replay,
    fingerprint,
)

REPLAYED_HEADER = "Idempotent-Replayed"
#: Printable ASCII without spaces; the draft's quotes around it are taken off.
_KEY = re.compile(r"[!#-~]{1,255}")
_log = structlog.get_logger("zkml.api")


class Attempt:
    """One request with a key, or without one (then nothing is kept)."""

    def __init__(self, services: Services, claim: Claim | None, replay: Replay | None) -> None:
        self._services = services
        self._claim = claim
        self._is_made = False
        self.replay = replay

    @property
    def resource_id(self) -> str | None:
        """The id of what the request is to make; None: any."""
        return None if self._claim is None else self._claim.resource_id

    async def made(
        self, body: BaseModel, status: int, headers: dict[str, str] | None = None
    ) -> None:
        """Keeps the first response: whoever sends the request again gets this."""
        claim = self._claim
        if claim is None:
            return
        kept = KeptResponse(status=status, headers=headers or {}, body=body.model_dump_json())
        await self._services.run(lambda: self._services.app.store.end_request(claim, kept))
        self._is_made = True

    async def _keep_locked(self, claim: Claim) -> None:
        store = self._services.app.store
        while True:
            await asyncio.sleep(LOCK_S / 3)
            try:
                await self._services.run(lambda: store.keep_request_locked(claim))
            except ZkmlError as error:
                _log.warning("idempotency_key_not_locked", detail=error.detail)

    async def _free(self) -> None:
        claim, store = self._claim, self._services.app.store
        if claim is None or self._is_made:
            return
        try:
            await self._services.run(lambda: store.free_request(claim))
        except ZkmlError as error:  # then its lock runs out
            _log.warning("idempotency_key_not_freed", detail=error.detail)


class Once:
    """The requests of one idempotency key, or of none."""

    def __init__(self, services: Services, key: str | None) -> None:
        self._services = services
        self.key = key

    @asynccontextmanager
    async def request(self, *parts: str | bytes | BaseModel) -> AsyncIterator[Attempt]:
        """One request; ``parts`` say which: route, parameters, and the body or its digest. They
        are looked at only where there is a key.

        Raises ``IdempotencyKeyReused`` and ``IdempotencyInProgress``.
        """
        key, store = self.key, self._services.app.store
        if key is None:
            yield Attempt(self._services, None, None)
            return
        begun = await self._services.run(
            lambda: store.begin_request(key, fingerprint(*map(_plain, parts)))
        )
        if isinstance(begun, Replay):
            yield Attempt(self._services, None, begun)
            return
        attempt = Attempt(self._services, begun, None)
        renewing = asyncio.create_task(attempt._keep_locked(begun))
        try:
            yield attempt
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            await attempt._free()


def _plain(part: str | bytes | BaseModel) -> str | bytes:
    return part.model_dump_json() if isinstance(part, BaseModel) else part


def replayed(replay: Replay) -> Response:
    """The first response, sent again."""
    kept = replay.response
    return Response(
        kept.body,
        status_code=kept.status,
        media_type="application/json",
        headers={**kept.headers, REPLAYED_HEADER: "true"},
    )


async def _once(
    services: Use,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Any text of the client's own, such as a UUID. The same request with the"
            " same key is done once: later ones get the first response, with"
            f" `{REPLAYED_HEADER}: true`."
        ),
    ] = None,
) -> Once:
    if idempotency_key is None:
        return Once(services, None)
    key = idempotency_key.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid
    return Once(services, key)


Idempotency = Annotated[Once, Depends(_once)]
