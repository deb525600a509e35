"""Batches, their items and their packs, as read from the store."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class BatchState(enum.StrEnum):
    """The state of a batch."""

    RECEIVING = "receiving"  # its rows are being received
    QUEUED = "queued"  # waiting to be planned
    RUNNING = "running"  # planned; workers prove its packs
    SUCCEEDED = "succeeded"  # every item has ended, at least one of them proved
    FAILED = "failed"  # every item has ended, none of them proved
    CANCELED = "canceled"  # canceled by request; proved items stay
    EXPIRED = "expired"  # its deadline passed; proved items stay

    @property
    def terminal(self) -> bool:
        return self not in (BatchState.RECEIVING, BatchState.QUEUED, BatchState.RUNNING)


class ItemState(enum.StrEnum):
    """The state of one input of a batch."""

    QUEUED = "queued"
    PROVED = "proved"
    FAILED = "failed"  # ``problem`` says why; the others continue
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        return self is not ItemState.QUEUED


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch. ``request`` is the request without the inputs; ``counts`` the number of items by
    state; ``inexact`` the number of proved items that miss the profile; ``plan`` the lanes of its
    proofs, with reasons."""

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
        """Whether it has all rows and its deadline has passed before it ended."""
        waits = self.state in (BatchState.QUEUED, BatchState.RUNNING)
        return waits and self.expires_at is not None and self.expires_at <= now

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """The number of proved items."""
        return self.counts.get(ItemState.PROVED, 0)

    @property
    def remaining(self) -> int:
        return self.counts.get(ItemState.QUEUED, 0)

    @property
    def failed(self) -> int:
        """The number of items that ended without a proof."""
        return self.total - self.done - self.remaining


@dataclass(frozen=True, kw_only=True)
class Item:
    """One row of the batch's file. ``number`` counts all rows from 1; ``id`` is None if it is
    unreadable. ``result`` has digests, outputs and the measured error once proved; ``inexact``:
    that error misses the profile."""

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
    """A planned proof: ``numbers`` of the items that share it, and the job that makes it."""

    id: str
    circuit_id: str
    request: dict[str, Any]
    numbers: tuple[int, ...]
