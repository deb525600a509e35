"""The ledger of usage. A job's entry is written under its id in the transaction that ends the job,
so it exists exactly once."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from prover.records.job import JobKind, JobState
from prover.records.usage import Grouping, Used
from prover.store.database import Repository
from prover.store.insert import insert_if_absent
from prover.store.models import owner_of
from prover.store.schema import usage

_PROVING = ("witness", "prove", "verify", "receipts")
_BUILDING = "compile"
#: Rows of one response; narrow a query by day or model to get more.
MAX_ROWS = 10_000


class Usage(Repository):
    """Sums of the ledger that concern the view's tenant, as a model's owner or as the caller."""

    def usage(
        self,
        by: Collection[Grouping],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        model_id: str | None = None,
    ) -> list[Used]:
        """Sums, by day with the newest first if grouped by day; at most ``MAX_ROWS``."""
        columns = {
            Grouping.MODEL: usage.c.model_id,
            Grouping.CALLER: usage.c.caller,
            Grouping.KEY: self._own_key(),
            Grouping.OWNER: usage.c.owner,
            Grouping.CIRCUIT: usage.c.circuit_id,
            Grouping.DAY: self._day(),
        }
        groups = [columns[g].label(g.value) for g in Grouping if g in by]
        query = sa.select(
            *groups,
            sa.func.count().label("jobs"),
            sa.func.sum(usage.c.proofs).label("proofs"),
            sa.func.sum(usage.c.verifications).label("verifications"),
            sa.func.sum(usage.c.proving_s).label("proving_s"),
            sa.func.sum(usage.c.building_s).label("building_s"),
            sa.func.max(usage.c.peak_bytes).label("peak_bytes"),
        )
        if self.tenant is not None:
            mine = sa.or_(usage.c.caller == self.tenant, usage.c.owner == self.tenant)
            query = query.where(mine)
        if since is not None:
            query = query.where(usage.c.at >= since)
        if until is not None:
            query = query.where(usage.c.at < until)
        if model_id is not None:
            query = query.where(usage.c.model_id == model_id)
        order = [columns[g].desc() if g is Grouping.DAY else columns[g] for g in _ORDER if g in by]
        query = query.group_by(*groups).order_by(*order).limit(MAX_ROWS)
        with self._db.read() as conn:
            rows = conn.execute(query).all()
        return [_used(row) for row in rows if row.jobs]

    def note_verification(self, model_id: str, circuit_id: str) -> None:
        """Records a verification of a bundle by the view's tenant."""
        with self._db.write() as conn:
            _enter(
                conn,
                f"v-{secrets.token_hex(16)}",
                self._now(),
                kind="verification",
                caller=self._owner,
                api_key=self.key_id,
                owner=owner_of(conn, self._owner, model_id),
                model_id=model_id,
                circuit_id=circuit_id,
                verifications=1,
            )

    def _own_key(self) -> sa.ColumnElement[Any]:
        """The caller's key, only for its own tenant: owners do not see other tenants' keys."""
        if self.tenant is None:
            return usage.c.api_key
        return sa.case((usage.c.caller == self.tenant, usage.c.api_key), else_=sa.null())

    def _day(self) -> sa.ColumnElement[Any]:
        if self._db.is_sqlite:
            return sa.func.date(usage.c.at)
        return sa.func.to_char(sa.func.timezone("UTC", usage.c.at), "YYYY-MM-DD")


_ORDER = (
    Grouping.DAY,
    Grouping.MODEL,
    Grouping.CALLER,
    Grouping.KEY,
    Grouping.OWNER,
    Grouping.CIRCUIT,
)


def meter(
    conn: sa.Connection, job: sa.Row[Any], now: datetime, *, proofs: int | None = None
) -> None:
    """Records a job's cost, in the transaction that ends it. ``job`` is its row at the end;
    ``proofs``: the number of receipts, unless it is one per proof."""
    spent = job.timings or {}
    proving_s = sum(float(spent.get(name, 0.0)) for name in _PROVING)
    building_s = float(spent.get(_BUILDING, 0.0))
    succeeded = job.state == JobState.SUCCEEDED.value
    if proofs is None:
        proofs = 1 if succeeded and job.kind == JobKind.PROOF.value else 0
    if not (succeeded or proving_s or building_s):
        return
    shared_by = int((job.result or {}).get("shared_by", 1))
    _enter(
        conn,
        job.id,
        now,
        kind=job.kind,
        caller=job.tenant,
        api_key=job.api_key,
        owner=owner_of(conn, job.tenant, job.model_id),
        model_id=job.model_id,
        circuit_id=(job.result or {}).get("circuit") or job.circuit_id,
        proofs=proofs,
        proving_s=proving_s / shared_by,
        building_s=building_s,
        peak_bytes=job.peak_rss_bytes,
    )


def _enter(conn: sa.Connection, entry_id: str, now: datetime, **values: Any) -> None:
    zero = {"proofs": 0, "verifications": 0, "proving_s": 0.0, "building_s": 0.0}
    insert_if_absent(conn, usage, id=entry_id, at=now, **(zero | values))


def _used(row: Any) -> Used:
    found = row._mapping
    day = found.get(Grouping.DAY.value)
    return Used(
        model=found.get(Grouping.MODEL.value),
        caller=found.get(Grouping.CALLER.value),
        key=found.get(Grouping.KEY.value),
        owner=found.get(Grouping.OWNER.value),
        circuit=found.get(Grouping.CIRCUIT.value),
        day=None if day is None else date.fromisoformat(day),
        jobs=int(row.jobs),
        proofs=int(row.proofs),
        verifications=int(row.verifications),
        proving_s=round(float(row.proving_s), 6),
        building_s=round(float(row.building_s), 6),
        peak_bytes=row.peak_bytes,
    )
