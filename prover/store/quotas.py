"""The table of tenants' own quotas, and the refusal of what exceeds one.

The limit on running jobs is kept where a worker takes a job up (``prover.store.turns``)."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta

import sqlalchemy as sa

from prover.errors import QuotaExceeded, StorageQuotaExceeded
from prover.records.job import JobState
from prover.records.quotas import LIMITS, Quota, Used
from prover.store.database import Repository
from prover.store.insert import insert_if_absent
from prover.store.schema import jobs, tenant_quotas, tenant_storage, usage

_DAY = timedelta(days=1)
#: Retry-After for a tenant whose queue is full, in seconds.
_QUEUE_PAUSE_S = 30
#: How long cached limits and counts are valid, and how far a count must be from its limit.
_KNOWN_S, _ROOM = 1.0, 5_000
_OWN_QUOTA = sa.select(tenant_quotas).where(tenant_quotas.c.tenant == sa.bindparam("tenant"))
_COUNT = sa.select(sa.func.count()).where(
    jobs.c.state == sa.bindparam("state"), jobs.c.tenant == sa.bindparam("tenant")
)


class Quotas(Repository):
    """Quotas of all tenants, in every view."""

    #: Limits and waiting jobs by tenant, with the time of reading; shared by all views of a store.
    _limits: dict[str, tuple[Quota, float]]
    _counts: dict[str, tuple[int, float]]

    def quota(self, tenant: str) -> Quota:
        """The tenant's quota: its own limits, and defaults for the others."""
        with self._db.read() as conn:
            return self._quota(conn, tenant)

    def set_quota(self, tenant: str, limits: dict[str, int | None]) -> Quota:
        """Sets some limits of a tenant; None resets one to the default."""
        with self._db.write() as conn:
            mine = tenant_quotas.c.tenant == tenant
            if conn.scalar(sa.select(tenant_quotas.c.tenant).where(mine)) is None:
                conn.execute(sa.insert(tenant_quotas).values(tenant=tenant, **limits))
            else:
                conn.execute(sa.update(tenant_quotas).where(mine).values(**limits))
            self._limits.pop(tenant, None)
            return self._quota(conn, tenant)

    def own_quotas(self) -> dict[str, Quota]:
        """The quotas of all tenants with own limits."""
        with self._db.read() as conn:
            names = list(conn.scalars(sa.select(tenant_quotas.c.tenant).order_by("tenant")))
            return {name: self._quota(conn, name) for name in names}

    def used(self, tenant: str) -> Used:
        """The tenant's current usage."""
        with self._db.read() as conn:
            return Used(
                running=count_jobs_of(conn, tenant, JobState.RUNNING),
                queued=count_jobs_of(conn, tenant, JobState.QUEUED),
                stored_bytes=_stored(conn, tenant),
                proving_s_today=_worked_s(conn, tenant, self._now()),
            )

    def check_quota(self) -> None:
        """Checks whether this view's tenant may create another job. It does not reserve anything,
        so concurrent requests may slightly exceed the quota; limits may be a second old. Skip it if
        the job exists already.
        Raises ``QuotaExceeded``, ``StorageQuotaExceeded``."""
        tenant, now = self._owner, self._now()
        quota = self._known_quota(tenant)
        if quota.queued and self._queued(tenant, quota.queued) >= quota.queued:
            raise QuotaExceeded(
                f"The tenant already has {quota.queued} waiting jobs.",
                quota="queued",
                limit=quota.queued,
                retry_after_s=_QUEUE_PAUSE_S,
            )
        if not quota.proving_s_per_day and not quota.stored_bytes:
            return
        with self._db.read() as conn:
            seconds = quota.proving_s_per_day
            if seconds and _worked_s(conn, tenant, now) >= seconds:
                raise QuotaExceeded(
                    f"Today's {seconds} seconds of work for the tenant are used up.",
                    quota="proving_s_per_day",
                    limit=seconds,
                    retry_after_s=math.ceil((_midnight(now) + _DAY - now).total_seconds()),
                )
            self._check_room(conn, tenant, quota, 0)

    def _known_quota(self, tenant: str) -> Quota:
        now = time.monotonic()
        quota, at = self._limits.get(tenant, (self.default_quota, -math.inf))
        if now - at > _KNOWN_S:
            quota = self.quota(tenant)
            self._limits[tenant] = (quota, now)
        return quota

    def _queued(self, tenant: str, most: int) -> int:
        """The number of the tenant's waiting jobs. Counting is slow for many jobs, so far from the
        limit the count may be a second old."""
        now, (counted, at) = time.monotonic(), self._counts.get(tenant, (0, -math.inf))
        if now - at > _KNOWN_S or most - counted < _ROOM:
            with self._db.read() as conn:
                counted = count_jobs_of(conn, tenant, JobState.QUEUED)
            self._counts[tenant] = (counted, now)
        return counted

    def check_room(self, more_bytes: int) -> None:
        """Checks whether this view's tenant may store ``more_bytes``. Raises
        ``StorageQuotaExceeded``."""
        with self._db.read() as conn:
            self._check_room(conn, self._owner, self._quota(conn, self._owner), more_bytes)

    def add_stored(self, count: int) -> None:
        """Adds to the stored bytes of this view's tenant."""
        if not count:
            return
        with self._db.write() as conn:
            add_stored(conn, self._owner, count)

    def _check_room(self, conn: sa.Connection, tenant: str, quota: Quota, more: int) -> None:
        most = quota.stored_bytes
        if most and _stored(conn, tenant) + max(more, 1) > most:
            raise StorageQuotaExceeded(
                f"The tenant may store {most} bytes, and {_stored(conn, tenant)} are used.",
                quota="stored_bytes",
                limit=most,
            )

    def _quota(self, conn: sa.Connection, tenant: str) -> Quota:
        row = conn.execute(_OWN_QUOTA, {"tenant": tenant}).one_or_none()
        if row is None:
            return self.default_quota
        own = {name: getattr(row, name) for name in LIMITS}
        return self.default_quota.with_overrides({k: v for k, v in own.items() if v is not None})


def add_stored(conn: sa.Connection, tenant: str, count: int) -> None:
    """Adds to the stored bytes of a tenant, within a write transaction."""
    mine = tenant_storage.c.tenant == tenant
    changed = conn.execute(
        sa.update(tenant_storage)
        .where(mine)
        .values(stored_bytes=tenant_storage.c.stored_bytes + count)
    )
    if changed.rowcount == 0 and not insert_if_absent(
        conn, tenant_storage, tenant=tenant, stored_bytes=count
    ):
        add_stored(conn, tenant, count)  # another process was first


def _stored(conn: sa.Connection, tenant: str) -> int:
    query = sa.select(tenant_storage.c.stored_bytes).where(tenant_storage.c.tenant == tenant)
    return int(conn.scalar(query) or 0)


def count_jobs_of(conn: sa.Connection, tenant: str, state: JobState) -> int:
    return int(conn.scalar(_COUNT, {"state": state.value, "tenant": tenant}) or 0)


def _worked_s(conn: sa.Connection, tenant: str, now: datetime) -> float:
    """The ledger's seconds of work for the tenant since midnight UTC (ended jobs)."""
    seconds = sa.func.sum(usage.c.proving_s + usage.c.building_s)
    query = sa.select(seconds).where(usage.c.caller == tenant, usage.c.at >= _midnight(now))
    return float(conn.scalar(query) or 0)


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
