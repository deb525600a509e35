"""Finds data to delete: old results, unreferenced inputs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from prover.records.job import Job, JobKind, JobState
from prover.store.database import Repository
from prover.store.jobs import job_of
from prover.store.quotas import add_stored
from prover.store.schema import batch_chunks, jobs, upload_parts

_OPEN = jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value])


class Retention(Repository):
    """Queries of housekeeping, over all tenants."""

    def results_before(self, age: timedelta, *, limit: int) -> list[Job]:
        """Jobs that succeeded before ``age`` ago and still have their proof, oldest first."""
        query = (
            sa.select(jobs)
            .where(
                jobs.c.state == JobState.SUCCEEDED.value,
                jobs.c.kind.in_([JobKind.PROOF.value, JobKind.PACK.value]),
                jobs.c.removed_at.is_(None),
                jobs.c.finished_at <= self._now() - age,
            )
            .order_by(jobs.c.finished_at)
            .limit(limit)
        )
        with self._db.read() as conn:
            return [job_of(row) for row in conn.execute(query)]

    def results_removed(self, job_id: str, freed_bytes: int) -> None:
        """Records that proof and bundle of this tenant's job were deleted. Idempotent."""
        with self._db.write() as conn:
            changed = conn.execute(
                sa.update(jobs)
                .where(jobs.c.id == job_id, jobs.c.removed_at.is_(None))
                .values(removed_at=self._now())
            )
            if changed.rowcount == 1:
                add_stored(conn, self._owner, -freed_bytes)

    def referenced_inputs(self, keys: Sequence[str]) -> dict[str, bool]:
        """The private files among ``keys`` that a row references, and whether the row still needs
        them: the input of an ended job is no longer needed."""
        named = (
            sa.select(jobs.c.input_key, _OPEN).where(jobs.c.input_key.in_(keys)),
            sa.select(batch_chunks.c.input_key, sa.true()).where(
                batch_chunks.c.input_key.in_(keys)
            ),
            sa.select(upload_parts.c.key, sa.true()).where(upload_parts.c.key.in_(keys)),
        )
        with self._db.read() as conn:
            return {str(key): bool(needed) for q in named for key, needed in conn.execute(q)}
