"""Fair scheduling between tenants: which job a free worker claims next.

A message on the queue only says that there is work. A free worker serves the tenant with the fewest
running jobs, among equals the one served longest ago, and of its jobs the most urgent, then the
oldest. So a tenant's first job waits for at most one job of each worker, however many jobs others
have queued; tenants with waiting jobs take turns. Jobs of different size classes
(``prover.admission``) do not wait for each other.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.admission import EVERY_CLASS, Place, SizeClass
from prover.errors import JobNotFound
from prover.records.job import JobState, Lease
from prover.store.leases import Leases
from prover.store.quotas import Quotas, count_jobs_of
from prover.store.schema import UtcTime, jobs
from prover.store.sizes import has_memory, has_slot

_QUEUED = jobs.c.state == JobState.QUEUED.value
_RUNNING = jobs.c.state == JobState.RUNNING.value
#: Workers run these for each job, so they are built once: building a statement costs more than
#: running it.
_NOW = sa.bindparam("now", type_=UtcTime)
_DUE = sa.or_(jobs.c.not_before.is_(None), jobs.c.not_before <= _NOW)
_OF_SIZES = jobs.c.size.in_(sa.bindparam("sizes", expanding=True))
_SENT = sa.select(
    jobs.c.size, sa.and_(_RUNNING, jobs.c.lease_expires_at <= _NOW).label("silent")
).where(jobs.c.id == sa.bindparam("job"))
_OVERTAKEN = (
    sa.select(jobs)
    .where(_QUEUED, _OF_SIZES, _DUE, jobs.c.put_off_at <= sa.bindparam("since"))
    .order_by(jobs.c.put_off_at, jobs.c.id)
    .limit(1)
)
_OLDEST = (
    sa.select(jobs)
    .where(_QUEUED, _OF_SIZES, _DUE, jobs.c.tenant == sa.bindparam("tenant"))
    .order_by(jobs.c.urgency, jobs.c.created_at, jobs.c.id)
    .limit(1)
)
#: Attempts to choose a job: another worker may claim the chosen one first.
_TRIES = 16


class Turns(Leases, Quotas):
    """Claims without a given job."""

    def claim_turn(
        self, job_id: str, owner: str, ttl_s: float, place: Place | None = None
    ) -> Lease | None:
        """Claims the next job in order; None if there is none.

        ``job_id`` is the job of the message. It comes first only if its worker is unresponsive;
        otherwise it is one of the waiting jobs of its class. A tenant at its quota of running jobs
        waits until one of them ends, and a job for which ``place`` has no capacity waits for it
        (``put_off``). Raises ``JobNotFound`` only if the job does not exist and there is nothing
        else to do.
        """
        with self._db.read() as conn:
            sent = conn.execute(_SENT, {"job": job_id, "now": self._now()}).one_or_none()
        if sent is not None and sent.silent:
            return self.claim(job_id, owner, ttl_s, place)
        size = None if sent is None else SizeClass(sent.size)
        chosen = None
        for _ in range(_TRIES):
            chosen = self._next_job(place, size)
            if chosen is None or not chosen.fits:
                break
            lease = self.claim(chosen.id, owner, ttl_s, place)
            if lease is not None:
                return lease
        if size is None:
            raise JobNotFound(f"There is no job {job_id!r}.", job=job_id)
        if chosen is not None:
            self._put_off({job_id, chosen.id})
        return None

    def size_classes(self, job_ids: Sequence[str]) -> dict[str, str]:
        """The class, and so the queue, of each existing job."""
        query = sa.select(jobs.c.id, jobs.c.size).where(jobs.c.id.in_(job_ids))
        with self._db.read() as conn:
            return {row.id: row.size for row in conn.execute(query)}

    def next_put_off(self, place: Place) -> str | None:
        """The job that has waited longest for capacity in such a place. Send it again whenever a
        job ends or another such job is claimed."""
        query = (
            sa.select(jobs.c.id)
            .where(_QUEUED, jobs.c.put_off_at.is_not(None))
            .where(jobs.c.size.in_([size.value for size in place.sizes]))
            .order_by(jobs.c.put_off_at, jobs.c.id)
            .limit(1)
        )
        with self._db.read() as conn:
            found: str | None = conn.scalar(query)
        return found

    def _put_off(self, job_ids: set[str]) -> None:
        waits = (_QUEUED, jobs.c.put_off_at.is_(None))
        with self._db.write() as conn:
            conn.execute(
                sa.update(jobs).where(jobs.c.id.in_(job_ids), *waits).values(put_off_at=self._now())
            )

    def next_of(self, tenant: str) -> str | None:
        """The oldest job that waits for its tenant's quota of running jobs; None without a quota.
        Send it again whenever one of the tenant's jobs ends."""
        with self._db.read() as conn:
            if not self._quota(conn, tenant).running:
                return None
            job = _oldest(conn, tenant, self._now())
            return None if job is None else str(job.id)

    def waiting_turn(self, place: Place | None = None) -> str | None:
        """A job that a free worker (of ``place``) could claim now, or None."""
        now = self._now()
        silent = sa.select(jobs.c.id).where(_RUNNING, jobs.c.lease_expires_at <= now).limit(1)
        with self._db.read() as conn:
            lost: str | None = conn.scalar(silent)
        if lost is not None:
            return lost
        chosen = self._next_job(place, None)
        return chosen.id if chosen is not None and chosen.fits else None

    def _next_job(self, place: Place | None, size: SizeClass | None) -> _Chosen | None:
        """The next job of the class, or of the first class with capacity; if no class has capacity,
        a job without."""
        now = self._now()
        sizes = EVERY_CLASS if place is None else place.sizes
        chosen = None
        with self._db.read() as conn:
            held = None if place is None else self._held_for(conn, place, now)
            if held is not None:
                return held
            for one in sizes if size is None else [size]:
                chosen = self._first(conn, one, place, now) or chosen
                if chosen is not None and chosen.fits:
                    return chosen
        return chosen

    def _held_for(self, conn: sa.Connection, place: Place, now: datetime) -> _Chosen | None:
        """The job that others have overtaken for long enough: it is next, and no other job starts
        on the host until the host has memory for it."""
        since = now - timedelta(seconds=place.overtake_s)
        sizes = [size.value for size in place.sizes]
        job = conn.execute(_OVERTAKEN, {"since": since, "sizes": sizes, "now": now}).one_or_none()
        if job is None or not has_slot(conn, job, place):
            return None
        most = self._quota(conn, job.tenant).running
        if most and count_jobs_of(conn, job.tenant, JobState.RUNNING) >= most:
            return None
        return _Chosen(job.id, has_memory(conn, job, place))

    def _first(
        self, conn: sa.Connection, size: SizeClass, place: Place | None, now: datetime
    ) -> _Chosen | None:
        for row in conn.execute(_waiting_tenants(size)):
            most = self._known_quota(row.tenant).running
            if most and row.running >= most:
                continue
            job = _oldest(conn, row.tenant, now, size)
            if job is not None:
                return _Chosen(
                    job.id,
                    place is None or (has_slot(conn, job, place) and has_memory(conn, job, place)),
                )
        return None


@dataclass(frozen=True)
class _Chosen:
    """The next job, and whether there is capacity for it."""

    id: str
    fits: bool


@functools.cache
def _waiting_tenants(size: SizeClass) -> sa.Select[Any]:
    """Tenants with queued jobs of a class in the order of service: ``tenant``, ``running``,
    ``served``.

    A recursive query skips from tenant to tenant in an index, so that thousands of queued jobs of
    one tenant cost no more than one.
    """
    waits = sa.and_(_QUEUED, jobs.c.size == size.value)
    first = sa.select(sa.func.min(jobs.c.tenant).label("tenant")).where(waits)
    found = first.cte("waiting", recursive=True)
    after = (
        sa.select(sa.func.min(jobs.c.tenant))
        .where(waits, jobs.c.tenant > found.c.tenant)
        .scalar_subquery()
    )
    waiting = found.union_all(sa.select(after).where(found.c.tenant.is_not(None)))
    running = (
        sa.select(sa.func.count())
        .select_from(jobs)
        .where(_RUNNING, jobs.c.tenant == waiting.c.tenant)
        .scalar_subquery()
    )
    served = (
        sa.select(sa.func.max(jobs.c.started_at))
        .where(jobs.c.tenant == waiting.c.tenant)
        .scalar_subquery()
    )
    return (
        sa.select(waiting.c.tenant, running.label("running"), served.label("served"))
        .where(waiting.c.tenant.is_not(None))
        .order_by(running, served.nulls_first(), waiting.c.tenant)
    )


def _oldest(
    conn: sa.Connection, tenant: str, now: datetime, size: SizeClass | None = None
) -> sa.Row[Any] | None:
    """The tenant's most urgent job, of these the oldest."""
    sizes = [one.value for one in ([size] if size else SizeClass)]
    return conn.execute(_OLDEST, {"tenant": tenant, "now": now, "sizes": sizes}).one_or_none()
