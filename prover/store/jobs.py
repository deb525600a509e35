"""The table of jobs for clients: create, read, cancel."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.admission import EVERY_CLASS
from prover.errors import JobAlreadyDone, JobConflict, JobNotFound
from prover.records.idempotency import KeyedRequest
from prover.records.job import URGENCY, Job, JobKind, JobState, Stage
from prover.store.database import Repository
from prover.store.events import append_event, append_first_events
from prover.store.filters import NO_FILTER, Filter
from prover.store.idempotency_keys import keep_response
from prover.store.insert import insert_new
from prover.store.models import require_model
from prover.store.outbox import job_ended
from prover.store.pages import Page, rows_of_page
from prover.store.schema import batch_items, jobs
from prover.store.sizes import sized

#: Frequent statements are built once: building one costs more than running it.
_BY_IDS = sa.select(jobs).where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_MINE_BY_IDS = _BY_IDS.where(jobs.c.tenant == sa.bindparam("tenant"))


class Jobs(Repository):
    """Jobs by id. ``Leases`` is the workers' interface to the same table."""

    def create_job(
        self,
        kind: JobKind,
        model_id: str,
        circuit_id: str,
        request: dict[str, Any],
        input_key: str | None,
        *,
        id: str | None = None,
        metadata: dict[str, str] | None = None,
        deadline: datetime | None = None,
        content: str | None = None,
        deduplicate: bool = False,
        keyed: KeyedRequest | None = None,
        urgency: int = URGENCY,
    ) -> Job:
        """A new queued job; put it on the queue after this returns.

        With a caller's ``id`` this is idempotent: the same kind, model, circuit and request return
        the existing job (which keeps its ``input_key``: delete yours if it differs). If the request
        has a ``body``, only that must be equal, since the circuit may differ. Raises
        ``JobConflict`` if the id has another request, ``ModelNotFound``.

        ``content`` identifies the job's result. With ``deduplicate`` an existing job with that
        content that has succeeded or is in progress is returned instead.

        ``keyed``: the response is stored under the idempotency key in the same transaction. Raises
        ``IdempotencyInProgress`` if another request with that key was faster.
        """
        now = self._now()
        job_id = id or secrets.token_hex(16)
        with self._db.write() as conn:
            require_model(conn, self._owner, model_id)
            if deduplicate and content is not None:
                if not self._db.is_sqlite:
                    # Of two concurrent requests the second sees the first one's job.
                    lock = sa.func.pg_advisory_xact_lock(int(content[:15], 16))
                    conn.execute(sa.select(lock))
                found = self._same_content(conn, kind, content)
                if found is not None:
                    same_job = job_of(found)
                    if keyed is not None:
                        keep_response(conn, self._owner, keyed, same_job, now)
                    return same_job
            row = insert_job(
                conn,
                now,
                **sized(conn, self._sizing, self._owner, kind.value, circuit_id),
                id=job_id,
                tenant=self._owner,
                api_key=self.key_id,
                kind=kind.value,
                model_id=model_id,
                circuit_id=circuit_id,
                urgency=urgency,
                request=request,
                input_key=input_key,
                metadata=metadata,
                deadline=deadline,
                content=content,
            )
            if row is None:
                row = conn.execute(_BY_IDS, {"ids": [job_id]}).one()
            job = job_of(row)
            if keyed is not None:
                keep_response(conn, self._owner, keyed, job, now)
        asked = (self._owner, kind, model_id, circuit_id, request)
        same = (job.tenant, job.kind, job.model_id, job.circuit_id, job.request) == asked
        if "body" in request:
            made = (job.tenant, job.kind, job.request.get("body"))
            same = made == (self._owner, kind, request["body"])
        if not same:
            raise JobConflict(f"Job {job_id!r} exists and asks for something else.", job=job_id)
        return job

    def find_same(self, kind: JobKind, content: str) -> Job | None:
        """A job of this view with the same content that has succeeded or is in progress."""
        with self._db.read() as conn:
            row = self._same_content(conn, kind, content)
        return None if row is None else job_of(row)

    def _same_content(self, conn: sa.Connection, kind: JobKind, content: str) -> sa.Row[Any] | None:
        """The same; prefers a job that has succeeded."""
        done = sa.and_(jobs.c.state == JobState.SUCCEEDED.value, jobs.c.removed_at.is_(None))
        under_way = sa.and_(
            jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value]),
            jobs.c.cancel_requested.is_(False),
        )
        query = (
            sa.select(jobs)
            .where(jobs.c.content == content, jobs.c.kind == kind.value, *self._mine(jobs))
            .where(sa.or_(done, under_way))
            .order_by(sa.case((done, 0), else_=1), jobs.c.created_at)
            .limit(1)
        )
        return conn.execute(query).one_or_none()

    def job(self, job_id: str) -> Job:
        """Raises ``JobNotFound``."""
        with self._db.read() as conn:
            return job_of(self._row(conn, job_id))

    def find_jobs(self, ids: Collection[str]) -> dict[str, Job]:
        """The existing jobs of these ids, in one transaction."""
        query = _BY_IDS if self.tenant is None else _MINE_BY_IDS
        with self._db.read() as conn:
            rows = conn.execute(query, {"ids": list(ids), "tenant": self.tenant})
            return {row.id: job_of(row) for row in rows}

    def jobs(
        self,
        limit: int = 50,
        cursor: str | None = None,
        state: JobState | None = None,
        *,
        kind: JobKind | None = None,
        circuit_id: str | None = None,
        where: Filter = NO_FILTER,
    ) -> Page[Job]:
        """Jobs, newest first, filtered by the conditions. Raises ``CursorInvalid``."""
        query = sa.select(jobs).where(*self._mine(jobs), *where.on(jobs))
        if state is not None:
            query = query.where(jobs.c.state == state.value)
        if kind is not None:
            query = query.where(jobs.c.kind == kind.value)
        if circuit_id is not None:
            query = query.where(jobs.c.circuit_id == circuit_id)
        if where.batch_id is not None:
            packs = sa.select(batch_items.c.pack_id).where(batch_items.c.batch_id == where.batch_id)
            query = query.where(jobs.c.id.in_(packs))
        key, at = jobs.c.id, jobs.c.created_at
        with self._db.read() as conn:
            rows, after = rows_of_page(conn, query, key, at, limit=limit, cursor=cursor)
        return Page(items=[job_of(row) for row in rows], next_cursor=after)

    def count_jobs(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        with self._db.read() as conn:
            query = sa.select(jobs.c.state, sa.func.count()).where(*self._mine(jobs))
            query = query.group_by(jobs.c.state)
            found = {JobState(state): int(count) for state, count in conn.execute(query)}
        return {state: found.get(state, 0) for state in JobState}

    def request_cancel(self, job_id: str) -> Job:
        """Ends an unclaimed job; asks the worker of a running one to stop.

        Idempotent. Raises ``JobNotFound``, and ``JobAlreadyDone`` if the job has ended otherwise.
        """
        now = self._now()
        idle = sa.or_(
            jobs.c.state == JobState.QUEUED.value,
            sa.and_(jobs.c.state == JobState.RUNNING.value, jobs.c.lease_expires_at <= now),
        )
        with self._db.write() as conn:
            self._row(conn, job_id)
            row = change(
                conn,
                jobs.c.id == job_id,
                idle,
                **ended(JobState.CANCELED, now),
                cancel_requested=True,
                lease_token=jobs.c.lease_token + 1,  # a worker that wakes up late is refused
            )
            if row is None:
                row = change(
                    conn,
                    jobs.c.id == job_id,
                    jobs.c.state == JobState.RUNNING.value,
                    jobs.c.cancel_requested.is_(False),
                    cancel_requested=True,
                )
            if row is not None:
                data = {"state": row.state, "attempt": row.attempt, "cancel_requested": True}
                append_event(conn, job_id, seq=row.last_seq, at=now, kind="state", data=data)
                job_ended(conn, row, now)
            job = job_of(row if row is not None else self._row(conn, job_id))
        if job.state.terminal and job.state is not JobState.CANCELED:
            raise JobAlreadyDone(f"Job {job_id!r} has already {job.state.value}.", job=job_id)
        return job

    def cancel_requested(self, job_id: str) -> bool:
        """Whether cancellation was requested. Raises ``JobNotFound``."""
        with self._db.read() as conn:
            query = sa.select(jobs.c.cancel_requested).where(jobs.c.id == job_id, *self._mine(jobs))
            flag = conn.scalar(query)
        if flag is None:
            raise JobNotFound(f"There is no job {job_id!r}.", job=job_id)
        return bool(flag)

    def runnable(
        self,
        now: datetime | None = None,
        *,
        grace_s: float = 10.0,
        queued: Sequence[str] = EVERY_CLASS,
        limit: int = 100,
    ) -> list[str]:
        """Ids of unclaimed jobs, longest waiting first: queued ones of the classes ``queued`` that
        were last sent more than ``grace_s`` ago, and running ones whose lease has expired (also
        subject to the grace period). Call ``mark_sent`` after resending each. Includes jobs whose
        retry is due and excludes those whose retry is not."""
        now = now or self._now()
        idle = jobs.c.state == JobState.QUEUED.value
        lost = sa.and_(jobs.c.state == JobState.RUNNING.value, jobs.c.lease_expires_at <= now)
        stale = jobs.c.sent_at <= now - timedelta(seconds=grace_s)
        forgotten = sa.and_(idle, jobs.c.not_before.is_(None), stale, jobs.c.size.in_(queued))
        due = sa.and_(idle, jobs.c.not_before <= now)
        lost = sa.and_(lost, stale)
        query = (
            sa.select(jobs.c.id)
            .where(sa.or_(due, lost, forgotten))
            .where(*self._mine(jobs))
            .order_by(jobs.c.sent_at, jobs.c.id)
            .limit(limit)
        )
        with self._db.read() as conn:
            return list(conn.scalars(query))

    def waiting_proofs(self, circuit_id: str, limit: int) -> list[Job]:
        """Queued proofs of a circuit without earlier attempts, oldest first, of one tenant, so that
        their inputs may share a proof."""
        query = (
            sa.select(jobs)
            .where(
                jobs.c.tenant == self._owner,
                jobs.c.circuit_id == circuit_id,
                jobs.c.kind == JobKind.PROOF.value,
                jobs.c.state == JobState.QUEUED.value,
                jobs.c.attempt == 0,
            )
            .order_by(jobs.c.created_at, jobs.c.id)
            .limit(limit)
        )
        with self._db.read() as conn:
            return [job_of(row) for row in conn.execute(query)]

    def mark_sent(self, job_id: str) -> None:
        """Records that the job was put on the queue now."""
        now = self._now()
        due = sa.or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now)
        with self._db.write() as conn:
            conn.execute(
                sa.update(jobs).where(jobs.c.id == job_id, due).values(sent_at=now, not_before=None)
            )

    def _row(self, conn: sa.Connection, job_id: str) -> sa.Row[Any]:
        query = _BY_IDS if self.tenant is None else _MINE_BY_IDS
        row = conn.execute(query, {"ids": [job_id], "tenant": self.tenant}).one_or_none()
        if row is None:
            raise JobNotFound(f"There is no job {job_id!r}.", job=job_id)
        return row


def insert_job(conn: sa.Connection, now: datetime, *, id: str, **values: Any) -> sa.Row[Any] | None:
    """Writes a queued job and its first event, unless the id exists; returns the row."""
    row = insert_new(conn, jobs, id=id, **_queued(now), **values)
    if row is not None:
        append_event(conn, id, seq=1, at=now, kind="state", data=_QUEUED_EVENT)
    return row


def insert_jobs(conn: sa.Connection, now: datetime, rows: Sequence[dict[str, Any]]) -> None:
    """Writes many queued jobs with their first events; each row has a new ``id`` and values."""
    conn.execute(sa.insert(jobs), [_queued(now) | row for row in rows])
    append_first_events(conn, [row["id"] for row in rows], at=now, data=_QUEUED_EVENT)


_QUEUED_EVENT = {"state": JobState.QUEUED.value, "attempt": 0}


def _queued(now: datetime) -> dict[str, Any]:
    """The columns of a new queued job."""
    return {
        "state": JobState.QUEUED.value,
        "progress": 0.0,
        "attempt": 0,
        "cancel_requested": False,
        "created_at": now,
        "timings": {},
        "lease_token": 0,
        "lost": 0,
        "deaths": 0,
        "last_seq": 1,
        "sent_at": now,
    }


def change(
    conn: sa.Connection, *where: sa.ColumnElement[bool], **values: Any
) -> sa.Row[Any] | None:
    """Updates the one job that meets all conditions and takes the next event number.

    Returns the changed row, or None if no job matched. It is one statement, so that only one of two
    writers matches, in SQLite and PostgreSQL.
    """
    statement = sa.update(jobs).where(*where).values(**values, last_seq=jobs.c.last_seq + 1)
    return conn.execute(statement.returning(jobs)).one_or_none()


def ended(state: JobState, now: datetime) -> dict[str, Any]:
    """The columns that every end of a job sets."""
    return {
        "state": state.value,
        "finished_at": now,
        "stage": None,
        "lease_owner": None,
        "lease_expires_at": None,
    }


def job_of(row: sa.Row[Any]) -> Job:
    """A row of the table as a ``Job``."""
    return Job(
        id=row.id,
        tenant=row.tenant,
        kind=JobKind(row.kind),
        state=JobState(row.state),
        model_id=row.model_id,
        circuit_id=row.circuit_id,
        request=row.request,
        input_key=row.input_key,
        stage=None if row.stage is None else Stage(row.stage),
        progress=float(row.progress),
        attempt=row.attempt,
        cancel_requested=bool(row.cancel_requested),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deadline=row.deadline,
        timings=row.timings,
        peak_rss_bytes=row.peak_rss_bytes,
        result=row.result,
        problem=row.problem,
        metadata=row._mapping[jobs.c.metadata] or {},
        not_before=row.not_before,
        kept_proof=row.kept_proof,
        last_seq=row.last_seq,
        removed_at=row.removed_at,
        size=row.size,
        needs_bytes=row.needs_bytes,
    )
