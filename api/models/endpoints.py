"""`/v1/models`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.errors import responses
from api.ids import Id
from api.models import service
from api.models.schemas import ModelCostsOut, ModelOut, ModelPage
from api.openapi import also
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.services import Application, Use
from api.uploads import read_upload, upload_body

router = APIRouter(prefix="/v1/models", tags=["models"])

MEDIA_TYPES = ("application/octet-stream", "application/onnx", "application/x-protobuf")


@router.post(
    "",
    status_code=201,
    summary="Upload a model",
    responses=also(200, ModelOut, "The same bytes were here already.")
    | responses(400, 413, 415, 422),
    openapi_extra=upload_body("file", *MEDIA_TYPES),
)
async def upload_model(
    request: Request,
    response: Response,
    services: Use,
    name: Annotated[str | None, Query(description="A label; default: the file's name.")] = None,
) -> ModelOut:
    """An ONNX file, as the multipart field `file` or as the bare body. It is inspected before the
    answer: an operator that cannot be proved faithfully is refused here, by name."""
    upload = await read_upload(
        request,
        field="file",
        limit=services.app.settings.max_model_bytes,
        media_types=MEDIA_TYPES,
    )
    model, created = await services.run_heavy(lambda: service.add(services.app, upload, name))
    response.headers["Location"] = model.links["self"]
    if not created:
        response.status_code = 200
    return model


@router.get("", summary="List models", responses=responses(422))
def list_models(app: Application, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> ModelPage:
    """Models, newest first."""
    return service.page(app, limit, cursor)


@router.get("/{model_id}", summary="Look at a model", responses=responses(404, 422))
def get_model(app: Application, model_id: Id) -> ModelOut:
    """A model's signature and what inspection found."""
    return service.get(app, model_id)


@router.get(
    "/{model_id}/costs",
    summary="Look at a model's costs",
    responses=responses(404, 422),
)
async def get_model_costs(services: Use, model_id: Id) -> ModelCostsOut:
    """What each layer costs before and after rewriting. Found when it is first asked for, in some
    seconds, and remembered."""
    return await services.run_heavy(lambda: service.costs(services.app, model_id))
