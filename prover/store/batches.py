"""The tables of batches, their items, and the chunks of their inputs.

The result of a pack, items and job alike, is one transaction under the pack's lease, so an item is
proved exactly once or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from prover.records.batch import BatchState, Item, ItemState, Pack
from prover.records.job import Job, JobKind, JobState, Lease
from prover.store.batch_reading import QUEUED, BatchReading, batch_row, count_items
from prover.store.events import append_event
from prover.store.jobs import ended, insert_job, insert_jobs, job_of
from prover.store.leases import change_held, tell
from prover.store.models import require_model
from prover.store.outbox import batch_ended
from prover.store.schema import batch_chunks, batch_items, batches, jobs
from prover.store.sizes import learn_peak, sized
from prover.store.usage import meter

_OPEN = batches.c.state.in_([s.value for s in BatchState if not s.terminal])
#: Rows per statement: SQLite allows 32 766 parameters.
_AT_ONCE = 500


class Batches(BatchReading):
    """Batches by id, with write access."""

    # --- receiving ---------------------------------------------------------------------------

    def create_batch(
        self,
        batch_id: str,
        model_id: str,
        request: dict[str, Any],
        expires_at: datetime | None,
        *,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """A new batch that receives rows; call ``start_batch`` after the last."""
        with self._db.write() as conn:
            require_model(conn, self._owner, model_id)
            conn.execute(
                sa.insert(batches).values(
                    id=batch_id,
                    tenant=self._owner,
                    model_id=model_id,
                    state=BatchState.RECEIVING.value,
                    request=request,
                    job_id=batch_id,
                    expires_at=expires_at,
                    created_at=self._now(),
                    metadata=metadata,
                )
            )

    def add_items(
        self, batch_id: str, items: Sequence[Item], chunk: int | None, input_key: str | None
    ) -> None:
        """Adds rows, with the chunk of the valid rows' inputs."""
        values = [_values(item) for item in items]
        with self._db.write() as conn:
            if chunk is not None and input_key is not None:
                conn.execute(
                    sa.insert(batch_chunks).values(
                        batch_id=batch_id, chunk=chunk, input_key=input_key
                    )
                )
            for at in range(0, len(values), _AT_ONCE):
                conn.execute(sa.insert(batch_items), values[at : at + _AT_ONCE])

    def start_batch(self, batch_id: str, circuit_id: str, request: dict[str, Any]) -> Job:
        """Queues the batch and its planning job, after all rows were added.

        ``circuit_id`` is the single-lane circuit from which its proofs derive. The job's id is the
        batch's.
        """
        now = self._now()
        with self._db.write() as conn:
            batch = batch_row(conn, batch_id, *self._mine(batches))
            conn.execute(
                sa.update(batches)
                .where(batches.c.id == batch_id, _OPEN)
                .values(state=BatchState.QUEUED.value, circuit_id=circuit_id, request=request)
            )
            insert_job(
                conn,
                now,
                **sized(conn, self._sizing, batch.tenant, JobKind.BATCH.value, circuit_id),
                id=batch_id,
                tenant=batch.tenant,
                api_key=self.key_id,
                kind=JobKind.BATCH.value,
                model_id=batch.model_id,
                circuit_id=circuit_id,
                request=request,
                input_key=None,
                deadline=batch.expires_at,
            )
            return job_of(conn.execute(sa.select(jobs).where(jobs.c.id == batch_id)).one())

    def abandon_batch(self, batch_id: str) -> None:
        """Deletes a batch that was not received completely."""
        with self._db.write() as conn:
            for table, column in (
                (batch_items, batch_items.c.batch_id),
                (batch_chunks, batch_chunks.c.batch_id),
                (batches, batches.c.id),
            ):
                conn.execute(sa.delete(table).where(column == batch_id))

    # --- working -----------------------------------------------------------------------------

    def start_packs(
        self,
        lease: Lease,
        packs: Sequence[Pack],
        failed: Mapping[int, dict[str, Any]],
        plan: dict[str, Any],
        timings: dict[str, float],
    ) -> list[str]:
        """Ends the planning job: writes the plan and queues the packs. ``failed`` are items that
        cannot be proved, with their problems. Returns the ids of the queued jobs: none if the
        batch was ended meanwhile."""
        now = self._now()
        with self._db.write() as conn:
            batch = batch_row(conn, lease.job_id, *self._mine(batches), lock=True)
            _fail(conn, lease.job_id, failed)
            queued = self._queue(conn, batch, packs, now)
            conn.execute(
                sa.update(batches)
                .where(batches.c.id == lease.job_id, _OPEN)
                .values(state=BatchState.RUNNING.value, plan=plan, started_at=now)
            )
            self._end_job(conn, lease, {"packs": len(queued)}, timings, None)
            return queued

    def settle_pack(
        self,
        lease: Lease,
        batch_id: str,
        *,
        proved: Mapping[int, tuple[int, dict[str, Any]]],
        failed: Mapping[int, dict[str, Any]],
        packs: Sequence[Pack],
        result: dict[str, Any],
        timings: dict[str, float],
        peak_rss: int | None,
    ) -> list[str]:
        """Ends a pack's job with its outcome: proved items (lane and result by number), failed ones
        (their problems), and new packs for the rest. Returns the ids of the queued jobs."""
        now = self._now()
        with self._db.write() as conn:
            batch = batch_row(conn, batch_id, *self._mine(batches), lock=True)
            receipts = 0
            for number, (lane, found) in proved.items():
                receipts += conn.execute(
                    _queued_item(batch_id, number).values(
                        state=ItemState.PROVED.value,
                        lane=lane,
                        result=found,
                        inexact=bool(found["error"]["inexact"]),
                    )
                ).rowcount
            _fail(conn, batch_id, failed)
            queued = self._queue(conn, batch, packs, now)
            self._end_job(conn, lease, result, timings, peak_rss, receipts=receipts)
            return queued

    def queue_packs(self, batch_id: str, packs: Sequence[Pack]) -> list[str]:
        """Queues packs in place of one whose job ended without settling it. Returns the ids of the
        queued jobs."""
        with self._db.write() as conn:
            return self._queue(
                conn, batch_row(conn, batch_id, *self._mine(batches), lock=True), packs, self._now()
            )

    def fail_pack(self, batch_id: str, pack_id: str, problem: dict[str, Any]) -> None:
        """Fails the remaining items of a pack whose job ended without settling it."""
        with self._db.write() as conn:
            conn.execute(
                sa.update(batch_items)
                .where(batch_items.c.batch_id == batch_id, batch_items.c.pack_id == pack_id)
                .where(QUEUED)
                .values(state=ItemState.FAILED.value, problem=problem)
            )

    def end_batch(
        self,
        batch_id: str,
        *,
        left: ItemState | None = None,
        problem: dict[str, Any] | None = None,
    ) -> bool:
        """Ends the batch if no item is queued any more; returns whether this call ended it.

        ``left`` is the final state for items that are still queued; without it they keep the batch
        open.
        """
        with self._db.write() as conn:
            return self._end_batch(
                conn, batch_row(conn, batch_id, *self._mine(batches), lock=True), left, problem
            )

    def give_up_batch(
        self, batch_id: str, *, left: ItemState, problem: dict[str, Any]
    ) -> list[str]:
        """Ends a batch early: queued items become ``left``, waiting jobs are canceled, running ones
        are asked to stop. Returns the ids of the latter.

        It is one transaction, so that no pack is queued and no job ends meanwhile.
        """
        now = self._now()
        waiting = sa.select(batch_items.c.pack_id).where(batch_items.c.batch_id == batch_id, QUEUED)
        with self._db.write() as conn:
            batch = batch_row(conn, batch_id, *self._mine(batches), lock=True)
            own = sa.or_(jobs.c.id == batch.job_id, jobs.c.id.in_(waiting))
            # No claim and no requeue may happen between the two changes.
            conn.execute(sa.select(jobs.c.id).where(own).with_for_update())
            running = jobs.c.state == JobState.RUNNING.value
            silent = sa.and_(running, jobs.c.lease_expires_at <= now)
            _change_all(
                conn,
                sa.and_(own, sa.or_(jobs.c.state == JobState.QUEUED.value, silent)),
                now,
                **ended(JobState.CANCELED, now),
                lease_token=jobs.c.lease_token + 1,
                cancel_requested=True,
            )
            running_jobs = _change_all(
                conn,
                sa.and_(own, running, jobs.c.cancel_requested.is_(False)),
                now,
                cancel_requested=True,
            )
            self._end_batch(conn, batch, left, problem)
        return running_jobs

    def _end_batch(
        self,
        conn: sa.Connection,
        batch: sa.Row[Any],
        left: ItemState | None,
        problem: dict[str, Any] | None,
    ) -> bool:
        if left is not None:
            conn.execute(
                sa.update(batch_items)
                .where(batch_items.c.batch_id == batch.id, QUEUED)
                .values(state=left.value, problem=problem)
            )
        counts = count_items(conn, batch.id)
        if counts.get(ItemState.QUEUED) or batch.state == BatchState.RECEIVING.value:
            return False
        state, now = _final_state(counts, left), self._now()
        changed = conn.execute(
            sa.update(batches)
            .where(batches.c.id == batch.id, _OPEN)
            .values(state=state.value, finished_at=now, problem=problem)
        )
        if changed.rowcount != 1:
            return False
        batch_ended(conn, batch, state, counts, problem, now)
        return True

    def forget_chunks(self, batch_id: str) -> None:
        """Deletes the keys of inputs, after the inputs were deleted."""
        with self._db.write() as conn:
            conn.execute(sa.delete(batch_chunks).where(batch_chunks.c.batch_id == batch_id))

    def _queue(
        self, conn: sa.Connection, batch: sa.Row[Any], packs: Sequence[Pack], now: datetime
    ) -> list[str]:
        """Returns the ids of the queued jobs: none for a batch that has ended."""
        if not packs or BatchState(batch.state).terminal:
            return []
        asked = conn.scalar(sa.select(jobs.c.api_key).where(jobs.c.id == batch.job_id))
        sizes = {
            of: sized(conn, self._sizing, batch.tenant, JobKind.PACK.value, of)
            for of in {pack.circuit_id for pack in packs}
        }
        rows = [
            sizes[pack.circuit_id]
            | {
                "id": pack.id,
                "tenant": batch.tenant,
                "api_key": asked,
                "kind": JobKind.PACK.value,
                "model_id": batch.model_id,
                "circuit_id": pack.circuit_id,
                "request": pack.request,
                "input_key": None,
                "deadline": batch.expires_at,
            }
            for pack in packs
        ]
        insert_jobs(conn, now, rows)
        # Many at once, because the write lock is held meanwhile and leases must be renewed in time.
        assign = (
            sa.update(batch_items)
            .where(batch_items.c.batch_id == batch.id, QUEUED)
            .where(batch_items.c.number == sa.bindparam("of_number"))
            .values(pack_id=sa.bindparam("to_pack"))
        )
        conn.execute(
            assign, [{"of_number": n, "to_pack": pack.id} for pack in packs for n in pack.numbers]
        )
        return [pack.id for pack in packs]

    def _end_job(
        self,
        conn: sa.Connection,
        lease: Lease,
        result: dict[str, Any],
        timings: dict[str, float],
        peak_rss: int | None,
        *,
        receipts: int = 0,
    ) -> None:
        now = self._now()
        row = change_held(
            conn,
            lease,
            **ended(JobState.SUCCEEDED, now),
            progress=1.0,
            result=result,
            timings=timings,
            peak_rss_bytes=peak_rss,
        )
        meter(conn, row, now, proofs=receipts)
        learn_peak(conn, row)
        tell(conn, row, now, "state", {"state": row.state, "attempt": row.attempt})


def _values(item: Item) -> dict[str, Any]:
    values = asdict(item)
    values["item_id"] = values.pop("id")
    values["state"] = item.state.value
    return values


def _change_all(
    conn: sa.Connection, where: sa.ColumnElement[bool], now: datetime, **values: Any
) -> list[str]:
    """Changes many jobs (perhaps thousands) in one statement, with their events. Returns their
    ids."""
    statement = sa.update(jobs).where(where).values(**values, last_seq=jobs.c.last_seq + 1)
    rows = conn.execute(statement.returning(jobs)).all()
    for row in rows:
        data = {"state": row.state, "attempt": row.attempt, "cancel_requested": True}
        append_event(conn, row.id, seq=row.last_seq, at=now, kind="state", data=data)
    return [row.id for row in rows]


def _queued_item(batch_id: str, number: int) -> sa.Update:
    return sa.update(batch_items).where(
        batch_items.c.batch_id == batch_id, batch_items.c.number == number, QUEUED
    )


def _fail(conn: sa.Connection, batch_id: str, failed: Mapping[int, dict[str, Any]]) -> None:
    for number, problem in failed.items():
        conn.execute(
            _queued_item(batch_id, number).values(state=ItemState.FAILED.value, problem=problem)
        )


def _final_state(counts: Mapping[ItemState, int], left: ItemState | None) -> BatchState:
    if left is ItemState.CANCELED:
        return BatchState.CANCELED
    if left is ItemState.EXPIRED:
        return BatchState.EXPIRED
    return BatchState.SUCCEEDED if counts.get(ItemState.PROVED) else BatchState.FAILED
