"""`/v1/webhook-endpoints`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.errors import responses
from api.idempotency import Idempotency, replayed
from api.ids import Id
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.requests import JsonRoute
from api.services import Application, Use
from api.webhooks import service
from api.webhooks.schemas import (
    DeliveryPage,
    EndpointIn,
    EndpointOut,
    EndpointPage,
    EndpointPatch,
    QueuedOut,
    ReplayIn,
    RotationIn,
    endpoint_out,
)
from prover.records.webhook import DeliveryState

_PATH = "/v1/webhook-endpoints"
router = APIRouter(prefix=_PATH, tags=["webhooks"], route_class=JsonRoute)


@router.post(
    "",
    status_code=201,
    response_model=EndpointOut,
    summary="Register a webhook endpoint",
    responses=responses(400, 409, 413, 415, 422),
)
async def create_endpoint(
    body: EndpointIn, response: Response, services: Use, once: Idempotency
) -> EndpointOut | Response:
    """The URL must resolve to public addresses. Only this response has the secret."""
    async with once.request(f"POST {_PATH}", body) as attempt:
        if attempt.replay is not None:
            return replayed(attempt.replay)
        made = await services.run(lambda: service.create(services.app, body, attempt.resource_id))
        location = {"Location": f"{_PATH}/{made.id}"}
        await attempt.made(made, 201, location)
    response.headers.update(location)
    return made


@router.get("", summary="List webhook endpoints", responses=responses(422))
def list_endpoints(
    app: Application, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> EndpointPage:
    """Endpoints, newest first, with time and reason of disabled ones."""
    return service.page(app, limit, cursor)


@router.get("/{endpoint_id}", summary="Get a webhook endpoint", responses=responses(404, 422))
def get_endpoint(app: Application, endpoint_id: Id) -> EndpointOut:
    """The endpoint's state, without its secret."""
    return endpoint_out(app.store.webhook_endpoint(endpoint_id))


@router.patch(
    "/{endpoint_id}",
    summary="Change a webhook endpoint",
    responses=responses(400, 404, 413, 415, 422),
)
def change_endpoint(app: Application, endpoint_id: Id, body: EndpointPatch) -> EndpointOut:
    """URL, types, description, and whether it is enabled. Enabling starts with new events; a replay
    sends missed ones."""
    return service.change(app, endpoint_id, body)


@router.delete(
    "/{endpoint_id}",
    status_code=204,
    summary="Delete a webhook endpoint",
    responses=responses(404, 422),
)
def delete_endpoint(app: Application, endpoint_id: Id) -> None:
    """Deletes the endpoint and its log."""
    app.store.delete_webhook_endpoint(endpoint_id)


@router.post(
    "/{endpoint_id}/rotate",
    summary="Replace the secret",
    responses=responses(400, 404, 413, 415, 422),
)
def rotate_secret(app: Application, endpoint_id: Id, body: RotationIn) -> EndpointOut:
    """The response has the new secret. During the overlap each request has signatures by both
    secrets, so that the receiver can switch at any time."""
    return service.rotate(app, endpoint_id, body)


@router.post(
    "/{endpoint_id}/test",
    status_code=202,
    summary="Send a test event",
    responses=responses(404, 409, 422),
)
def send_test(app: Application, endpoint_id: Id) -> QueuedOut:
    """Sends an event `endpoint.test`, regardless of the subscribed types."""
    return QueuedOut(queued=1, event=app.store.test_webhook(endpoint_id))


@router.post(
    "/{endpoint_id}/replay",
    status_code=202,
    summary="Replay missed events",
    responses=responses(400, 404, 409, 413, 415, 422),
)
def replay(app: Application, endpoint_id: Id, body: ReplayIn) -> QueuedOut:
    """Resends undelivered events of at most the last seven days: failed ones, and those missed
    while the endpoint was disabled. They keep their ids."""
    return service.replay(app, endpoint_id, body)


@router.get(
    "/{endpoint_id}/deliveries",
    summary="The delivery log",
    responses=responses(404, 422),
)
def list_deliveries(
    app: Application,
    endpoint_id: Id,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    state: DeliveryState | None = None,
) -> DeliveryPage:
    """Deliveries with all attempts and their responses; newest event first."""
    return service.deliveries(app, endpoint_id, limit, cursor, state)
