"""The table of quotas that differ from the settings', and what of a quota is used."""

from __future__ import annotations

import sqlalchemy as sa

from prover.quotas import LIMITS, Quota
from prover.store.database import Repository
from prover.store.schema import tenant_quotas


class Quotas(Repository):
    """Quotas by tenant, of every tenant, whatever the view."""

    def quota(self, tenant: str) -> Quota:
        """What the tenant may use: its own limits, and the settings' where it has none."""
        with self._db.read() as conn:
            return self._quota(conn, tenant)

    def set_quota(self, tenant: str, limits: dict[str, int | None]) -> Quota:
        """Sets some limits of a tenant; None puts one back to the settings'."""
        with self._db.write() as conn:
            mine = tenant_quotas.c.tenant == tenant
            if conn.scalar(sa.select(tenant_quotas.c.tenant).where(mine)) is None:
                conn.execute(sa.insert(tenant_quotas).values(tenant=tenant, **limits))
            else:
                conn.execute(sa.update(tenant_quotas).where(mine).values(**limits))
            return self._quota(conn, tenant)

    def own_quotas(self) -> dict[str, Quota]:
        """The quotas of all tenants that have limits of their own."""
        with self._db.read() as conn:
            names = list(conn.scalars(sa.select(tenant_quotas.c.tenant).order_by("tenant")))
            return {name: self._quota(conn, name) for name in names}

    def _quota(self, conn: sa.Connection, tenant: str) -> Quota:
        query = sa.select(tenant_quotas).where(tenant_quotas.c.tenant == tenant)
        row = conn.execute(query).one_or_none()
        if row is None:
            return self.default_quota
        own = {name: getattr(row, name) for name in LIMITS}
        return self.default_quota.with_overrides({k: v for k, v in own.items() if v is not None})
