"""Inserting a row that may exist already."""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa


def insert_if_absent(conn: sa.Connection, table: sa.Table, **values: Any) -> bool:
    """Inserts unless the primary key exists; returns whether it did. The first commit wins."""
    return insert_new(conn, table, **values) is not None


def insert_new(conn: sa.Connection, table: sa.Table, **values: Any) -> sa.Row[Any] | None:
    """The same, but returns the written row."""
    # RETURNING tells: an insert's row count is not reliable in every driver.
    return conn.execute(_statement(table, conn.dialect.name), values).one_or_none()


@functools.cache
def _statement(table: sa.Table, dialect: str) -> Any:
    """The dialect's insert. Built once, since building it costs more than running it; the other
    dialect is not loaded."""
    keys = [column.name for column in table.primary_key]
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing(index_elements=keys).returning(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing(index_elements=keys).returning(table)
