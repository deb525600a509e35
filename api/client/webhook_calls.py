"""Webhook endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Unpack

from api.client.calls import (
    Call,
    Paging,
    as_bytes,
    as_json,
    as_model,
    given,
    idempotency,
    moment,
    page,
)
from api.client.models import Page, WebhookEndpoint

_HOOKS = "/v1/webhook-endpoints"


def create_webhook_endpoint(
    url: str,
    *,
    events: Sequence[str] | None = None,
    description: str | None = None,
    signature: str | None = None,
    idempotency_key: str | None = None,
) -> Call[WebhookEndpoint]:
    """Registers ``url`` for webhooks; only this response has the secret. ``signature``: ``v1`` or
    ``v1a``. ``verify_webhook`` checks deliveries."""
    body = given(
        url=url,
        events=None if events is None else list(events),
        description=description,
        signature=signature,
    )
    return Call(
        method="POST",
        path=_HOOKS,
        read=as_model(WebhookEndpoint),
        headers=idempotency(idempotency_key),
        json=body,
    )


def webhook_endpoints(**where: Unpack[Paging]) -> Call[Page[WebhookEndpoint]]:
    """A page of your endpoints, newest first, with their state."""
    return page(_HOOKS, Page[WebhookEndpoint], where)


def enable_webhook_endpoint(endpoint_id: str, enabled: bool) -> Call[WebhookEndpoint]:
    """Enables or disables an endpoint."""
    return Call(
        method="PATCH",
        path=f"{_HOOKS}/{endpoint_id}",
        read=as_model(WebhookEndpoint),
        json={"enabled": enabled},
    )


def delete_webhook_endpoint(endpoint_id: str) -> Call[bytes]:
    """Ends an endpoint."""
    return Call(method="DELETE", path=f"{_HOOKS}/{endpoint_id}", read=as_bytes)


def replay_webhooks(
    endpoint_id: str, since: datetime, *, include_delivered: bool | None = None
) -> Call[dict[str, Any]]:
    """Resends the events that the endpoint missed since a time within the last seven days."""
    return Call(
        method="POST",
        path=f"{_HOOKS}/{endpoint_id}/replay",
        read=as_json,
        json=given(since=moment(since), include_delivered=include_delivered),
    )
