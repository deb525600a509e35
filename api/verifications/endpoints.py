"""`/v1/verifications`."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.errors import responses
from api.services import Use
from api.uploads import read_upload, upload_body
from api.verifications import service
from api.verifications.schemas import VerificationOut

router = APIRouter(prefix="/v1/verifications", tags=["verifications"])

MEDIA_TYPES = ("application/octet-stream", "application/zip")


@router.post(
    "",
    summary="Verify a bundle",
    responses=responses(400, 413, 415, 422, 429),
    openapi_extra=upload_body("bundle", *MEDIA_TYPES, texts=("policy",)),
)
async def verify_bundle(request: Request, services: Use) -> VerificationOut:
    """A `.zkml` file, as the multipart field `bundle` or as the bare body. A form may hold a
    `policy` too: a JSON object of what the caller expects (docs/receipt.md). The answer is 200
    with the checklist whether the bundle holds or not; nothing is kept. No key is needed: one
    client address may ask so many times a minute (429)."""
    services.verifications.take(request)
    upload = await read_upload(
        request,
        field="bundle",
        limit=services.app.settings.max_bundle_bytes,
        media_types=MEDIA_TYPES,
    )
    return await services.run_heavy(lambda: service.verify(services.app, upload))
