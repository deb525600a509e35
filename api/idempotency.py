"""The header ``Idempotency-Key``: a repeated POST is executed once.

::

    async def create(body: ThingIn, once: Idempotency, …) -> Response | ThingOut:
        async with once.request("POST /v1/things", body) as attempt:
            if attempt.replay is not None:
                return replayed(attempt.replay)
            thing = await services.run(lambda: make(body, id=attempt.resource_id))
            out = thing_out(thing)
            await attempt.made(out, 201, {"Location": …})
        return out

A job that is created at once needs no block: ``await once.job(make, respond, "POST /v1/jobs",
body)`` creates it and stores the response in one transaction.

Without the header the block runs normally. A block that ends without ``made``, by an error or
otherwise, frees the key. If the first response waited, the stored response is that before the
wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated

import structlog
from fastapi import Depends, Header, Response
from pydantic import BaseModel

from api.services import Services, Use
from circuits.errors import ZkmlError
from prover.records.idempotency import (
    LOCK_S,
    Claim,
    IdempotencyInProgress,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    KeptResponse,
    KeyedRequest,
    Replay,
    fingerprint,
)
from prover.records.job import Job

REPLAYED_HEADER = "Idempotent-Replayed"
#: Printable ASCII without spaces; the quotes of the draft standard are removed.
_KEY = re.compile(r"[!#-~]{1,255}")
_log = structlog.get_logger("zkml.api")


class Attempt:
    """One request with a key, or without one (then nothing is stored)."""

    def __init__(self, services: Services, claim: Claim | None, replay: Replay | None) -> None:
        self._services = services
        self._claim = claim
        self._is_made = False
        self.replay = replay

    @property
    def resource_id(self) -> str | None:
        """The id of the resource to create; None: any."""
        return None if self._claim is None else self._claim.resource_id

    async def made(
        self, body: BaseModel, status: int, headers: dict[str, str] | None = None
    ) -> None:
        """Stores the first response, for repeated requests."""
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
        except ZkmlError as error:  # then its lock expires
            _log.warning("idempotency_key_not_freed", detail=error.detail)


class Once:
    """Handles requests with one idempotency key, or with none."""

    def __init__(self, services: Services, key: str | None) -> None:
        self._services = services
        self.key = key

    async def job(
        self,
        make: Callable[[KeyedRequest | None], Job],
        respond: Callable[[Job], KeptResponse],
        *parts: str | bytes | BaseModel,
    ) -> Job | Replay:
        """The job that ``make`` creates in one transaction with its stored response, or the first
        response of the same request. Raises ``IdempotencyKeyReused`` and
        ``IdempotencyInProgress``."""
        services, store, key = self._services, self._services.app.store, self.key
        if key is None:
            return await services.run(lambda: make(None))
        keyed = KeyedRequest(key=key, fingerprint=fingerprint(*map(_plain, parts)), respond=respond)

        def find_or_make() -> Job | Replay:
            return store.find_request(key, keyed.fingerprint) or make(keyed)

        with self._alone(keyed):
            return await services.run(find_or_make)

    @contextmanager
    def _alone(self, keyed: KeyedRequest) -> Iterator[None]:
        """Refuses a second request with the key while this process handles the first. (Between
        processes the store decides which one creates its job.)"""
        under_way = self._services.under_way
        mine = (self._services.caller.tenant, keyed.key)
        if mine in under_way:
            if under_way[mine] != keyed.fingerprint:
                raise IdempotencyKeyReused
            raise IdempotencyInProgress(retry_after_s=1)
        under_way[mine] = keyed.fingerprint
        try:
            yield
        finally:
            del under_way[mine]

    @asynccontextmanager
    async def request(self, *parts: str | bytes | BaseModel) -> AsyncIterator[Attempt]:
        """One request, identified by ``parts``: route, parameters, and the body or its digest. They
        are ignored without a key.

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
    """Repeats the first response."""
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
            description="Any string of the client, such as a UUID. Repeated requests with the same"
            " key are executed once: later ones get the first response, with"
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
