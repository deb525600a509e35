"""Endpoints, events, deliveries and attempts, as read from the store."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any


class SignatureScheme(enum.StrEnum):
    """How an endpoint's requests are signed: the receiver's choice."""

    HMAC = "v1"  # HMAC-SHA256 with a secret that both sides know
    ED25519 = "v1a"  # Ed25519: the receiver holds the public key only


class DisabledReason(enum.StrEnum):
    """Why nothing is sent to an endpoint."""

    REQUESTED = "requested"  # its owner switched it off
    GONE = "gone"  # it answered 410
    FAILING = "failing"  # every attempt of some delivery failed, and nothing got through meanwhile


class DeliveryState(enum.StrEnum):
    """Where one event's way to one endpoint stands."""

    PENDING = "pending"  # an attempt is due, now or at ``next_at``
    DELIVERED = "delivered"  # answered with 2xx
    FAILED = "failed"  # given up after the last attempt
    MISSED = "missed"  # the endpoint was disabled

    @property
    def terminal(self) -> bool:
        return self is not DeliveryState.PENDING


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a tenant wants to be told. ``secret`` and ``previous_secret`` are in the form that
    ``signing`` reads; the latter signs too until ``previous_until``. ``events`` are the types that
    are wanted; None: all."""

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
    failing_since: datetime | None  # of the first failure since anything was delivered
    delivered_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request to an endpoint, and what came back: a status, or an error instead."""

    number: int
    at: datetime
    status: int | None
    error: str | None
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One event on its way to one endpoint. ``attempts`` are those made, oldest first."""

    endpoint_id: str
    event_id: str
    event_type: str
    event_at: datetime
    state: DeliveryState
    next_at: datetime | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, kw_only=True)
class Due:
    """A delivery that this process has taken, with all that an attempt needs.

    ``number`` is the attempt's, counting from 1; ``tries`` counts those since ``queued_at``, when
    the delivery was queued or replayed last, this one included. Writing down an outcome names
    ``number``: a process that was silent for too long is refused.
    """

    endpoint: Endpoint
    event_id: str
    payload: dict[str, Any]
    number: int
    tries: int
    queued_at: datetime


@dataclass(frozen=True, kw_only=True)
class WebhookCounts:
    """What operators see of all webhooks. ``oldest_due_s``: how late the most overdue delivery is,
    in seconds; 0 when none is."""

    enabled: int
    disabled: int
    pending: int
    failed: int
    missed: int
    delivered: int
    oldest_due_s: float
