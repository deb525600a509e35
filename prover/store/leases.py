"""The table of jobs for workers: claim a job, renew its lease, write its result.

A lease has a fencing token that grows with each claim. Every write under a lease has the token in
its condition, so a worker that was unresponsive for too long cannot overwrite its successor's
result, whatever the clocks say.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.admission import Place
from prover.errors import DeadlinePassed, JobNotFound, JobQuarantined, LeaseLost, WorkerLost
from prover.records.job import Job, JobState, Lease, Stage
from prover.store.database import Repository
from prover.store.events import append_event
from prover.store.jobs import ended, job_of
from prover.store.outbox import job_ended
from prover.store.schema import jobs
from prover.store.sizes import has_memory, has_slot, learn_peak
from prover.store.usage import meter

_RUNNING = jobs.c.state == JobState.RUNNING.value


class Leases(Repository):
    """Claims, and writes under a lease. Every method with a lease may raise ``LeaseLost``; then the
    worker must stop writing about the job."""

    def claim(
        self, job_id: str, owner: str, ttl_s: float, place: Place | None = None
    ) -> Lease | None:
        """Claims a queued job, or a running one whose lease has expired. None if it is neither, its
        retry is not due, or ``place`` has no capacity for it.

        Token and ``attempt`` grow by one. Taking over from an unresponsive worker counts as a lost
        attempt and as a death. After ``max_attempts`` losses the job fails with ``WorkerLost``
        instead, after ``quarantine_after`` deaths with ``JobQuarantined``, which lists them. A job
        whose cancellation was requested is canceled. An overdue job is not claimed (``expire_due``
        ends it). Raises ``JobNotFound``.
        """
        now = self._now()
        expires = now + timedelta(seconds=ttl_s)
        with self._db.write() as conn:
            if place is not None:
                self._one_at_a_time(conn, place)
            before = conn.execute(_LOCKED, {"job": job_id}).one_or_none()
            if before is None:
                raise JobNotFound(f"There is no job {job_id!r}.", job=job_id)
            silent = before.state == JobState.RUNNING.value and before.lease_expires_at <= now
            if not (silent or _is_due(before, now)) or not _has_room(conn, before, place, now):
                return None
            lost, deaths, losses = before.lost, before.deaths, before.losses
            if silent:
                lost, deaths, losses = lost + 1, deaths + 1, [*(losses or []), _loss(before, now)]
                if self._give_up(conn, before, deaths, losses, now):
                    return None
            row = _change_seen(
                conn,
                before,
                state=JobState.RUNNING.value,
                stage=None,
                progress=0.0,
                attempt=before.attempt + 1,
                lost=lost,
                deaths=deaths,
                losses=losses,
                not_before=None,
                put_off_at=None,
                started_at=before.started_at or now,
                lease_owner=owner,
                lease_expires_at=expires,
            )
            tell(conn, row, now, "state", {"state": row.state, "attempt": row.attempt})
        return Lease(
            job_id=job_id,
            owner=owner,
            token=row.lease_token,
            expires_at=expires,
            deadline=row.deadline,
        )

    def _one_at_a_time(self, conn: sa.Connection, place: Place) -> None:
        """Serialises the claims of one host, as SQLite does by itself."""
        if not self._db.is_sqlite:
            number = int.from_bytes(hashlib.sha256(place.host.encode()).digest()[:7])
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))

    def predict(self, lease: Lease, needs_bytes: int, place: Place) -> bool:
        """Records the memory that a running job turns out to need; whether the host has it beside
        its other jobs. Where it has not, give the job back: its next claim will ask for it."""
        with self._db.write() as conn:
            self._one_at_a_time(conn, place)
            more = sa.update(jobs).where(*_held(lease)).values(needs_bytes=needs_bytes)
            row = conn.execute(more.returning(jobs)).one_or_none()
            if row is None:
                raise _lost(lease)
            return has_memory(conn, row, place)

    def _give_up(
        self,
        conn: sa.Connection,
        before: sa.Row[Any],
        deaths: int,
        losses: list[dict[str, Any]],
        now: datetime,
    ) -> bool:
        """Ends a locked job of an unresponsive worker if it has no attempts left."""
        problem = None
        if not before.cancel_requested:
            if deaths >= self._quarantine_after:
                problem = JobQuarantined(losses=losses).problem()
            elif before.lost + 1 >= self._max_attempts:
                problem = WorkerLost(attempts=self._max_attempts, losses=losses).problem()
            else:
                return False
        row = _change_seen(
            conn,
            before,
            **ended(JobState.CANCELED if problem is None else JobState.FAILED, now),
            lost=before.lost + 1,
            deaths=deaths,
            losses=losses,
            problem=problem,
        )
        data = {"state": row.state, "attempt": row.attempt}
        if problem is not None:
            data["problem"] = problem
        tell(conn, row, now, "state", data)
        return True

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """The lease, extended to ``ttl_s`` from now."""
        expires = self._now() + timedelta(seconds=ttl_s)
        with self._db.write() as conn:
            statement = sa.update(jobs).where(*_held(lease)).values(lease_expires_at=expires)
            if conn.execute(statement).rowcount != 1:
                raise _lost(lease)
        return replace(lease, expires_at=expires)

    def set_stage(
        self,
        lease: Lease,
        stage: Stage,
        progress: float = 0.0,
        timings: dict[str, float] | None = None,
    ) -> None:
        """Records the job's stage; ``progress`` is the share of the whole job, 0 to 1.

        ``timings`` (seconds by name) are merged with earlier ones. The event is ``stage`` for a new
        stage, else ``progress``.
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

    def keep_proof(self, lease: Lease, kept: dict[str, Any]) -> None:
        """Records a proof that is still to be verified and signed."""
        with self._db.write() as conn:
            held = sa.update(jobs).where(*_held(lease)).values(kept_proof=kept)
            if conn.execute(held).rowcount != 1:
                raise _lost(lease)

    def succeed(
        self,
        lease: Lease,
        result: dict[str, Any],
        timings: dict[str, float] | None = None,
        peak_rss: int | None = None,
    ) -> Job:
        """Ends the job as succeeded. Call it only after the verification has passed."""
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
        """Ends a job as canceled, after the worker has stopped."""
        return self._end(lease, JobState.CANCELED, timings, None)

    def expired(self, lease: Lease, timings: dict[str, float] | None = None) -> Job:
        """Ends a job as expired, after the worker has stopped."""
        problem = DeadlinePassed().problem()
        return self._end(lease, JobState.EXPIRED, timings, None, problem=problem)

    def requeue(
        self, lease: Lease, problem: dict[str, Any] | None = None, *, after_s: float = 0.0
    ) -> Job:
        """Requeues the job. Send it again after this returns, or leave it to the sweep if it has to
        wait: it cannot be claimed before ``after_s`` seconds have passed.

        Without a problem (the worker stops) this is not counted. With a problem (a transient
        failure) it counts as a lost attempt, and the ``max_attempts``-th ends the job with that
        problem. A job whose cancellation was requested is canceled, an overdue job expires.
        """
        now = self._now()
        with self._db.write() as conn:
            before = locked(conn, lease)
            lost = before.lost + (0 if problem is None else 1)
            losses = before.losses
            if problem is not None:
                losses = [*(losses or []), _loss(before, now) | {"code": problem["code"]}]
            if before.cancel_requested:
                values = ended(JobState.CANCELED, now)
            elif before.deadline is not None and before.deadline <= now:
                problem = DeadlinePassed().problem()
                values = {**ended(JobState.EXPIRED, now), "problem": problem}
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
                    "not_before": now + timedelta(seconds=after_s) if after_s > 0 else None,
                }
            row = change_held(conn, lease, **values, lost=lost, losses=losses)
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
            meter(conn, row, now)
            learn_peak(conn, row)
            data: dict[str, Any] = {"state": row.state, "attempt": row.attempt}
            if row.problem is not None:
                data["problem"] = row.problem
            tell(conn, row, now, "state", data)
            return job_of(row)


def _loss(row: sa.Row[Any], now: datetime) -> dict[str, Any]:
    """The record of a lost attempt."""
    return {
        "attempt": row.attempt,
        "owner": row.lease_owner,
        "stage": row.stage,
        "at": now.isoformat(timespec="milliseconds"),
    }


def _is_due(job: sa.Row[Any], now: datetime) -> bool:
    """Whether the job is queued and may be taken now."""
    return job.state == JobState.QUEUED.value and (job.not_before is None or job.not_before <= now)


def _has_room(conn: sa.Connection, job: sa.Row[Any], place: Place | None, now: datetime) -> bool:
    """Whether there is time for the job before its deadline, and room for it in ``place``."""
    if job.deadline is not None and job.deadline <= now:
        return False
    return place is None or (has_slot(conn, job, place) and has_memory(conn, job, place))


def _held(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    """The fencing condition: this lease is the newest and the job has not ended."""
    return (jobs.c.id == lease.job_id, jobs.c.lease_token == lease.token, _RUNNING)


#: The fencing condition, for statements that are built once.
_HELD = (
    jobs.c.id == sa.bindparam("held_id"),
    jobs.c.lease_token == sa.bindparam("held_token"),
    _RUNNING,
)
_HELD_LOCKED = sa.select(jobs).where(*_HELD).with_for_update()
_LOCKED = sa.select(jobs).where(jobs.c.id == sa.bindparam("job")).with_for_update()


def locked(conn: sa.Connection, lease: Lease) -> sa.Row[Any]:
    """The job's row, locked until the transaction ends (SQLite locks the whole file)."""
    held = {"held_id": lease.job_id, "held_token": lease.token}
    row = conn.execute(_HELD_LOCKED, held).one_or_none()
    if row is None:
        raise _lost(lease)
    return row


def change_held(conn: sa.Connection, lease: Lease, **values: Any) -> sa.Row[Any]:
    """As ``change``, for the lease's job and plain values."""
    new = {f"new_{name}": value for name, value in values.items()}
    held = {"held_id": lease.job_id, "held_token": lease.token}
    row = conn.execute(_change(frozenset(values), held=True), new | held).one_or_none()
    if row is None:
        raise _lost(lease)
    return row


def _change_seen(conn: sa.Connection, before: sa.Row[Any], **values: Any) -> sa.Row[Any]:
    """The same for a job whose row is locked; its old lease, if any, ends."""
    values["lease_token"] = before.lease_token + 1
    new = {f"new_{name}": value for name, value in values.items()}
    return conn.execute(_change(frozenset(values), held=False), new | {"job": before.id}).one()


@functools.cache
def _change(names: frozenset[str], *, held: bool) -> Any:
    new: dict[str, Any] = {
        name: sa.bindparam(f"new_{name}", type_=jobs.c[name].type) for name in sorted(names)
    }
    which = _HELD if held else (jobs.c.id == sa.bindparam("job"),)
    statement = sa.update(jobs).where(*which).values(**new, last_seq=jobs.c.last_seq + 1)
    return statement.returning(jobs)


def tell(
    conn: sa.Connection, row: sa.Row[Any], now: datetime, kind: str, data: dict[str, Any]
) -> None:
    append_event(conn, row.id, seq=row.last_seq, at=now, kind=kind, data=data)
    if kind == "state":
        job_ended(conn, row, now)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(job=lease.job_id, token=lease.token)
