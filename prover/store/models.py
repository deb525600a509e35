"""The tables of uploaded models: what a model is, and who has it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from prover.errors import ModelNotFound
from prover.jobs import ModelRecord
from prover.store.database import Repository
from prover.store.insert import insert_if_absent
from prover.store.pages import Page, rows_of_page
from prover.store.schema import model_holders, models


class Models(Repository):
    """Models by id; a model is never changed. The same bytes may be several tenants' model, each
    with a name and a date of its own."""

    def add_model(self, record: ModelRecord) -> ModelRecord:
        """Adds the model, or returns the tenant's own: the same bytes, the same id."""
        with self._db.write() as conn:
            insert_if_absent(
                conn,
                models,
                id=record.id,
                size_bytes=record.size_bytes,
                signature=record.signature,
                summary=record.summary,
                created_at=record.created_at,
            )
            insert_if_absent(
                conn,
                model_holders,
                tenant=self._owner,
                model_id=record.id,
                name=record.name,
                created_at=record.created_at,
            )
            return _record(conn.execute(self._query(record.id)).one())

    def model(self, model_id: str) -> ModelRecord:
        """Raises ``ModelNotFound``."""
        with self._db.read() as conn:
            row = conn.execute(self._query(model_id)).one_or_none()
        if row is None:
            raise ModelNotFound(f"There is no model {model_id!r}.", model=model_id)
        return _record(row)

    def models(self, limit: int = 50, cursor: str | None = None) -> Page[ModelRecord]:
        """Models, newest first. Raises ``CursorInvalid``."""
        with self._db.read() as conn:
            rows, after = rows_of_page(
                conn,
                self._held(),
                model_holders.c.model_id,
                model_holders.c.created_at,
                limit=limit,
                cursor=cursor,
            )
        return Page(items=[_record(row) for row in rows], next_cursor=after)

    def models_named(self, name: str) -> list[ModelRecord]:
        """Models of this name, newest first."""
        query = self._held().where(model_holders.c.name == name)
        query = query.order_by(model_holders.c.created_at.desc(), models.c.id)
        with self._db.read() as conn:
            return [_record(row) for row in conn.execute(query)]

    def _held(self) -> sa.Select[Any]:
        """Models that this view's tenant has (of every tenant's: once for each of them)."""
        return (
            sa.select(
                models.c.id,
                models.c.size_bytes,
                models.c.signature,
                models.c.summary,
                model_holders.c.name,
                model_holders.c.created_at,
            )
            .join(model_holders, model_holders.c.model_id == models.c.id)
            .where(*self._mine(model_holders))
        )

    def _query(self, model_id: str) -> sa.Select[Any]:
        query = self._held().where(models.c.id == model_id)
        return query.order_by(model_holders.c.created_at).limit(1)


def require_model(conn: sa.Connection, tenant: str, model_id: str) -> None:
    """Raises ``ModelNotFound`` unless ``tenant`` has the model."""
    query = sa.select(model_holders.c.model_id).where(
        model_holders.c.tenant == tenant, model_holders.c.model_id == model_id
    )
    if conn.scalar(query) is None:
        raise ModelNotFound(f"There is no model {model_id!r}.", model=model_id)


def _record(row: sa.Row[Any]) -> ModelRecord:
    return ModelRecord(
        id=row.id,
        name=row.name,
        size_bytes=row.size_bytes,
        signature=row.signature,
        summary=row.summary,
        created_at=row.created_at,
    )
