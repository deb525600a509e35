"""Inserting a row that may exist already."""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa


def insert_if_absent(conn: sa.Connection, table: sa.Table, **values: Any) -> bool:
    """Inserts unless the primary key exists; returns whether it did. The first commit wins."""
    # RETURNING tells: an insert's row count is not reliable in every driver.
    statement = _statement(table, conn.dialect.name, whole=False)
    return conn.execute(statement, values).one_or_none() is not None


def insert_new(conn: sa.Connection, table: sa.Table, **values: Any) -> sa.Row[Any] | None:
    """The same, but returns the written row."""
    statement = _statement(table, conn.dialect.name, whole=True)
    return conn.execute(statement, values).one_or_none()


@functools.cache
def _statement(table: sa.Table, dialect: str, *, whole: bool) -> Any:
    """The dialect's insert. Built once, since building it costs more than running it; the other
    dialect is not loaded."""
    keys = list(table.primary_key)
    insert: Any
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert
    given_back = [table] if whole else keys
    return insert(table).on_conflict_do_nothing(index_elements=keys).returning(*given_back)
