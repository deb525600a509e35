"""`/healthz` and `/readyz`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.health.schemas import Alive, Readiness
from api.services import Application

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Alive:
    """Touches nothing: a failure means that the process should be restarted."""
    return Alive()


@router.get(
    "/readyz",
    summary="Can it do its work?",
    responses={503: {"model": Readiness, "description": "A part is missing."}},
)
def readyz(app: Application, response: Response) -> Readiness:
    """Asks the database, the artifact store and the queue. Requests are still taken while the
    queue is away: their jobs start once it is back."""
    parts = app.health()
    ready = all(part["ok"] for part in parts.values())
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, parts=parts)
