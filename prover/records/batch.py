"""A batch, its items and its packs, as read from the store."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class BatchState(enum.StrEnum):
    """Where a batch stands."""

    RECEIVING = "receiving"  # its rows are being read
    QUEUED = "queued"  # waiting to be planned
    RUNNING = "running"  # planned; its packs are proved as workers come free
    SUCCEEDED = "succeeded"  # every item has ended, at least one of them proved
    FAILED = "failed"  # every item has ended, none of them proved
    CANCELED = "canceled"  # ended because somebody asked; what was proved stays
    EXPIRED = "expired"  # its deadline passed; what was proved stays

    @property
    def terminal(self) -> bool:
        return self not in (BatchState.RECEIVING, BatchState.QUEUED, BatchState.RUNNING)


class ItemState(enum.StrEnum):
    """Where one input of a batch stands."""

    QUEUED = "queued"
    PROVED = "proved"
    FAILED = "failed"  # ``problem`` says why; the others go on
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        return self is not ItemState.QUEUED


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch. ``request`` is what was asked, without the inputs; ``counts`` has its items by
    state, ``inexact`` says how many proved ones miss the profile; ``plan`` says how many lanes its
    proofs have, and why."""

    id: str
    tenant: str
    model_id: str
    state: BatchState
    request: dict[str, Any]
    job_id: str
    circuit_id: str | None
    plan: dict[str, Any] | None
    problem: dict[str, Any] | None
    expires_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    counts: dict[ItemState, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    inexact: int = 0

    def is_overdue(self, now: datetime) -> bool:
        """Whether its rows are there and its deadline has passed before it ended."""
        waits = self.state in (BatchState.QUEUED, BatchState.RUNNING)
        return waits and self.expires_at is not None and self.expires_at <= now

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Items that are proved."""
        return self.counts.get(ItemState.PROVED, 0)

    @property
    def remaining(self) -> int:
        return self.counts.get(ItemState.QUEUED, 0)

    @property
    def failed(self) -> int:
        """Items that ended without a proof, for whatever reason."""
        return self.total - self.done - self.remaining


@dataclass(frozen=True, kw_only=True)
class Item:
    """One row of the batch's file. ``number`` counts all rows from 1; ``id`` is None where the row
    was too broken to tell. ``result`` holds digests, outputs and the measured error once
    proved; ``inexact``: that error misses the profile."""

    batch_id: str
    number: int
    id: str | None
    line: int
    state: ItemState
    chunk: int | None = None
    place: int | None = None
    pack_id: str | None = None
    lane: int | None = None
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    inexact: bool = False


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A proof to be made: ``numbers`` of the items that share it, and the job that makes it."""

    id: str
    circuit_id: str
    request: dict[str, Any]
    numbers: tuple[int, ...]
