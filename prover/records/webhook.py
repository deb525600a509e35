"""Webhook endpoints, events, deliveries and attempts, as read from the store."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any


class SignatureScheme(enum.StrEnum):
    """How an endpoint's requests are signed; the receiver chooses."""

    HMAC = "v1"  # HMAC-SHA256 with a shared secret
    ED25519 = "v1a"  # Ed25519: the receiver has only the public key


class DisabledReason(enum.StrEnum):
    """Why an endpoint is disabled."""

    REQUESTED = "requested"  # disabled by its owner
    GONE = "gone"  # it responded with 410
    FAILING = "failing"  # all attempts of a delivery failed, and no other succeeded meanwhile


class DeliveryState(enum.StrEnum):
    """The state of a delivery of one event to one endpoint."""

    PENDING = "pending"  # an attempt is due, now or at ``next_at``
    DELIVERED = "delivered"  # response 2xx
    FAILED = "failed"  # all attempts failed
    MISSED = "missed"  # the endpoint was disabled

    @property
    def terminal(self) -> bool:
        return self is not DeliveryState.PENDING


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A tenant's webhook endpoint. ``secret`` and ``previous_secret`` are in the format of
    ``signing``; both sign until ``previous_until``. ``events`` are the subscribed types; None:
    all."""

    id: str
    tenant: str
    url: str
    events: tuple[str, ...] | None
    description: str
    scheme: SignatureScheme
    secret: str
    previous_secret: str | None
    previous_until: datetime | None
    disabled: DisabledReason | None
    disabled_at: datetime | None
    failing_since: datetime | None  # time of the first failure since the last successful delivery
    delivered_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request to an endpoint, and its response status or error."""

    number: int
    at: datetime
    status: int | None
    error: str | None
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The delivery of one event to one endpoint. ``attempts`` are oldest first."""

    endpoint_id: str
    event_id: str
    event_type: str
    event_at: datetime
    state: DeliveryState
    next_at: datetime | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, kw_only=True)
class Due:
    """A delivery that this process has claimed, with all data for an attempt.

    ``number`` is the attempt's number from 1. ``tries`` counts attempts since ``queued_at``, the
    time of queueing or of the last replay, including this one. ``number`` is the fencing token for
    writing the outcome: a process that was unresponsive for too long is refused.
    """

    endpoint: Endpoint
    event_id: str
    payload: dict[str, Any]
    number: int
    tries: int
    queued_at: datetime


@dataclass(frozen=True, kw_only=True)
class WebhookCounts:
    """Webhook counts for operators. ``oldest_due_s``: delay of the most overdue delivery in
    seconds; 0 if none is overdue."""

    enabled: int
    disabled: int
    pending: int
    failed: int
    missed: int
    delivered: int
    oldest_due_s: float
