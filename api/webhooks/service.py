"""Webhook endpoints: register, change, test, replay."""

from __future__ import annotations

from api.webhooks.schemas import (
    DeliveryPage,
    EndpointIn,
    EndpointOut,
    EndpointPage,
    EndpointPatch,
    QueuedOut,
    ReplayIn,
    RotationIn,
    delivery_out,
    endpoint_out,
)
from prover.app import App
from prover.records.webhook import DeliveryState
from prover.webhooks.network import check_url
from prover.webhooks.signing import new_secret


def create(app: App, body: EndpointIn, endpoint_id: str | None) -> EndpointOut:
    """A new endpoint with its secret; raises ``WebhookUrlRefused``, ``WebhookEndpointLimit``."""
    _check(app, body.url)
    endpoint = app.store.create_webhook_endpoint(
        body.url,
        events=body.filters(),
        description=body.description,
        scheme=body.signature,
        secret=new_secret(body.signature),
        id=endpoint_id,
    )
    return endpoint_out(endpoint, secret=endpoint.secret)


def page(app: App, limit: int, cursor: str | None) -> EndpointPage:
    """A page of endpoints, newest first."""
    found = app.store.webhook_endpoints(limit, cursor)
    return EndpointPage(items=[endpoint_out(e) for e in found.items], next_cursor=found.next_cursor)


def change(app: App, endpoint_id: str, body: EndpointPatch) -> EndpointOut:
    """Changes what the body names."""
    if body.url is not None:
        _check(app, body.url)
    given = body.model_fields_set
    return endpoint_out(
        app.store.change_webhook_endpoint(
            endpoint_id,
            url=body.url,
            events=None if body.events is None else tuple(dict.fromkeys(body.events)),
            all_events="events" in given and body.events is None,
            description=body.description,
            enabled=body.enabled,
        )
    )


def rotate(app: App, endpoint_id: str, body: RotationIn) -> EndpointOut:
    """A new secret of the same scheme, shown only once."""
    scheme = app.store.webhook_endpoint(endpoint_id).scheme
    secret = new_secret(scheme)
    endpoint = app.store.rotate_webhook_secret(endpoint_id, secret, body.overlap())
    return endpoint_out(endpoint, secret=secret)


def replay(app: App, endpoint_id: str, body: ReplayIn) -> QueuedOut:
    """Requeues missed events."""
    queued = app.store.replay_webhooks(
        endpoint_id, body.since, body.until, delivered=body.include_delivered
    )
    return QueuedOut(queued=queued)


def deliveries(
    app: App, endpoint_id: str, limit: int, cursor: str | None, state: DeliveryState | None
) -> DeliveryPage:
    """A page of the log."""
    found = app.store.webhook_deliveries(endpoint_id, limit, cursor, state=state)
    return DeliveryPage(items=[delivery_out(d) for d in found.items], next_cursor=found.next_cursor)


def _check(app: App, url: str) -> None:
    check_url(url, allow_private=app.settings.webhooks_allow_private)
