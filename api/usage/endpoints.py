"""`/v1/usage`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime

from api.errors import responses
from api.ids import Id
from api.services import Application
from api.usage.schemas import UsageOut, as_csv, used_out
from prover.records.usage import Grouping

router = APIRouter(prefix="/v1/usage", tags=["usage"])

_CSV = "text/csv"
_DEFAULT = (Grouping.DAY, Grouping.MODEL, Grouping.CALLER)
Moment = Annotated[AwareDatetime | None, Query(description="RFC 3339 with UTC offset.")]


@router.get(
    "",
    summary="What was used",
    response_model=UsageOut,
    responses={
        200: {"description": "Sums.", "content": {_CSV: {"schema": {"type": "string"}}}},
        **responses(422),
    },
)
def get_usage(
    request: Request,
    app: Application,
    by: Annotated[list[Grouping], Query(max_length=6, description="What sums are made by.")] = [  # noqa: B006
        *_DEFAULT
    ],
    since: Moment = None,
    until: Moment = None,
    model: Annotated[Id | None, Query(description="Of this model only.")] = None,
) -> UsageOut | Response:
    """Sums of the ledger: the tenant's usage, and other tenants' usage of its models. At most
    10 000 rows. `Accept: text/csv` returns a table."""
    found = app.store.usage(by, since=since, until=until, model_id=model)
    if _CSV in request.headers.get("accept", ""):
        return Response(as_csv(found), media_type=_CSV)
    return UsageOut(
        by=[g for g in Grouping if g in by],
        since=since,
        until=until,
        items=[used_out(used) for used in found],
    )
