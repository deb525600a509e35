"""Deadlines of unclaimed jobs.

The worker that holds a job ends it at its deadline (``prover.jobs.lease``). A job with an expired
lease is unclaimed.
"""

from __future__ import annotations

import sqlalchemy as sa

from prover.errors import DeadlinePassed
from prover.records.job import Job, JobState
from prover.store.database import Repository
from prover.store.events import append_event
from prover.store.jobs import ended, job_of
from prover.store.outbox import job_ended
from prover.store.schema import UtcTime, jobs

_NOW = sa.bindparam("now", type_=UtcTime)
_OVERDUE = sa.and_(
    jobs.c.deadline <= _NOW,
    sa.or_(
        jobs.c.state == JobState.QUEUED.value,
        sa.and_(jobs.c.state == JobState.RUNNING.value, jobs.c.lease_expires_at <= _NOW),
    ),
)
#: Workers run these before each job, so they are built once.
_DUE = sa.select(jobs.c.id).where(_OVERDUE).limit(sa.bindparam("most"))
_DUE_ONE = _DUE.where(jobs.c.id == sa.bindparam("job"))


class Deadlines(Repository):
    """Ends jobs without a worker."""

    def expire_due(self, job_id: str | None = None, *, limit: int = 500) -> list[Job]:
        """Expires unclaimed jobs whose deadline has passed: all of them, or the one. Returns the
        jobs that this call ended; the caller deletes their inputs."""
        now = self._now()
        due = _DUE if job_id is None else _DUE_ONE
        with self._db.read() as conn:
            ids = list(conn.scalars(due, {"now": now, "most": limit, "job": job_id}))
        if not ids:
            return []
        statement = (
            sa.update(jobs)
            .where(jobs.c.id.in_(ids), _OVERDUE)
            .values(
                **ended(JobState.EXPIRED, now),
                problem=DeadlinePassed().problem(),
                last_seq=jobs.c.last_seq + 1,
                lease_token=jobs.c.lease_token + 1,  # refuses late writes of a former worker
            )
        )
        with self._db.write() as conn:
            rows = conn.execute(statement.returning(jobs), {"now": now}).all()
            for row in rows:
                data = {"state": row.state, "attempt": row.attempt, "problem": row.problem}
                append_event(conn, row.id, seq=row.last_seq, at=now, kind="state", data=data)
                job_ended(conn, row, now)
        return [job_of(row) for row in rows]
