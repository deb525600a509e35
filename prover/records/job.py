"""The unit of work: a job, its states and stages. The SQL row is the truth, the queue a hint."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prover.records.idempotency import KeyedRequest

#: Of jobs that ask for nothing else.
URGENCY = 3


class JobState(enum.StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waiting for a worker
    RUNNING = "running"  # a worker holds its lease
    SUCCEEDED = "succeeded"  # our own verification of proof and statement passed
    FAILED = "failed"  # ended with a problem
    CANCELED = "canceled"  # ended because somebody asked
    EXPIRED = "expired"  # its deadline passed before it was done

    @property
    def terminal(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


class JobKind(enum.StrEnum):
    """What a job makes."""

    CIRCUIT = "circuit"  # a circuit for a model and a profile
    PROOF = "proof"  # a proof of one input
    BATCH = "batch"  # the plan of a batch: circuits, and which inputs share a proof
    PACK = "pack"  # one proof of a batch, of as many inputs as its circuit has lanes


class Stage(enum.StrEnum):
    """The steps of a running job, in order."""

    COMPILE = "compile"  # inspect, rewrite, plan, set up keys; skipped when the circuit is cached
    WITNESS = "witness"
    PROVE = "prove"
    VERIFY = "verify"
    SIGN = "sign"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the job table, as read.

    ``request`` is what was asked, without the input itself: profile, context, options. The input
    lies in the artifact store under ``input_key``. ``result`` holds digests and the decoded output
    once succeeded; ``problem`` the error (``ZkmlError.problem``) once failed. ``not_before`` is
    when a queued job is to be tried again, ``kept_proof`` what ``prover.jobs.kept_proofs`` wrote.
    At its ``deadline`` a job that is not done has expired.
    """

    id: str
    tenant: str
    kind: JobKind
    state: JobState
    model_id: str
    circuit_id: str
    request: dict[str, Any]
    input_key: str | None
    stage: Stage | None
    progress: float
    attempt: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline: datetime | None = None
    timings: dict[str, float] = field(default_factory=dict)
    peak_rss_bytes: int | None = None
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    not_before: datetime | None = None
    kept_proof: dict[str, Any] | None = None
    last_seq: int = 0  # of its events
    removed_at: datetime | None = None  # when proof and bundle were, as the operator set
    size: str = "small"  # prover.admission.SizeClass
    needs_bytes: int | None = None  # memory, as predicted

    def is_overdue(self, now: datetime) -> bool:
        """Whether its deadline has passed before it was done."""
        return not self.state.terminal and self.deadline is not None and self.deadline <= now


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job is asked for, beside what it is to make.

    ``id``: chosen before it is made, so that asking twice makes it once; then ``body`` is a digest
    of what was asked, and the same id must come with the same. ``client_id`` is the client's own
    name for it. ``deduplicate``: a job of the same content that succeeded or is under way serves.
    ``keyed``: the request's idempotency key keeps its response with the job.
    ``urgency``: 0 comes first, 7 last among the tenant's own (RFC 9218).
    """

    id: str | None = None
    client_id: str | None = None
    body: str | None = None
    deadline: datetime | None = None
    deduplicate: bool = False
    keyed: KeyedRequest | None = None
    urgency: int = URGENCY

    def to_request(self) -> dict[str, str]:
        """What of it stays with the job's ``request``."""
        kept = {"client_id": self.client_id, "body": self.body}
        return {name: value for name, value in kept.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to work on a job: writes made with an older token are refused (fencing)."""

    job_id: str
    owner: str
    token: int
    expires_at: datetime
    deadline: datetime | None = None  # of the job


@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """Something that happened to a job. ``seq`` counts from 1 within the job, without gaps."""

    job_id: str
    seq: int
    at: datetime
    type: str  # state, stage, progress, problem
    data: dict[str, Any]


class ModelVisibility(enum.StrEnum):
    """Who sees that a model is here. Its bytes are shown to nobody."""

    PRIVATE = "private"  # its owner
    UNLISTED = "unlisted"  # who knows its id
    PUBLIC = "public"  # everybody: it is listed


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """An uploaded model: ``id`` is the SHA-256 of its bytes, ``summary`` what inspection found.

    ``owner`` is the tenant whose model it is, ``others_may_prove`` whether tenants that see it may
    have it proved. ``owner_signature`` is ``prover.statement.ownership.OwnerSignature`` in JSON.
    """

    id: str
    name: str
    size_bytes: int
    signature: dict[str, Any]  # circuits.format.tensors.Signature.to_json
    summary: dict[str, Any]
    created_at: datetime
    owner: str = ""
    visibility: ModelVisibility = ModelVisibility.PRIVATE
    others_may_prove: bool = False
    licence: str = ""
    owner_signature: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CircuitRecord:
    """A circuit that is built: ``manifest`` is ``CircuitManifest.to_json``."""

    id: str
    model_id: str
    profile: dict[str, Any]
    manifest: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class UploadPart:
    """Bytes of an upload, from ``start`` on, that lie in the artifact store under ``key``."""

    start: int
    size: int
    key: str


@dataclass(frozen=True, kw_only=True)
class PartialUpload:
    """A file that comes in parts: ``parts`` are in order and do not overlap."""

    digest: str
    size_bytes: int
    parts: list[UploadPart]
    created_at: datetime
    expires_at: datetime

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """What is here, as first byte and byte after the last; ranges that touch are one."""
        found: list[tuple[int, int]] = []
        for part in self.parts:
            end = part.start + part.size
            if found and found[-1][1] == part.start:
                found[-1] = (found[-1][0], end)
            else:
                found.append((part.start, end))
        return found

    @property
    def missing(self) -> int | None:
        """The first byte that is not here."""
        ranges = self.ranges
        first = ranges[0][1] if ranges and ranges[0][0] == 0 else 0
        return None if first == self.size_bytes else first
