"""`/v1/estimates`."""

from __future__ import annotations

from fastapi import APIRouter

from api.circuits.schemas import CircuitIn
from api.errors import responses
from api.estimates.schemas import EstimateOut
from api.requests import JsonRoute
from api.services import Use

router = APIRouter(prefix="/v1/estimates", tags=["estimates"], route_class=JsonRoute)


@router.post(
    "",
    summary="Estimate a circuit's cost",
    responses=responses(400, 404, 413, 415, 422),
)
async def estimate(body: CircuitIn, services: Use) -> EstimateOut:
    """Time, memory, k and sizes for the body of `POST /v1/circuits`, by prediction: nothing is
    built, measured or stored."""
    app = services.app
    answer = await services.run_heavy(
        lambda: app.estimate(body.model, body.profile.profile(), body.calibration_file())
    )
    return EstimateOut.model_validate(answer)
