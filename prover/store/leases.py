"""The table of jobs as workers see it: take a job, keep it, hand in what came of it.

A lease is a token that grows with each claim. Every write under a lease names its token in the
statement's own condition, so a worker that was silent for too long cannot overwrite what its
successor wrote, whatever any clock says.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.errors import JobNotFound, LeaseLost, WorkerLost
from prover.jobs import Job, JobState, Lease, Stage
from prover.store.database import Repository
from prover.store.events import append_event
from prover.store.jobs import change, ended, job_of
from prover.store.schema import jobs

_RUNNING = jobs.c.state == JobState.RUNNING.value
_QUEUED = jobs.c.state == JobState.QUEUED.value


class Leases(Repository):
    """Claims and what is written under them. Every method that takes a lease may raise
    ``LeaseLost``, after which the worker must not write about this job any more."""

    def claim(self, job_id: str, owner: str, ttl_s: float) -> Lease | None:
        """Takes a queued job, or a running one whose lease has expired; None if it is neither.

        The token and ``attempt`` grow by one. Taking over from a worker that fell silent counts
        as a loss; with ``max_attempts`` losses the job fails with ``WorkerLost`` instead, and a
        job that was to be canceled is canceled. Raises ``JobNotFound``.
        """
        now = self._now()
        expires = now + timedelta(seconds=ttl_s)
        silent = sa.and_(_RUNNING, jobs.c.lease_expires_at <= now)
        with self._db.write() as conn:
            if self._give_up(conn, job_id, silent, now):
                return None
            row = change(
                conn,
                jobs.c.id == job_id,
                sa.or_(_QUEUED, silent),
                state=JobState.RUNNING.value,
                stage=None,
                progress=0.0,
                attempt=jobs.c.attempt + 1,
                lost=jobs.c.lost + sa.case((_RUNNING, 1), else_=0),
                started_at=sa.func.coalesce(jobs.c.started_at, sa.bindparam("now", now)),
                lease_owner=owner,
                lease_token=jobs.c.lease_token + 1,
                lease_expires_at=expires,
            )
            if row is None:
                if conn.scalar(sa.select(jobs.c.id).where(jobs.c.id == job_id)) is None:
                    raise JobNotFound(f"There is no job {job_id!r}.", job=job_id)
                return None
            tell(conn, row, now, "state", {"state": row.state, "attempt": row.attempt})
        return Lease(job_id=job_id, owner=owner, token=row.lease_token, expires_at=expires)

    def _give_up(
        self, conn: sa.Connection, job_id: str, silent: sa.ColumnElement[bool], now: datetime
    ) -> bool:
        """Ends a job whose last worker fell silent, if it must not be taken up again."""
        fence = {"lease_token": jobs.c.lease_token + 1}
        row = change(
            conn,
            jobs.c.id == job_id,
            silent,
            jobs.c.cancel_requested.is_(True),
            **ended(JobState.CANCELED, now),
            **fence,
        )
        if row is not None:
            tell(conn, row, now, "state", {"state": row.state, "attempt": row.attempt})
            return True
        problem = WorkerLost(attempts=self._max_attempts).problem()
        row = change(
            conn,
            jobs.c.id == job_id,
            silent,
            jobs.c.lost + 1 >= self._max_attempts,
            **ended(JobState.FAILED, now),
            **fence,
            lost=jobs.c.lost + 1,
            problem=problem,
        )
        if row is None:
            return False
        data = {"state": row.state, "attempt": row.attempt, "problem": problem}
        tell(conn, row, now, "state", data)
        return True

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """The same lease with a new end, ``ttl_s`` from now."""
        expires = self._now() + timedelta(seconds=ttl_s)
        with self._db.write() as conn:
            statement = sa.update(jobs).where(*_held(lease)).values(lease_expires_at=expires)
            if conn.execute(statement).rowcount != 1:
                raise _lost(lease)
        return Lease(job_id=lease.job_id, owner=lease.owner, token=lease.token, expires_at=expires)

    def set_stage(
        self,
        lease: Lease,
        stage: Stage,
        progress: float = 0.0,
        timings: dict[str, float] | None = None,
    ) -> None:
        """Notes where the job is; ``progress`` is the share of the whole job, 0 to 1.

        ``timings`` (seconds by name) are added to those known. The event is ``stage`` when the
        stage is a new one, else ``progress``.
        """
        now = self._now()
        with self._db.write() as conn:
            before = locked(conn, lease)
            row = change_held(
                conn,
                lease,
                stage=stage.value,
                progress=progress,
                timings={**before.timings, **(timings or {})},
            )
            kind = "progress" if before.stage == stage.value else "stage"
            tell(conn, row, now, kind, {"stage": stage.value, "progress": progress})

    def succeed(
        self,
        lease: Lease,
        result: dict[str, Any],
        timings: dict[str, float] | None = None,
        peak_rss: int | None = None,
    ) -> Job:
        """Ends the job well. Call it only after our own verification has passed."""
        return self._end(lease, JobState.SUCCEEDED, timings, peak_rss, result=result, progress=1.0)

    def fail(
        self,
        lease: Lease,
        problem: dict[str, Any],
        timings: dict[str, float] | None = None,
        peak_rss: int | None = None,
    ) -> Job:
        """Ends the job with a problem (``ZkmlError.problem``)."""
        return self._end(lease, JobState.FAILED, timings, peak_rss, problem=problem)

    def canceled(self, lease: Lease, timings: dict[str, float] | None = None) -> Job:
        """Ends a job that somebody asked to cancel: the worker has stopped."""
        return self._end(lease, JobState.CANCELED, timings, None)

    def requeue(self, lease: Lease, problem: dict[str, Any] | None = None) -> Job:
        """Gives the job back to the queue; send it again after this returns.

        Without a problem (a worker that stops) this counts as nothing. With one (a failure that
        may pass) it counts as a loss, and the ``max_attempts``-th ends the job with that problem.
        A job that was to be canceled is canceled.
        """
        now = self._now()
        with self._db.write() as conn:
            before = locked(conn, lease)
            lost = before.lost + (0 if problem is None else 1)
            if before.cancel_requested:
                values = ended(JobState.CANCELED, now)
            elif problem is not None and lost >= self._max_attempts:
                values = {**ended(JobState.FAILED, now), "problem": problem}
            else:
                values = {
                    "state": JobState.QUEUED.value,
                    "stage": None,
                    "progress": 0.0,
                    "lease_owner": None,
                    "lease_expires_at": None,
                    "sent_at": now,
                }
            row = change_held(conn, lease, **values, lost=lost)
            data: dict[str, Any] = {"state": row.state, "attempt": row.attempt}
            if problem is not None:
                data["problem"] = problem
            tell(conn, row, now, "state", data)
            return job_of(row)

    def _end(
        self,
        lease: Lease,
        state: JobState,
        timings: dict[str, float] | None,
        peak_rss: int | None,
        **values: Any,
    ) -> Job:
        now = self._now()
        with self._db.write() as conn:
            before = locked(conn, lease)
            row = change_held(
                conn,
                lease,
                **ended(state, now),
                timings={**before.timings, **(timings or {})},
                peak_rss_bytes=peak_rss,
                **values,
            )
            data: dict[str, Any] = {"state": row.state, "attempt": row.attempt}
            if row.problem is not None:
                data["problem"] = row.problem
            tell(conn, row, now, "state", data)
            return job_of(row)


def _held(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    """The fence: true only while this very lease is the newest and the job has not ended."""
    return (jobs.c.id == lease.job_id, jobs.c.lease_token == lease.token, _RUNNING)


def locked(conn: sa.Connection, lease: Lease) -> sa.Row[Any]:
    """The job's row, locked until the transaction ends (SQLite locks the whole file)."""
    row = conn.execute(sa.select(jobs).where(*_held(lease)).with_for_update()).one_or_none()
    if row is None:
        raise _lost(lease)
    return row


def change_held(conn: sa.Connection, lease: Lease, **values: Any) -> sa.Row[Any]:
    row = change(conn, *_held(lease), **values)
    if row is None:
        raise _lost(lease)
    return row


def tell(
    conn: sa.Connection, row: sa.Row[Any], now: datetime, kind: str, data: dict[str, Any]
) -> None:
    append_event(conn, row.id, seq=row.last_seq, at=now, kind=kind, data=data)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(job=lease.job_id, token=lease.token)
