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

#: How long an older secret may sign beside a new one.
MAX_OVERLAP_S = 7 * 86_400


def _known(name: str) -> str:
    if name not in FILTERS:
        raise ValueError(f"not one of {', '.join(FILTERS)}")
    return name


#: One list of types, in ``prover.webhooks``.
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
        None, description="Types that are wanted, or `proof.*` for all of a group; null: all."
    )
    description: _Description = Field("", description="For people.")
    signature: SignatureScheme = Field(
        SignatureScheme.HMAC,
        description="`v1`: HMAC-SHA256 with a shared secret; `v1a`: Ed25519, you hold the public"
        " key only.",
    )

    def filters(self) -> tuple[str, ...] | None:
        """The types, each once."""
        return None if self.events is None else tuple(dict.fromkeys(self.events))


class EndpointPatch(BaseModel):
    """What is to change of an endpoint; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: _Url | None = Field(None, description="The new URL.")
    events: _Events | None = Field(None, description="The new types; null: all.")
    description: _Description | None = Field(None, description="For people.")
    enabled: bool | None = Field(None, strict=True, description="Whether anything is sent.")

    @model_validator(mode="after")
    def _nothing_else_is_null(self) -> EndpointPatch:
        for name in self.model_fields_set - {"events"}:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null: leave it out")
        return self


class RotationIn(BaseModel):
    """How a secret is replaced."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: int = Field(
        86_400,
        strict=True,
        ge=0,
        le=MAX_OVERLAP_S,
        description="Seconds in which both the new and the older secret sign; 0: none.",
    )

    def overlap(self) -> timedelta:
        """The same as a duration."""
        return timedelta(seconds=self.overlap_s)


class ReplayIn(BaseModel):
    """What is to be sent again."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime = Field(description="RFC 3339: events from then on.")
    until: AwareDatetime | None = Field(None, description="Events up to then; null: now.")
    include_delivered: bool = Field(
        False,
        strict=True,
        description="Also what was answered with 2xx, for a receiver that lost what it had.",
    )


class EndpointOut(BaseModel):
    """A webhook endpoint."""

    id: str
    url: str
    events: list[str] | None = Field(description="Null: all types.")
    description: str
    signature: SignatureScheme
    secret: str | None = Field(
        description="What signs (`v1`): shown when it is made and rotated, never again."
    )
    public_key: str | None = Field(description="What checks a signature `v1a`.")
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`requested`, `gone` (it answered 410) or `failing` (for three days)."
    )
    disabled_at: datetime | None
    failing_since: datetime | None = Field(
        description="The first failure since anything was delivered."
    )
    delivered_at: datetime | None = Field(description="The latest delivery.")
    previous_secret_until: datetime | None = Field(
        description="Until then the secret before this one signs too."
    )
    created_at: datetime
    links: dict[str, str]


class EndpointPage(BaseModel):
    """Webhook endpoints, newest first."""

    items: list[EndpointOut]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: none.")


class AttemptOut(BaseModel):
    """One request to an endpoint."""

    number: int
    at: datetime
    status: int | None = Field(description="The answer's HTTP status; null: there was none.")
    error: str | None = Field(description="Why there was no answer.")
    duration_s: float


class DeliveryOut(BaseModel):
    """One event on its way to an endpoint."""

    event: str = Field(description="The `webhook-id`, the same in every attempt.")
    type: str = Field(description="What happened.")
    at: datetime = Field(description="When it happened.")
    state: DeliveryState = Field(
        description="`pending`, `delivered`, `failed` (given up) or `missed` (while disabled)."
    )
    terminal: bool = Field(description="Whether nothing more is sent, unless it is replayed.")
    next_attempt_at: datetime | None
    attempts: list[AttemptOut]


class DeliveryPage(BaseModel):
    """Deliveries, newest event first."""

    items: list[DeliveryOut]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: none.")


class QueuedOut(BaseModel):
    """What was queued."""

    queued: int = Field(description="Deliveries that are sent now.")
    event: str | None = Field(None, description="The test event's id.")


def endpoint_out(endpoint: Endpoint, *, secret: str | None = None) -> EndpointOut:
    """The JSON of an endpoint; ``secret`` where it was made just now."""
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
