"""`/v1/circuits`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse

from api.artifacts import file_body, file_response
from api.circuits import service
from api.circuits.schemas import CircuitIn, CircuitOut, CircuitPage
from api.errors import responses
from api.filters import CircuitFilter
from api.idempotency import REPLAYED_HEADER, Idempotency, replayed
from api.ids import Id
from api.jobs.events import EVENTS_BODY, After, event_response
from api.jobs.schemas import address
from api.openapi import also
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.prefer import Wait
from api.requests import JsonRoute
from api.services import Application, Services, Use

router = APIRouter(prefix="/v1/circuits", tags=["circuits"], route_class=JsonRoute)


@router.post(
    "",
    status_code=202,
    response_model=CircuitOut,
    summary="Have a circuit built",
    responses=also(200, CircuitOut, "It is ready.") | responses(400, 404, 409, 413, 415, 422),
)
async def create_circuit(
    body: CircuitIn, response: Response, services: Use, wait: Wait, once: Idempotency
) -> CircuitOut | Response:
    """The circuit of a model for a profile. Responds at once with 200 if it exists."""
    async with once.request("POST /v1/circuits", body) as attempt:
        if attempt.replay is not None:
            known = CircuitOut.model_validate_json(attempt.replay.response.body)
            circuit = await _ended(services, known.id, wait)
            if not circuit.terminal or known.terminal:
                return replayed(attempt.replay)
            response.headers[REPLAYED_HEADER] = "true"
            response.status_code = 200
            return circuit
        job = await services.run(
            lambda: service.create(services.app, services.sender, body, attempt.resource_id)
        )
        circuit = await services.run(lambda: service.get(services.app, job.circuit_id))
        response.headers["Location"] = address(job)
        await attempt.made(circuit, 200 if circuit.terminal else 202, {"Location": address(job)})
    if wait and not circuit.terminal:
        response.headers["Preference-Applied"] = f"wait={wait:.0f}"
        circuit = await _ended(services, circuit.id, wait)
    if circuit.terminal:
        response.status_code = 200
    return circuit


async def _ended(services: Services, circuit_id: str, wait: float) -> CircuitOut:
    """The circuit once its build has ended, or its state after ``wait`` seconds."""
    circuit = await services.run(lambda: service.get(services.app, circuit_id))
    if wait and circuit.job is not None and not circuit.terminal:
        await services.watch.ended(circuit.job.id, wait)
        circuit = await services.run(lambda: service.get(services.app, circuit_id))
    return circuit


@router.get("", summary="List circuits", responses=responses(422))
def list_circuits(
    app: Application, where: CircuitFilter, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> CircuitPage:
    """Ready circuits, newest first, filtered by all given conditions."""
    return service.page(app, limit, cursor, where)


@router.get("/{circuit_id}", summary="Look at a circuit", responses=responses(404, 422))
async def get_circuit(services: Use, circuit_id: Id, wait: Wait) -> CircuitOut:
    """A ready circuit with its manifest, or an unfinished one with its job. With `Prefer: wait`,
    once its build has ended or the time is over."""
    return await _ended(services, circuit_id, wait)


@router.get(
    "/{circuit_id}/events",
    summary="Follow a build",
    response_class=EventSourceResponse,
    responses=EVENTS_BODY | responses(404, 422),
)
async def circuit_events(circuit_id: Id, services: Use, after: After) -> Response:
    """Server-sent events of the latest job that builds the circuit."""
    job = await services.run(lambda: service.build_job(services.app, circuit_id))
    return await event_response(services, job, after)


@router.get(
    "/{circuit_id}/settings",
    summary="The frozen settings",
    response_class=Response,
    responses=file_body("application/json", "EZKL's settings file.") | responses(404, 422),
)
def circuit_settings(request: Request, app: Application, circuit_id: Id) -> Response:
    """The engine's settings; receipts have the digest of these bytes."""
    data = service.file(app, circuit_id, "settings")
    return file_response(request, data, media_type="application/json", filename="settings.json")


@router.get(
    "/{circuit_id}/vk",
    summary="The verifying key",
    response_class=Response,
    responses=file_body("application/octet-stream", "EZKL's verifying key.") | responses(404, 422),
)
def circuit_vk(request: Request, app: Application, circuit_id: Id) -> Response:
    """The verifying key; receipts have the digest of these bytes."""
    data = service.file(app, circuit_id, "vk")
    return file_response(request, data, media_type="application/octet-stream", filename="vk.key")


@router.get(
    "/{circuit_id}/plan",
    summary="The plan",
    response_class=Response,
    responses=file_body("application/json", "The planner's choice, with reasons.")
    | responses(404, 422),
)
def circuit_plan(request: Request, app: Application, circuit_id: Id) -> Response:
    """The planner's candidates and its choice."""
    data = service.file(app, circuit_id, "plan")
    return file_response(request, data, media_type="application/json", filename="plan.json")
