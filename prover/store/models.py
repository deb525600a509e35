"""The table of uploaded models."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from prover.errors import ModelNotFound
from prover.jobs import ModelRecord
from prover.store.database import Repository
from prover.store.insert import insert_if_absent
from prover.store.pages import Page, rows_of_page
from prover.store.schema import models


class Models(Repository):
    """Models by id; a model is never changed."""

    def add_model(self, record: ModelRecord) -> ModelRecord:
        """Adds the model, or returns the one that is there: the same bytes, the same id."""
        with self._db.write() as conn:
            insert_if_absent(
                conn,
                models,
                id=record.id,
                name=record.name,
                size_bytes=record.size_bytes,
                signature=record.signature,
                summary=record.summary,
                created_at=record.created_at,
            )
            return _record(conn.execute(sa.select(models).where(models.c.id == record.id)).one())

    def model(self, model_id: str) -> ModelRecord:
        """Raises ``ModelNotFound``."""
        with self._db.read() as conn:
            row = conn.execute(sa.select(models).where(models.c.id == model_id)).one_or_none()
        if row is None:
            raise ModelNotFound(f"There is no model {model_id!r}.", model=model_id)
        return _record(row)

    def models(self, limit: int = 50, cursor: str | None = None) -> Page[ModelRecord]:
        """Models, newest first. Raises ``CursorInvalid``."""
        with self._db.read() as conn:
            rows, after = rows_of_page(conn, models, limit=limit, cursor=cursor)
        return Page(items=[_record(row) for row in rows], next_cursor=after)


def _record(row: sa.Row[Any]) -> ModelRecord:
    return ModelRecord(
        id=row.id,
        name=row.name,
        size_bytes=row.size_bytes,
        signature=row.signature,
        summary=row.summary,
        created_at=row.created_at,
    )
