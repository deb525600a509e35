"""Whose turn it is: which job a free worker takes up, so that no tenant waits for another's queue.

A message on the queue says that there is work; which, is said here. A worker that is free serves
the tenant with the fewest running jobs, of those the one that was served longest ago, and of its
jobs the oldest. So the first job of a tenant waits for at most one job of each worker, however many
another has queued, and while several wait they are served in turn.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from prover.errors import JobNotFound
from prover.jobs import JobState, Lease
from prover.store.leases import Leases
from prover.store.quotas import Quotas
from prover.store.schema import jobs

_QUEUED = jobs.c.state == JobState.QUEUED.value
_RUNNING = jobs.c.state == JobState.RUNNING.value
#: A job that was chosen may be claimed by another worker first: then another is chosen.
_TRIES = 16


class Turns(Leases, Quotas):
    """What workers claim when nobody says which job."""

    def claim_turn(self, job_id: str, owner: str, ttl_s: float) -> Lease | None:
        """Takes the job whose turn it is, or None when there is none.

        ``job_id`` is the job that the message was sent for. It comes first only if its worker fell
        silent; else it is one among those that wait. A tenant whose quota of running jobs is
        reached waits until one of them has ended. Raises ``JobNotFound`` only if there is no such
        job and nothing else to do.
        """
        if self._fell_silent(job_id):
            return self.claim(job_id, owner, ttl_s)
        for _ in range(_TRIES):
            chosen = self._next_job()
            if chosen is None:
                break
            lease = self.claim(chosen, owner, ttl_s)
            if lease is not None:
                return lease
        if not self._exists(job_id):
            raise JobNotFound(f"There is no job {job_id!r}.", job=job_id)
        return None

    def next_of(self, tenant: str) -> str | None:
        """The oldest job that waits because its tenant's quota of running jobs was reached; None
        where there is no quota. Send it again whenever one of the tenant's jobs has ended."""
        with self._db.read() as conn:
            if not self._quota(conn, tenant).running:
                return None
            return _oldest(conn, tenant, self._now())

    def waiting_turn(self) -> str | None:
        """A job that a free worker could take now; None: there is nothing to do."""
        now = self._now()
        silent = sa.select(jobs.c.id).where(_RUNNING, jobs.c.lease_expires_at <= now).limit(1)
        with self._db.read() as conn:
            lost: str | None = conn.scalar(silent)
        return lost or self._next_job()

    def _fell_silent(self, job_id: str) -> bool:
        query = sa.select(jobs.c.id).where(
            jobs.c.id == job_id, _RUNNING, jobs.c.lease_expires_at <= self._now()
        )
        with self._db.read() as conn:
            return conn.scalar(query) is not None

    def _next_job(self) -> str | None:
        now = self._now()
        with self._db.read() as conn:
            for row in conn.execute(_waiting_tenants()):
                most = self._quota(conn, row.tenant).running
                if most and row.running >= most:
                    continue
                chosen = _oldest(conn, row.tenant, now)
                if chosen is not None:
                    return chosen
        return None

    def _exists(self, job_id: str) -> bool:
        with self._db.read() as conn:
            return conn.scalar(sa.select(jobs.c.id).where(jobs.c.id == job_id)) is not None


def _waiting_tenants() -> sa.Select[Any]:
    """Tenants with queued jobs in the order in which they are to be served: ``tenant``,
    ``running``, ``served``.

    The tenants are found one after the other in an index (a recursive query), so that thousands of
    queued jobs of one tenant cost no more than one.
    """
    first = sa.select(sa.func.min(jobs.c.tenant).label("tenant")).where(_QUEUED)
    found = first.cte("waiting", recursive=True)
    after = (
        sa.select(sa.func.min(jobs.c.tenant))
        .where(_QUEUED, jobs.c.tenant > found.c.tenant)
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


def _oldest(conn: sa.Connection, tenant: str, now: datetime) -> str | None:
    due = sa.or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now)
    query = (
        sa.select(jobs.c.id)
        .where(_QUEUED, jobs.c.tenant == tenant, due)
        .order_by(jobs.c.created_at, jobs.c.id)
        .limit(1)
    )
    found: str | None = conn.scalar(query)
    return found
