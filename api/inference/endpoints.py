"""`/v2`: the Open Inference Protocol, for clients of KServe, Triton and the like."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from api.errors import responses
from api.health.endpoints import readyz
from api.health.schemas import Readiness
from api.idempotency import REPLAYED_HEADER, Idempotency, Once
from api.inference import service
from api.inference.schemas import (
    InferOut,
    LiveOut,
    ModelMetadata,
    ModelReadyOut,
    ServerOut,
    infer_out,
    metadata,
)
from api.inference.tensors import parse_request
from api.jobs.schemas import kept_response
from api.problem import MediaTypeUnsupported
from api.requests import BoundedRequest
from api.services import Application, Services, Use
from prover.records.idempotency import Replay

router = APIRouter(prefix="/v2", tags=["inference"])

Name = Annotated[
    str,
    Path(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="A model's id, or a name: the newest model of that name.",
    ),
]
Version = Annotated[
    str, Path(pattern=r"^[0-9a-f]{12}$", description="The first 12 digits of the model's digest.")
]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/InferIn"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_INFER_ERRORS = responses(400, 404, 409, 413, 415, 422)


@router.get("", summary="What the server is", responses=responses())
def server_metadata() -> ServerOut:
    """Name, version, extensions of the protocol."""
    return ServerOut(version=installed("zkml-prover"))


@router.get("/health/live", summary="Is the server alive?", responses=responses())
async def server_live() -> LiveOut:
    """As `/healthz`."""
    return LiveOut()


@router.get(
    "/health/ready",
    summary="Is the server ready?",
    responses={503: {"model": Readiness, "description": "A part is missing."}},
)
async def server_ready(app: Application, response: Response) -> Readiness:
    """As `/readyz`."""
    return await readyz(app, response)


@router.get("/models/{name}", summary="A model's signature", responses=responses(404, 422))
def model_metadata(app: Application, name: Name) -> ModelMetadata:
    """Inputs and outputs of the newest model of a name, and all its versions."""
    return metadata(name, service.models_of(app, name))


@router.get(
    "/models/{name}/versions/{version}",
    summary="The signature of one version",
    responses=responses(404, 422),
)
def model_version_metadata(app: Application, name: Name, version: Version) -> ModelMetadata:
    """The same for one model of that name."""
    return metadata(name, service.models_of(app, name, version))


@router.get("/models/{name}/ready", summary="Is a model here?", responses=responses(404, 422))
def model_ready(app: Application, name: Name) -> ModelReadyOut:
    """An uploaded model is ready; the first inference builds its circuit."""
    service.models_of(app, name)
    return ModelReadyOut(name=name)


@router.get(
    "/models/{name}/versions/{version}/ready",
    summary="Is one version here?",
    responses=responses(404, 422),
)
def model_version_ready(app: Application, name: Name, version: Version) -> ModelReadyOut:
    """The same for one model of that name."""
    service.models_of(app, name, version)
    return ModelReadyOut(name=name)


@router.post(
    "/models/{name}/infer",
    summary="Infer, with a proof",
    openapi_extra=_BODY,
    responses=_INFER_ERRORS,
)
async def infer(
    request: Request, response: Response, services: Use, once: Idempotency, name: Name
) -> InferOut:
    """Waits for the proof and returns its outputs. `parameters` has the proof's id and the
    addresses of receipt and bundle."""
    return await _infer(request, response, services, once, name, None)


@router.post(
    "/models/{name}/versions/{version}/infer",
    summary="Infer with one version",
    openapi_extra=_BODY,
    responses=_INFER_ERRORS,
)
async def infer_version(
    request: Request,
    response: Response,
    services: Use,
    once: Idempotency,
    name: Name,
    version: Version,
) -> InferOut:
    """The same for one model of that name."""
    return await _infer(request, response, services, once, name, version)


async def _infer(
    request: Request,
    response: Response,
    services: Services,
    once: Once,
    name: str,
    version: str | None,
) -> InferOut:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeUnsupported(
            "Compressed bodies are not supported.", advice="Send it as it is."
        )
    bounded = BoundedRequest(request, services.app.settings.max_input_bytes)
    body = await bounded.body()
    length = request.headers.get("inference-header-content-length")
    asked, rest = parse_request(body, length)
    longest = service.wait_s(asked)
    model = (await services.run(lambda: service.models_of(services.app, name, version)))[0]
    made = await once.job(
        lambda keyed: service.infer(services.app, services.sender, model, asked, rest, keyed),
        kept_response,
        f"POST /v2/models/{model.id}/infer",
        length or "",
        body,
    )
    if isinstance(made, Replay):
        response.headers[REPLAYED_HEADER] = "true"
    job_id = made.resource_id if isinstance(made, Replay) else made.id
    job = await services.watch.ended(job_id, longest)
    service.check_succeeded(job)
    return infer_out(name, model, job, asked)
