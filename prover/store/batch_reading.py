"""Read access to the tables of batches, items and packs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from prover.records.batch import Batch, BatchState, Item, ItemState
from prover.records.batch_errors import BatchNotFound, ItemNotFound
from prover.records.job import Job, JobState
from prover.store.database import Repository
from prover.store.filters import NO_FILTER, Filter
from prover.store.jobs import job_of
from prover.store.pages import Page, rows_of_page
from prover.store.schema import batch_chunks, batch_items, batches, jobs

#: States of items still to be proved.
QUEUED = batch_items.c.state == ItemState.QUEUED.value


class BatchReading(Repository):
    """Batches by id, with their items and packs; read-only."""

    def batch(self, batch_id: str) -> Batch:
        """Raises ``BatchNotFound``."""
        with self._db.read() as conn:
            return _batch(conn, batch_row(conn, batch_id, *self._mine(batches)))

    def batches(
        self, limit: int = 50, cursor: str | None = None, *, where: Filter = NO_FILTER
    ) -> Page[Batch]:
        """Batches, newest first. Raises ``CursorInvalid``."""
        with self._db.read() as conn:
            query = sa.select(batches).where(*self._mine(batches), *where.on(batches))
            key, at = batches.c.id, batches.c.created_at
            rows, after = rows_of_page(conn, query, key, at, limit=limit, cursor=cursor)
            return Page(items=[_batch(conn, row) for row in rows], next_cursor=after)

    def items(
        self,
        batch_id: str,
        *,
        after: int = 0,
        limit: int = 200,
        state: ItemState | None = None,
        pack_id: str | None = None,
    ) -> list[Item]:
        """Items after number ``after``, in order: all, or those in one state or of one pack."""
        query = (
            sa.select(batch_items)
            .where(*self._of_batch(batch_items, batch_id), batch_items.c.number > after)
            .order_by(batch_items.c.number)
            .limit(limit)
        )
        if state is not None:
            query = query.where(batch_items.c.state == state.value)
        if pack_id is not None:
            query = query.where(batch_items.c.pack_id == pack_id)
        with self._db.read() as conn:
            return [_item(row) for row in conn.execute(query)]

    def item(self, batch_id: str, number: int) -> Item:
        """Raises ``ItemNotFound``."""
        query = sa.select(batch_items).where(
            *self._of_batch(batch_items, batch_id), batch_items.c.number == number
        )
        with self._db.read() as conn:
            row = conn.execute(query).one_or_none()
        if row is None:
            raise ItemNotFound(f"Batch {batch_id!r} has no item {number}.", batch=batch_id)
        return _item(row)

    def chunk_keys(self, batch_id: str) -> dict[int, str]:
        """The artifact key of each chunk's inputs, by chunk."""
        query = sa.select(batch_chunks).where(*self._of_batch(batch_chunks, batch_id))
        with self._db.read() as conn:
            return {row.chunk: row.input_key for row in conn.execute(query)}

    def next_pack(self, batch_id: str) -> Job | None:
        """The first unclaimed pack, in the order of the items; None if there is none now."""
        idle = sa.or_(
            jobs.c.state == JobState.QUEUED.value,
            sa.and_(jobs.c.state == JobState.RUNNING.value, jobs.c.lease_expires_at <= self._now()),
        )
        query = (
            sa.select(jobs)
            .join(batch_items, batch_items.c.pack_id == jobs.c.id)
            .where(*self._of_batch(batch_items, batch_id), QUEUED, idle)
            .order_by(batch_items.c.number)
            .limit(1)
        )
        with self._db.read() as conn:
            row = conn.execute(query).one_or_none()
        return None if row is None else job_of(row)

    def batch_costs(self, batch_id: str) -> dict[str, int | None]:
        """The number of the batch's proofs, and the engine's peak resident set."""
        packs = sa.select(batch_items.c.pack_id).where(
            *self._of_batch(batch_items, batch_id),
            batch_items.c.state == ItemState.PROVED.value,
        )
        query = sa.select(sa.func.count(), sa.func.max(jobs.c.peak_rss_bytes)).where(
            jobs.c.id.in_(packs)
        )
        with self._db.read() as conn:
            proofs, peak = conn.execute(query).one()
        return {"proofs": proofs, "peak_rss_bytes": peak}

    def ended_with_inputs(self) -> list[str]:
        """Batches that have ended and whose inputs are still here."""
        ended = [state.value for state in BatchState if state.terminal]
        query = (
            sa.select(batches.c.id)
            .where(batches.c.id.in_(sa.select(batch_chunks.c.batch_id)))
            .where(batches.c.state.in_(ended), *self._mine(batches))
        )
        with self._db.read() as conn:
            return list(conn.scalars(query))

    def stale_batches(self, before: datetime) -> list[str]:
        """Batches that started receiving rows before then and did not finish: their receiver
        died."""
        query = sa.select(batches.c.id).where(
            batches.c.state == BatchState.RECEIVING.value,
            batches.c.created_at < before,
            *self._mine(batches),
        )
        with self._db.read() as conn:
            return list(conn.scalars(query))

    def overdue_batches(self) -> list[tuple[str, str]]:
        """Completely received batches, with their tenants, that missed their deadline."""
        open_ = [BatchState.QUEUED.value, BatchState.RUNNING.value]
        query = sa.select(batches.c.id, batches.c.tenant).where(
            batches.c.state.in_(open_), batches.c.expires_at <= self._now(), *self._mine(batches)
        )
        with self._db.read() as conn:
            return [(row.id, row.tenant) for row in conn.execute(query)]

    def open_batches(self) -> list[tuple[str, str]]:
        """Completely received batches that have not ended, with their tenants."""
        open_ = [BatchState.QUEUED.value, BatchState.RUNNING.value]
        query = sa.select(batches.c.id, batches.c.tenant).where(batches.c.state.in_(open_))
        with self._db.read() as conn:
            return [(row.id, row.tenant) for row in conn.execute(query.where(*self._mine(batches)))]

    def orphaned_jobs(self, batch_id: str) -> list[Job]:
        """Ended jobs that still have waiting items, or whose plan is waited for: the process that
        ended them died before it could settle them."""
        over = [s.value for s in JobState if s.terminal]
        waiting = sa.select(batch_items.c.pack_id).where(
            *self._of_batch(batch_items, batch_id), QUEUED
        )
        planning = sa.select(batches.c.job_id).where(
            batches.c.id == batch_id,
            batches.c.state == BatchState.QUEUED.value,
            *self._mine(batches),
        )
        query = sa.select(jobs).where(
            sa.or_(jobs.c.id.in_(waiting), jobs.c.id.in_(planning)), jobs.c.state.in_(over)
        )
        with self._db.read() as conn:
            return [job_of(row) for row in conn.execute(query)]

    def _of_batch(self, table: sa.Table, batch_id: str) -> list[sa.ColumnElement[bool]]:
        """The conditions that restrict a query to one batch's rows of ``table`` in this view."""
        own: list[sa.ColumnElement[bool]] = [table.c.batch_id == batch_id]
        if self.tenant is None:
            return own
        mine = sa.select(batches.c.id).where(batches.c.id == batch_id, *self._mine(batches))
        return [*own, mine.exists()]


def batch_row(
    conn: sa.Connection, batch_id: str, *where: sa.ColumnElement[bool], lock: bool = False
) -> sa.Row[Any]:
    """The batch's row. Transactions that write a batch and its jobs lock this row before any job's
    row (SQLite locks the whole file). Raises ``BatchNotFound``."""
    query = sa.select(batches).where(batches.c.id == batch_id, *where)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise BatchNotFound(f"There is no batch {batch_id!r}.", batch=batch_id)
    return row


def count_items(conn: sa.Connection, batch_id: str) -> dict[ItemState, int]:
    query = (
        sa.select(batch_items.c.state, sa.func.count())
        .where(batch_items.c.batch_id == batch_id)
        .group_by(batch_items.c.state)
    )
    return {ItemState(state): int(count) for state, count in conn.execute(query)}


def _count_inexact(conn: sa.Connection, batch_id: str) -> int:
    query = sa.select(sa.func.count()).where(
        batch_items.c.batch_id == batch_id, batch_items.c.inexact.is_(True)
    )
    return int(conn.scalar(query) or 0)


def _batch(conn: sa.Connection, row: sa.Row[Any]) -> Batch:
    return Batch(
        id=row.id,
        tenant=row.tenant,
        model_id=row.model_id,
        state=BatchState(row.state),
        request=row.request,
        job_id=row.job_id,
        circuit_id=row.circuit_id,
        plan=row.plan,
        problem=row.problem,
        expires_at=row.expires_at,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        counts=count_items(conn, row.id),
        metadata=row._mapping[batches.c.metadata] or {},
        inexact=_count_inexact(conn, row.id),
    )


def _item(row: sa.Row[Any]) -> Item:
    return Item(
        batch_id=row.batch_id,
        number=row.number,
        id=row.item_id,
        line=row.line,
        state=ItemState(row.state),
        chunk=row.chunk,
        place=row.place,
        pack_id=row.pack_id,
        lane=row.lane,
        result=row.result,
        problem=row.problem,
        inexact=row.inexact,
    )
