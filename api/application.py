"""The FastAPI application: slices, errors, lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from api import errors, openapi
from api.batches.endpoints import router as batches
from api.circuits.endpoints import router as circuits
from api.estimates.endpoints import router as estimates
from api.health.endpoints import router as health
from api.jobs.schemas import Event
from api.keys.endpoints import router as keys
from api.models.endpoints import router as models
from api.port import AppLike
from api.problem import Problem
from api.proofs.endpoints import router as proofs
from api.queue import JobSender
from api.rate import ClientRate
from api.reference.endpoints import router as reference
from api.requests import RequestContext
from api.services import Services
from api.verifications.endpoints import router as verifications
from api.watch import Watch

DESCRIPTION = (
    "Upload an ONNX model, post an input, get the output with a proof and a signed receipt that"
    " anyone can check offline. Every error is an RFC 9457 problem document with a stable `code`."
)


def create_app(app: AppLike) -> FastAPI:
    """The HTTP service over ``app``, which the caller owns and closes after the server."""
    sender = JobSender(app.settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            sender.close()

    api = FastAPI(
        title="zkml-prover",
        version=version("zkml-prover"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # Swagger UI and ReDoc are loaded from elsewhere: see api.reference
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    api.state.services = Services(
        app=app,
        sender=sender,
        watch=Watch(app.store, app.nudges),
        verifications=ClientRate(app.settings.verifications_per_minute),
    )
    api.add_middleware(RequestContext)
    errors.install(api)
    for router in (
        models,
        estimates,
        circuits,
        proofs,
        batches,
        verifications,
        keys,
        health,
        reference,
    ):
        api.include_router(router)
    openapi.complete(api, Problem, Event)
    return api
