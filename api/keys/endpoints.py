"""`/.well-known/zkml-keys.json`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.errors import responses
from api.keys.schemas import KeySetOut
from api.services import Use

router = APIRouter(tags=["verifications"])

#: Cache time in seconds: the longest delay of a revocation.
MAX_AGE_S = 60


@router.get(
    "/.well-known/zkml-keys.json",
    summary="List the keys that sign receipts",
    response_model=KeySetOut,
    responses=responses(),
)
async def key_set(services: Use) -> Response:
    """Every key that this service ever signed with, and its state: a policy's `trusted`
    (docs/receipt.md, section 9)."""
    document = await services.run(services.app.key_set)
    return Response(
        document,
        media_type="application/json",
        headers={"Cache-Control": f"max-age={MAX_AGE_S}"},
    )
