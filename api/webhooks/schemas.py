"""Webhook endpoints and deliveries as JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from prover.records.webhook import (
    Attempt,
    Delivery,
    DeliveryState,
    DisabledReason,
    Endpoint,
    SignatureScheme,
)
from prover.records.webhook_message import FILTERS
from prover.webhooks.network import MAX_URL
from prover.webhooks.signing import public_key

#: The longest overlap of two secrets.
MAX_OVERLAP_S = 7 * 86_400


def _known(name: str) -> str:
    if name not in FILTERS:
        raise ValueError(f"not one of {', '.join(FILTERS)}")
    return name


#: The types of ``prover.records.webhook_message``.
Filter = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*FILTERS]})]
_Url = Annotated[str, Field(min_length=1, max_length=MAX_URL)]
_Description = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Events = Annotated[
    list[Filter],
    Field(min_length=1, max_length=len(FILTERS)),
]


class EndpointIn(BaseModel):
    """Where to send webhooks."""

    model_config = ConfigDict(extra="forbid")

    url: _Url = Field(description="An https URL of a public host.")
    events: _Events | None = Field(
        None, description="Subscribed types, or `proof.*` for a group; null: all."
    )
    description: _Description = Field("", description="For people.")
    signature: SignatureScheme = Field(
        SignatureScheme.HMAC,
        description="`v1`: HMAC-SHA256 with a shared secret; `v1a`: Ed25519, you hold the public"
        " key only.",
    )

    def filters(self) -> tuple[str, ...] | None:
        """The distinct types."""
        return None if self.events is None else tuple(dict.fromkeys(self.events))


class EndpointPatch(BaseModel):
    """Changes of an endpoint; absent fields stay unchanged."""

    model_config = ConfigDict(extra="forbid")

    url: _Url | None = Field(None, description="The new URL.")
    events: _Events | None = Field(None, description="The new types; null: all.")
    description: _Description | None = Field(None, description="For people.")
    enabled: bool | None = Field(None, strict=True, description="Whether the endpoint is enabled.")

    @model_validator(mode="after")
    def _nothing_else_is_null(self) -> EndpointPatch:
        for name in self.model_fields_set - {"events"}:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null: omit it")
        return self


class RotationIn(BaseModel):
    """Rotation of a secret."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: int = Field(
        86_400,
        strict=True,
        ge=0,
        le=MAX_OVERLAP_S,
        description="Seconds during which both secrets sign; 0: none.",
    )

    def overlap(self) -> timedelta:
        """The same as a duration."""
        return timedelta(seconds=self.overlap_s)


class ReplayIn(BaseModel):
    """Which events to send again."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime = Field(description="Events from this RFC 3339 time on.")
    until: AwareDatetime | None = Field(None, description="Events up to this time; null: now.")
    include_delivered: bool = Field(
        False,
        strict=True,
        description="Also delivered events, for a receiver that lost data.",
    )


class EndpointOut(BaseModel):
    """A webhook endpoint."""

    id: str
    url: str
    events: list[str] | None = Field(description="Null: all types.")
    description: str
    signature: SignatureScheme
    secret: str | None = Field(
        description="The signing secret (`v1`), shown only at creation and rotation."
    )
    public_key: str | None = Field(description="The public key for `v1a` signatures.")
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`requested`, `gone` (it responded with 410) or `failing` (for three days)."
    )
    disabled_at: datetime | None
    failing_since: datetime | None = Field(
        description="The first failure since the last successful delivery."
    )
    delivered_at: datetime | None = Field(description="The latest delivery.")
    previous_secret_until: datetime | None = Field(
        description="Until then the previous secret also signs."
    )
    created_at: datetime
    links: dict[str, str]


class EndpointPage(BaseModel):
    """Webhook endpoints, newest first."""

    items: list[EndpointOut]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: the last page.")


class AttemptOut(BaseModel):
    """One request to an endpoint."""

    number: int
    at: datetime
    status: int | None = Field(description="The response's HTTP status; null: no response.")
    error: str | None = Field(description="Why there was no response.")
    duration_s: float


class DeliveryOut(BaseModel):
    """The delivery of one event to an endpoint."""

    event: str = Field(description="The `webhook-id`, the same in every attempt.")
    type: str = Field(description="What happened.")
    at: datetime = Field(description="When it happened.")
    state: DeliveryState = Field(
        description="`pending`, `delivered`, `failed` (for good) or `missed` (while disabled)."
    )
    terminal: bool = Field(description="Whether the state is final, unless it is replayed.")
    next_attempt_at: datetime | None
    attempts: list[AttemptOut]


class DeliveryPage(BaseModel):
    """Deliveries, newest event first."""

    items: list[DeliveryOut]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: the last page.")


class QueuedOut(BaseModel):
    """What was queued."""

    queued: int = Field(description="Number of queued deliveries.")
    event: str | None = Field(None, description="The test event's id.")


def endpoint_out(endpoint: Endpoint, *, secret: str | None = None) -> EndpointOut:
    """The JSON of an endpoint; with ``secret`` if it is new."""
    own = f"/v1/webhook-endpoints/{endpoint.id}"
    return EndpointOut(
        id=endpoint.id,
        url=endpoint.url,
        events=None if endpoint.events is None else list(endpoint.events),
        description=endpoint.description,
        signature=endpoint.scheme,
        secret=secret if endpoint.scheme is SignatureScheme.HMAC else None,
        public_key=public_key(endpoint.secret),
        enabled=endpoint.disabled is None,
        disabled_reason=endpoint.disabled,
        disabled_at=endpoint.disabled_at,
        failing_since=endpoint.failing_since,
        delivered_at=endpoint.delivered_at,
        previous_secret_until=endpoint.previous_until,
        created_at=endpoint.created_at,
        links={"self": own, "deliveries": f"{own}/deliveries"},
    )


def delivery_out(delivery: Delivery) -> DeliveryOut:
    """The JSON of a delivery."""
    pending = delivery.state is DeliveryState.PENDING
    return DeliveryOut(
        event=delivery.event_id,
        type=delivery.event_type,
        at=delivery.event_at,
        state=delivery.state,
        terminal=delivery.state.terminal,
        next_attempt_at=delivery.next_at if pending else None,
        attempts=[_attempt_out(attempt) for attempt in delivery.attempts],
    )


def _attempt_out(attempt: Attempt) -> AttemptOut:
    fields: dict[str, Any] = vars(attempt)
    return AttemptOut(**fields)
