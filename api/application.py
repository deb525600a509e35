"""The FastAPI application: slices, errors, lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
import structlog
from fastapi import Depends, FastAPI

from api import errors, openapi
from api.authentication import Authentication, KeyChecker
from api.batches.endpoints import router as batches
from api.caller import NOBODY
from api.capabilities.endpoints import router as capabilities
from api.circuits.endpoints import router as circuits
from api.cors import Cors
from api.estimates.endpoints import router as estimates
from api.health.endpoints import router as health
from api.inference.endpoints import router as inference
from api.inference.schemas import InferIn
from api.jobs.schemas import Event
from api.key_rate import KeyRate
from api.keys.endpoints import router as keys
from api.metrics import router as metrics
from api.models.endpoints import router as models
from api.partial.endpoints import router as uploads
from api.problem import Problem
from api.proofs.endpoints import router as proofs
from api.query import refuse_unknown
from api.queue import JobSender
from api.rate import ClientRate
from api.reference.endpoints import router as reference
from api.requests import RequestContext
from api.services import Services
from api.uploads import forget_leftovers
from api.usage.endpoints import router as usage
from api.verifications.endpoints import router as verifications
from api.watch import Reads, Watch
from api.webhooks.endpoints import router as webhooks
from circuits.errors import ZkmlError
from prover.app import App

DESCRIPTION = (
    "Upload an ONNX model, post an input, get the output with a proof and a signed receipt that"
    " anyone can check offline. Every error is an RFC 9457 problem document with a stable `code`."
)


#: Interval of recording the last use of keys, in seconds.
USE_NOTED_S = 20.0

_log = structlog.get_logger("zkml.api")


def create_app(app: App, *, allow_anonymous: bool = False) -> FastAPI:
    """The HTTP service for ``app``, which the caller owns and closes after the server.

    ``allow_anonymous``: no key is needed as long as none exists. For loopback only.
    """
    sender = JobSender(app.settings)
    checker = KeyChecker(app.store, allow_anonymous=allow_anonymous)
    reads = Reads(app.store)
    rate = KeyRate(
        app.settings.requests_per_minute,
        app.settings.redis_url,
        prefix=app.settings.redis_prefix,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(forget_leftovers, app.settings.home)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_note_use, checker)
                yield
                tasks.cancel_scope.cancel()
        finally:
            sender.close()
            _note_use_once(checker)
            reads.close()
            await rate.close()

    api = FastAPI(
        title="zkml-prover",
        version=version("zkml-prover"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # Swagger UI and ReDoc load from a CDN: see api.reference
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    api.state.services = Services(
        app=app,
        sender=sender,
        watch=Watch(app.store, app.notifications, reads),
        caller=NOBODY,
        verifications=ClientRate(app.settings.verifications_per_minute, "verifications"),
    )
    api.add_middleware(
        Authentication,
        checker=checker,
        rate=rate,
        public_verification=app.settings.public_verification,
    )
    api.add_middleware(Cors, origins=app.store.origins)
    api.add_middleware(RequestContext)
    errors.install(api)
    for router in (
        proofs,  # first: the most frequent, and routers are tried in order
        models,
        uploads,
        estimates,
        circuits,
        batches,
        verifications,
        webhooks,
        capabilities,
        inference,
        usage,
        keys,
        health,
        metrics,
        reference,
    ):
        # A misspelt parameter must not be ignored.
        strict = router.prefix.startswith("/v1/")
        api.include_router(router, dependencies=[Depends(refuse_unknown)] if strict else [])
    openapi.complete(api, Problem, Event, InferIn)
    return api


async def _note_use(checker: KeyChecker) -> None:
    while True:
        await anyio.sleep(USE_NOTED_S)
        await anyio.to_thread.run_sync(_note_use_once, checker)


def _note_use_once(checker: KeyChecker) -> None:
    try:
        checker.write_down_use()
    except ZkmlError as error:  # logged; no request fails
        _log.warning("key_use_not_noted", detail=error.detail)
