"""`/v1/verifications`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from api.errors import responses
from api.services import Services, Use
from api.uploads import form_of, read_files, read_upload
from api.verifications import service
from api.verifications.schemas import VerificationOut

router = APIRouter(prefix="/v1/verifications", tags=["verifications"])

MEDIA_TYPES = ("application/octet-stream", "application/zip")
_BUNDLE = form_of("bundle", texts=("policy",))
_PARTS = form_of("proof", "settings", "vk", files=("srs_part",))
_BODY: dict[str, Any] = {
    **{media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES},
    "multipart/form-data": {"schema": {"anyOf": [_BUNDLE, _PARTS]}},
}


@router.post(
    "",
    summary="Verify a bundle, or a bare EZKL proof",
    responses=responses(400, 413, 415, 422, 429),
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def verify(request: Request, services: Use) -> VerificationOut:
    """A `.zkml` file, as the multipart field `bundle` or as the bare body. A form may also have a
    `policy`: a JSON object of the caller's expectations (docs/receipt.md). Or EZKL's own files, as
    `proof`, `settings`, `vk` and optionally `srs_part` (default: the public ceremony's). The
    response is 200 with all checks, whether the bundle is valid or not; nothing is stored. No key
    is needed, but client addresses have a rate limit (429)."""
    services.verifications.take(request)
    limit = services.app.settings.max_bundle_bytes
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        form = await read_files(request, limit=limit, fields=service.FILES)
        answer = await services.run_verification(lambda: service.verify_form(services.app, form))
        return await _metered(services, answer)
    upload = await read_upload(request, field="bundle", limit=limit, media_types=MEDIA_TYPES)
    answer = await services.run_verification(
        lambda: service.verify(services.app, upload.data, None)
    )
    return await _metered(services, answer)


async def _metered(services: Services, answer: VerificationOut) -> VerificationOut:
    """Records a verification in the ledger, for an authenticated caller and a receipt of a trusted
    signer, so that no one can inflate another's usage with self-made receipts."""
    if services.caller.tenant and service.counts(answer):
        await services.run(lambda: service.meter(services.app, answer))
    return answer
