"""The table of built circuits."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from prover.errors import CircuitNotFound
from prover.records.job import CircuitRecord, JobKind
from prover.store.database import Repository
from prover.store.filters import NO_FILTER, Filter
from prover.store.insert import insert_if_absent
from prover.store.pages import Page, rows_of_page
from prover.store.schema import circuits, jobs
from prover.store.sizes import circuit_is_there, measured

_BY_ID = sa.select(circuits).where(circuits.c.id == sa.bindparam("id")).limit(1)
_MINE_BY_ID = _BY_ID.where(circuits.c.tenant == sa.bindparam("tenant"))


class Circuits(Repository):
    """Circuits by id; circuits are immutable. Tenants have separate rows, even for equal ids."""

    def add_circuit(self, record: CircuitRecord) -> CircuitRecord:
        """Adds the circuit, or returns the existing one: the first commit wins.

        Two workers may build the same circuit at once; both continue with the returned one. Jobs
        that wait for it get the size class of its proofs.
        """
        with self._db.write() as conn:
            prove_s = record.manifest.get("measured", {}).get("prove_s")
            peak_bytes = record.manifest.get("measured", {}).get("peak_rss_bytes")
            columns = measured(self._sizing, prove_s, peak_bytes)
            circuit_is_there(conn, self._owner, record.id, columns)
            insert_if_absent(
                conn,
                circuits,
                tenant=self._owner,
                id=record.id,
                model_id=record.model_id,
                profile=record.profile,
                manifest=record.manifest,
                created_at=record.created_at,
                prove_s=prove_s,
                peak_bytes=peak_bytes,
            )
            query = sa.select(circuits).where(circuits.c.id == record.id, *self._mine(circuits))
            return _record(conn.execute(query).one())

    def circuit(self, circuit_id: str) -> CircuitRecord:
        """Raises ``CircuitNotFound``."""
        found = self.find_circuit(circuit_id)
        if found is None:
            raise CircuitNotFound(f"There is no circuit {circuit_id!r}.", circuit=circuit_id)
        return found

    def find_circuit(self, circuit_id: str) -> CircuitRecord | None:
        """The circuit, or None if it is not built."""
        with self._db.read() as conn:
            query = _BY_ID if self.tenant is None else _MINE_BY_ID
            row = conn.execute(query, {"id": circuit_id, "tenant": self.tenant}).one_or_none()
        return None if row is None else _record(row)

    def circuits(
        self,
        limit: int = 50,
        cursor: str | None = None,
        *,
        model_id: str | None = None,
        where: Filter = NO_FILTER,
    ) -> Page[CircuitRecord]:
        """Circuits, newest first, all or those of one model. Their metadata is that of the jobs
        that requested them. Raises ``CursorInvalid``."""
        query = sa.select(circuits).where(*self._mine(circuits), *where.on(circuits))
        if where.metadata:
            asked = sa.exists().where(
                jobs.c.circuit_id == circuits.c.id,
                jobs.c.tenant == circuits.c.tenant,
                jobs.c.kind == JobKind.CIRCUIT.value,
                *where.on_metadata(jobs),
            )
            query = query.where(asked)
        if model_id is not None:
            query = query.where(circuits.c.model_id == model_id)
        key, at = circuits.c.id, circuits.c.created_at
        with self._db.read() as conn:
            rows, after = rows_of_page(conn, query, key, at, limit=limit, cursor=cursor)
        return Page(items=[_record(row) for row in rows], next_cursor=after)


def _record(row: sa.Row[Any]) -> CircuitRecord:
    return CircuitRecord(
        id=row.id,
        model_id=row.model_id,
        profile=row.profile,
        manifest=row.manifest,
        created_at=row.created_at,
    )
