"""`/healthz` and `/readyz`."""

from __future__ import annotations

import anyio
from fastapi import APIRouter, Response

from api.health.schemas import Alive, Readiness
from api.services import Application

#: Seconds that all parts together get to answer.
PROBE_S = 4

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
async def readyz(app: Application, response: Response) -> Readiness:
    """Asks the database, the artifact store and the queue. Requests are still taken while the
    queue is away: their jobs start once it is back."""
    # A part that takes the question and says nothing must not make the probe hang as well.
    parts = {"answer": {"ok": False, "detail": f"not every part answered within {PROBE_S} s"}}
    with anyio.move_on_after(PROBE_S):
        parts = await anyio.to_thread.run_sync(app.health, abandon_on_cancel=True)
    ready = all(part["ok"] for part in parts.values())
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, parts=parts)
