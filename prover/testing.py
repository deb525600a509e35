"""Test support for this and other projects: a manual clock, records to store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from circuits.format.digests import sha256
from prover.records.job import ModelRecord
from prover.records.tenant import DEFAULT_TENANT

START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """A ``prover.store.Clock`` that stands still until ``advance`` is called."""

    def __init__(self, now: datetime = START):
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def model_record(name: str = "model", created_at: datetime = START) -> ModelRecord:
    """A model record without a file; the same name gives the same id."""
    return ModelRecord(
        id=sha256(name.encode()),
        name=name,
        size_bytes=len(name),
        signature={"inputs": [], "outputs": []},
        summary={},
        created_at=created_at,
        owner=DEFAULT_TENANT,
    )
