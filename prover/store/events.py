"""The table of job events, which clients can replay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from prover.records.job import JobEvent
from prover.store.database import Repository
from prover.store.schema import events, jobs

_INSERT = sa.insert(events)


class Events(Repository):
    """Events by job and number."""

    def events(self, job_id: str, after_seq: int = 0, limit: int = 500) -> list[JobEvent]:
        """The events of a job after number ``after_seq``, oldest first."""
        query = (
            sa.select(events)
            .where(events.c.job_id == job_id, events.c.seq > after_seq)
            .join(jobs, jobs.c.id == events.c.job_id)
            .where(*self._mine(jobs))
            .order_by(events.c.seq)
            .limit(limit)
        )
        with self._db.read() as conn:
            rows = conn.execute(query).all()
        return [
            JobEvent(job_id=row.job_id, seq=row.seq, at=row.at, type=row.type, data=row.data)
            for row in rows
        ]


def append_event(
    conn: sa.Connection, job_id: str, *, seq: int, at: datetime, kind: str, data: dict[str, Any]
) -> None:
    """Writes one event. ``seq`` is ``jobs.last_seq``, incremented in the same transaction: the
    row's lock makes a job's numbers consecutive."""
    row = {"job_id": job_id, "seq": seq, "at": at, "type": kind, "data": data}
    conn.execute(_INSERT, row)


def append_first_events(
    conn: sa.Connection, job_ids: Sequence[str], *, at: datetime, data: dict[str, Any]
) -> None:
    """Writes the first event of many new jobs."""
    rows = [{"job_id": i, "seq": 1, "at": at, "type": "state", "data": data} for i in job_ids]
    conn.execute(_INSERT, rows)
