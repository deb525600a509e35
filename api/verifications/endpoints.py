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
    """A `.zkml` file, as the multipart field `bundle` or as the bare body. A form may hold a
    `policy` too: a JSON object of what the caller expects (docs/receipt.md). Or EZKL's own files,
    as `proof`, `settings`, `vk` and perhaps `srs_part` (without it: the public ceremony's).
    The answer is 200 with the checklist whether it holds or not; nothing is kept. No key is needed:
    one client address may ask so many times a minute (429)."""
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
    """Enters a verification in the ledger: for a caller who is known, of a receipt that a trusted
    key signed, so that nobody can count up another's model with receipts of his own."""
    if services.caller.tenant and service.counts(answer):
        await services.run(lambda: service.meter(services.app, answer))
    return answer
