"""The service's responses as the client's models.

For compatibility with newer services, states and kinds are plain strings, and unknown fields are
kept (``model_extra``). Wait for ``terminal``, not for the name of a state.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class FieldError(_Answer):
    """One field of a request that was wrong."""

    field: str
    message: str


class Problem(_Answer):
    """An RFC 9457 problem document. Program against ``code``: docs/errors.md lists them."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    fault: str
    retryable: bool
    advice: str | None = None
    instance: str | None = None
    request_id: str | None = None
    context: dict[str, Any] | None = None
    errors: list[FieldError] | None = None
    error: str | None = None


class Tensor(_Answer):
    """A named input or output of a model. ``missing_of``: it is that input's mask, and is not sent.
    ``categories``: texts are sent, these or, with ``other``, any. ``column_of``: it follows from
    the numbers in that input's column ``column``, which are some of these."""

    name: str
    dtype: str
    shape: list[int]
    missing_of: str | None = None
    categories: list[str] | None = None
    other: bool = False
    column_of: str | None = None
    column: int = 0


class OwnerSignature(_Answer):
    """Who signed a model's manifest."""

    scheme: str
    signer: str
    signature: str


class Model(_Answer):
    """An uploaded model; ``id`` is ``sha256:`` and the digest of its file."""

    id: str
    name: str
    size_bytes: int
    inputs: list[Tensor]
    outputs: list[Tensor]
    summary: dict[str, Any]
    created_at: datetime
    owner: str
    visibility: str
    others_may_prove: bool
    licence: str
    signature: OwnerSignature | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    links: dict[str, str]


class Range(_Answer):
    """Received bytes: from ``start`` (inclusive) to ``end`` (exclusive)."""

    start: int
    end: int


class Upload(_Answer):
    """An upload in parts; ``missing`` is the first missing byte, None: complete."""

    digest: str
    size_bytes: int
    received: list[Range]
    missing: int | None = None
    max_part_bytes: int
    created_at: datetime
    expires_at: datetime
    links: dict[str, str]

    def next_part(self, longest: int) -> tuple[int, int] | None:
        """The next range to send; None: complete."""
        if self.missing is None:
            return None
        behind = [r.start for r in self.received if r.start > self.missing]
        end = min([self.size_bytes, *behind])
        return self.missing, min(end, self.missing + min(longest, self.max_part_bytes))


class Job(_Answer):
    """One circuit to build, or one input to prove. Wait for ``terminal``."""

    id: str
    client_id: str | None = None
    kind: str
    state: str
    terminal: bool
    stage: str | None = None
    progress: float
    attempt: int
    cancel_requested: bool
    model: str
    circuit: str
    profile: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    created_at: datetime
    deadline: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    unused_inputs: list[str] = Field(default_factory=list)
    timings: dict[str, float] = Field(default_factory=dict)
    peak_rss_bytes: int | None = None
    result: dict[str, Any] | None = None
    problem: Problem | None = None
    links: dict[str, str]


class Circuit(_Answer):
    """A model compiled for a profile; until it is ``ready``, ``job`` is what builds it."""

    id: str
    state: str
    terminal: bool
    model: str
    profile: dict[str, Any]
    manifest: dict[str, Any] | None = None
    created_at: datetime
    job: Job | None = None
    links: dict[str, str]


class Event(_Answer):
    """An event of a job; ``seq`` counts from 1 without gaps."""

    job: str
    seq: int
    at: datetime
    type: str
    data: dict[str, Any]


class Progress(_Answer):
    """Progress of a batch."""

    total: int
    done: int
    failed: int
    inexact: int = 0
    remaining: int
    rate_per_s: float | None = None
    left_s: float | None = None


class Batch(_Answer):
    """Many inputs of one model."""

    id: str
    state: str
    terminal: bool
    model: str
    circuit: str | None = None
    profile: dict[str, Any]
    context: dict[str, Any] | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    isolate: bool
    unused_inputs: list[str] = Field(default_factory=list)
    progress: Progress
    plan: dict[str, Any] | None = None
    problem: Problem | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    links: dict[str, str]


class Item(_Answer):
    """One row of a batch's file."""

    number: int
    id: str | None = None
    line: int
    state: str
    terminal: bool
    lane: int | None = None
    proof: str | None = None
    inexact: bool = False
    result: dict[str, Any] | None = None
    problem: Problem | None = None
    links: dict[str, str]


class Page(_Answer, Generic[T]):
    """A page of a list, newest first; ``next_cursor`` is None on the last page."""

    items: list[T]
    next_cursor: str | None = None


class ItemPage(_Answer):
    """A page of a batch's items, in the order of the file."""

    items: list[Item]
    next_after: int | None = None


class WebhookEndpoint(_Answer):
    """A webhook endpoint. ``secret`` is shown only at creation and rotation."""

    id: str
    url: str
    events: list[str] | None = None
    description: str
    signature: str
    secret: str | None = None
    public_key: str | None = None
    enabled: bool
    disabled_reason: str | None = None
    disabled_at: datetime | None = None
    failing_since: datetime | None = None
    delivered_at: datetime | None = None
    previous_secret_until: datetime | None = None
    created_at: datetime
    links: dict[str, str]


class Check(_Answer):
    """One check of a verification."""

    number: int
    name: str
    layer: str
    status: str
    detail: str


class Verification(_Answer):
    """The numbered checks of a bundle; ``ok`` is the verdict."""

    ok: bool
    checks: list[Check]
    statement: dict[str, Any] | None = None
    words: list[str] = Field(default_factory=list)
    not_claimed: list[str] = Field(default_factory=list)


class Used(_Answer):
    """A sum of the ledger of usage; fields that are not grouped by are None."""

    model: str | None = None
    caller: str | None = None
    key: str | None = None
    owner: str | None = None
    circuit: str | None = None
    day: date | None = None
    jobs: int
    proofs: int
    verifications: int
    proving_s: float
    building_s: float
    peak_bytes: int | None = None


class Usage(_Answer):
    """The tenant's usage, and other tenants' usage of its models."""

    by: list[str]
    since: datetime | None = None
    until: datetime | None = None
    items: list[Used]


class Readiness(_Answer):
    """The readiness of the service's parts."""

    ready: bool
    parts: dict[str, Any]
