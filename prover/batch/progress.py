"""Progress of a batch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prover.records.batch import Batch


def progress_of(batch: Batch, now: datetime | None = None) -> dict[str, Any]:
    """Counts, rate (items per second since proving began) and remaining seconds, if known."""
    rate = left = None
    if batch.started_at is not None and batch.done:
        until = batch.finished_at or now or datetime.now(UTC)
        seconds = max(1e-3, (until - batch.started_at).total_seconds())
        rate = batch.done / seconds
        left = batch.remaining / rate
    return {
        "total": batch.total,
        "done": batch.done,
        "failed": batch.failed,
        "inexact": batch.inexact,
        "remaining": batch.remaining,
        "rate_per_s": None if rate is None else round(rate, 4),
        "left_s": None if left is None else round(left, 1),
    }
