"""`/v1/models`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.artifacts import file_body, file_response
from api.errors import responses
from api.filters import ModelFilter
from api.idempotency import Idempotency, replayed
from api.ids import Id
from api.metadata import MetadataPairs
from api.models import service
from api.models.schemas import ModelChange, ModelCostsOut, ModelOut, ModelPage, SignatureIn
from api.openapi import also
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.requests import JsonRoute
from api.services import Application, Use
from api.uploads import file_on_disk, upload_body
from circuits.format.digests import canonical_json, sha256_file
from prover.cli.shapes import parse_shapes
from prover.records.metadata import read_pairs

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=JsonRoute)

MEDIA_TYPES = (
    "application/octet-stream",
    "application/onnx",
    "application/x-protobuf",
    "application/zip",
)


@router.post(
    "",
    status_code=201,
    response_model=ModelOut,
    summary="Upload a model",
    responses=also(200, ModelOut, "The model already existed.")
    | responses(400, 409, 413, 415, 422),
    openapi_extra=upload_body("file", *MEDIA_TYPES),
)
async def upload_model(
    request: Request,
    response: Response,
    services: Use,
    once: Idempotency,
    name: Annotated[str | None, Query(description="A label; default: the file's name.")] = None,
    metadata: Annotated[MetadataPairs | None, Query()] = None,
    shape: Annotated[
        list[str] | None,
        Query(
            max_length=64,
            description="Fixes dynamic axes, `input=1,12,3` or `axis=12`: the model with fixed axes"
            " is stored under its own id.",
        ),
    ] = None,
) -> ModelOut | Response:
    """An ONNX file, as the multipart field `file` or as the bare body, or a zip archive of one
    and its data file. It is inspected at once: an operator that cannot be proved faithfully is
    refused by name."""
    known = services.app.settings
    pairs = read_pairs(metadata or ())
    async with file_on_disk(
        request, field="file", home=known.home, limit=known.max_model_bytes, media_types=MEDIA_TYPES
    ) as upload:
        digest = await services.run(lambda: sha256_file(upload.path)) if once.key else ""
        asked = (
            "POST /v1/models",
            name or upload.name or "",
            canonical_json([pairs, shape]),
            digest,
        )
        async with once.request(*asked) as attempt:
            if attempt.replay is not None:
                return replayed(attempt.replay)
            model, created = await services.run_heavy(
                lambda: service.add(services.app, upload, name, pairs, parse_shapes(shape or ()))
            )
            status, location = 201 if created else 200, {"Location": model.links["self"]}
            await attempt.made(model, status, location)
    response.headers.update(location)
    response.status_code = status
    return model


@router.get("", summary="List models", responses=responses(422))
def list_models(
    app: Application,
    where: ModelFilter,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    public: Annotated[bool, Query(description="List all tenants' public models instead.")] = False,
) -> ModelPage:
    """Your own models, newest first, filtered by all given conditions."""
    return service.page(app, limit, cursor, where, public=public)


@router.get("/{model_id}", summary="Look at a model", responses=responses(404, 422))
def get_model(app: Application, model_id: Id) -> ModelOut:
    """A model's signature and the result of inspection."""
    return service.get(app, model_id)


@router.get(
    "/{model_id}/costs",
    summary="Show a model's costs",
    responses=responses(404, 422),
)
async def get_model_costs(services: Use, model_id: Id) -> ModelCostsOut:
    """Each layer's cost before and after rewriting. The first request takes some seconds; then it
    is cached."""
    return await services.run_heavy(lambda: service.costs(services.app, model_id))


@router.patch(
    "/{model_id}",
    summary="Change what others may do with a model",
    responses=responses(400, 404, 413, 415, 422),
)
def change_model(app: Application, model_id: Id, body: ModelChange) -> ModelOut:
    """Changes who can see a model, whether others may prove it, and its licence. Only for its
    owner. Other tenants' waiting jobs fail once the model is private."""
    return service.change(app, model_id, body)


@router.get(
    "/{model_id}/manifest",
    summary="What the owner signs",
    response_class=Response,
    responses=file_body("application/json", "The bytes to sign.") | responses(404, 422),
)
def model_manifest(request: Request, app: Application, model_id: Id) -> Response:
    """The model's digest and licence as canonical JSON: sign exactly these bytes."""
    data = service.manifest(app, model_id)
    return file_response(request, data, media_type="application/json", filename="model.json")


@router.put(
    "/{model_id}/signature",
    summary="Sign a model",
    responses=responses(400, 404, 413, 415, 422),
)
def sign_model(app: Application, model_id: Id, body: SignatureIn) -> ModelOut:
    """The owner's signature of the manifest: Ed25519, or an Ethereum address by EIP-191
    (`personal_sign`). It is verified, and later receipts of this model carry it."""
    return service.sign(app, model_id, body)
