"""Jobs, their states and stages. The SQL row is the source of truth, the queue only a hint."""

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
    """The state of a job."""

    QUEUED = "queued"  # waiting for a worker
    RUNNING = "running"  # a worker holds its lease
    SUCCEEDED = "succeeded"  # proof and statement were verified
    FAILED = "failed"  # ended with a problem
    CANCELED = "canceled"  # canceled by request
    EXPIRED = "expired"  # its deadline passed

    @property
    def terminal(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


class JobKind(enum.StrEnum):
    """What a job makes."""

    CIRCUIT = "circuit"  # a circuit for a model and a profile
    PROOF = "proof"  # a proof of one input
    BATCH = "batch"  # planning a batch: circuits, and which inputs share a proof
    PACK = "pack"  # one shared proof of a batch


class Stage(enum.StrEnum):
    """The steps of a running job, in order."""

    COMPILE = "compile"  # inspect, rewrite, plan, set up keys; skipped if the circuit exists
    WITNESS = "witness"
    PROVE = "prove"
    VERIFY = "verify"
    SIGN = "sign"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the job table.

    ``request`` is the request without the input: profile, context, options. The artifact store has
    the input under ``input_key``. ``result`` has digests and the decoded output of a succeeded job;
    ``problem`` the error (``ZkmlError.problem``) of a failed one. ``not_before``: the time of a
    queued job's next attempt. ``kept_proof``: written by ``prover.jobs.kept_proofs``. A job that
    has not ended by its ``deadline`` expires.
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
    removed_at: datetime | None = None  # when proof and bundle were deleted
    size: str = "small"  # prover.admission.SizeClass
    needs_bytes: int | None = None  # predicted memory

    def is_overdue(self, now: datetime) -> bool:
        """Whether its deadline has passed before it ended."""
        return not self.state.terminal and self.deadline is not None and self.deadline <= now


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Options of creating a job.

    ``id``: chosen in advance, so that a repeated request creates one job; ``body`` is then a digest
    of the request, which must be the same each time. ``client_id``: the client's name of the job.
    ``deduplicate``: return a job with the same content that has succeeded or is in progress.
    ``keyed``: the idempotency key's response is stored with the job. ``urgency``: 0 is first, 7
    last among the tenant's jobs (RFC 9218). ``isolate``: never share a proof with other jobs
    (``prover.batch.coalescing``). ``metadata``: the tenant's own words. ``input_salt``: 64 hex
    digits, of the identity that names the input.
    """

    id: str | None = None
    client_id: str | None = None
    body: str | None = None
    deadline: datetime | None = None
    deduplicate: bool = False
    keyed: KeyedRequest | None = None
    urgency: int = URGENCY
    isolate: bool = False
    metadata: dict[str, str] | None = None
    input_salt: str | None = None

    def to_request(self) -> dict[str, Any]:
        """The options that are stored in the job's ``request``."""
        kept = {
            "client_id": self.client_id,
            "body": self.body,
            "isolate": self.isolate or None,
            "input_salt": self.input_salt,
        }
        return {name: value for name, value in kept.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to work on a job. Writes with an older fencing token are refused."""

    job_id: str
    owner: str
    token: int
    expires_at: datetime
    deadline: datetime | None = None  # of the job


@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """An event of a job. ``seq`` counts from 1 within the job, without gaps."""

    job_id: str
    seq: int
    at: datetime
    type: str  # state, stage, progress, problem
    data: dict[str, Any]


class ModelVisibility(enum.StrEnum):
    """Who can see a model's record. No one can download its bytes."""

    PRIVATE = "private"  # its owner only
    UNLISTED = "unlisted"  # anyone who knows its id
    PUBLIC = "public"  # everyone: it is listed


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """An uploaded model: ``id`` is the SHA-256 of its bytes, ``summary`` the result of inspection.

    ``owner`` is its tenant; ``others_may_prove``: whether tenants that can see it may prove it.
    ``owner_signature`` is ``prover.statement.ownership.OwnerSignature`` as JSON.
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
    """A built circuit: ``manifest`` is ``CircuitManifest.to_json``."""

    id: str
    model_id: str
    profile: dict[str, Any]
    manifest: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class UploadPart:
    """Bytes of an upload, from ``start`` on, in the artifact store under ``key``."""

    start: int
    size: int
    key: str


@dataclass(frozen=True, kw_only=True)
class PartialUpload:
    """An upload in parts: ``parts`` are in order and do not overlap."""

    digest: str
    size_bytes: int
    parts: list[UploadPart]
    created_at: datetime
    expires_at: datetime

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The received ranges, as first byte and byte after the last, merged where adjacent."""
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
        """The first missing byte."""
        ranges = self.ranges
        first = ranges[0][1] if ranges and ranges[0][0] == 0 else 0
        return None if first == self.size_bytes else first
