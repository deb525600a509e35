"""`/v1/uploads`: resumable uploads of large models in parts."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath

from api.errors import responses
from api.metadata import MetadataPairs
from api.models.schemas import ModelOut
from api.models.service import plain_name
from api.openapi import also
from api.partial import service
from api.partial.schemas import MAX_PART, Digest, UploadIn, UploadOut, upload_out
from api.problem import ContentRangeInvalid
from api.requests import JsonRoute
from api.services import Application, Use
from api.uploads import body_on_disk
from prover.records.job import PartialUpload
from prover.records.metadata import read_pairs

router = APIRouter(prefix="/v1/uploads", tags=["models"], route_class=JsonRoute)

MEDIA_TYPES = ("application/octet-stream",)
InAddress = Annotated[Digest, InPath()]
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PART = {
    "requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES, _BINARY)},
    "parameters": [
        {
            "name": "Content-Range",
            "in": "header",
            "required": True,
            "schema": {"type": "string"},
            "description": "`bytes FIRST-LAST/SIZE`: the range of the body in the file.",
        }
    ],
}


@router.post(
    "",
    status_code=201,
    summary="Begin an upload in parts",
    responses=also(200, UploadOut, "The upload already exists: resume it.")
    | responses(400, 409, 413, 415, 422, 429),
)
async def begin_upload(body: UploadIn, response: Response, services: Use) -> UploadOut:
    """Announces a file. The same digest again returns the open upload with its received ranges. An
    upload that is idle for a day is deleted."""
    upload, new = await services.run(
        lambda: service.begin(services.app, body.digest, body.size_bytes)
    )
    shown = upload_out(upload)
    response.headers["Location"] = shown.links["self"]
    response.status_code = 201 if new else 200
    return shown


@router.get("/{digest}", summary="Look at an upload", responses=responses(404, 422))
def get_upload(app: Application, digest: InAddress) -> UploadOut:
    """The received ranges of the file."""
    return upload_out(app.store.upload(digest))


@router.put(
    "/{digest}",
    summary="Send a part",
    responses=responses(400, 404, 408, 409, 413, 415, 422),
    openapi_extra=_PART,
)
async def put_part(request: Request, digest: InAddress, services: Use) -> UploadOut:
    """The bytes that `Content-Range` names, in any order and concurrently. The same range again
    replaces the first. An interrupted part leaves nothing: send it again."""
    upload = await services.run(lambda: services.app.store.upload(digest))
    start, size = _content_range(request, upload)
    home = services.app.settings.home
    async with body_on_disk(request, home, min(size, MAX_PART), MEDIA_TYPES) as path:
        return upload_out(
            await services.run(lambda: service.add_part(services.app, digest, start, size, path))
        )


@router.post(
    "/{digest}/finish",
    status_code=201,
    summary="Create a model from an upload",
    responses=also(200, ModelOut, "The model already existed.") | responses(404, 409, 413, 422),
)
async def finish_upload(
    response: Response,
    digest: InAddress,
    services: Use,
    name: Annotated[str | None, Query(description="A label.")] = None,
    metadata: Annotated[MetadataPairs | None, Query()] = None,
) -> ModelOut:
    """Assembles the parts, compares the digest, and continues as `POST /v1/models`. Deletes the
    parts, unless bytes are missing."""
    model, created = await services.run_heavy(
        lambda: service.finish(services.app, digest, plain_name(name), read_pairs(metadata or ()))
    )
    response.headers["Location"] = model.links["self"]
    response.status_code = 201 if created else 200
    return model


@router.delete(
    "/{digest}",
    status_code=204,
    summary="Give up an upload",
    response_class=Response,
    responses=responses(404, 422),
)
def delete_upload(app: Application, digest: InAddress) -> Response:
    """Deletes the upload and its parts."""
    service.forget(app, digest)
    return Response(status_code=204)


def _content_range(request: Request, upload: PartialUpload) -> tuple[int, int]:
    """The first byte and the number of bytes of a part. Raises ``ContentRangeInvalid``."""
    found = _RANGE.fullmatch(request.headers.get("content-range", ""))
    if found is None:
        raise ContentRangeInvalid("The header Content-Range is missing or malformed.")
    first, last = int(found[1]), int(found[2])
    if not first <= last < upload.size_bytes or found[3] not in ("*", str(upload.size_bytes)):
        raise ContentRangeInvalid(
            f"Bytes {first} to {last} of {found[3]} are not within the {upload.size_bytes} bytes"
            " that were announced."
        )
    size = last - first + 1
    if size > MAX_PART:
        raise ContentRangeInvalid(f"A part has at most {MAX_PART} bytes, not {size}.")
    return first, size
