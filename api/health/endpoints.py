"""`/healthz` and `/readyz`."""

from __future__ import annotations

import anyio
from fastapi import APIRouter, Response

from api.health.schemas import Alive, Readiness
from api.services import Application

#: Time limit for all parts together, in seconds.
PROBE_S = 4

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Alive:
    """Checks only the process: after a failure, restart it."""
    return Alive()


@router.get(
    "/readyz",
    summary="Can it do its work?",
    responses={503: {"model": Readiness, "description": "A part is missing."}},
)
async def readyz(app: Application, response: Response) -> Readiness:
    """Checks the database, the artifact store and the queue. Without the queue requests are still
    accepted: their jobs start once it is back."""
    # A part that hangs must not make the probe hang.
    parts = {"answer": {"ok": False, "detail": f"not every part responded within {PROBE_S} s"}}
    with anyio.move_on_after(PROBE_S):
        parts = await anyio.to_thread.run_sync(app.health, abandon_on_cancel=True)
    ready = all(part["ok"] for part in parts.values())
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, parts=parts)
