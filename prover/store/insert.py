"""Adding a row that may be there already."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def insert_if_absent(conn: sa.Connection, table: sa.Table, **values: Any) -> bool:
    """Inserts unless a row with this primary key exists; whether it did. The first commit wins."""
    keys = [column.name for column in table.primary_key]
    statement = _insert(conn, table).values(**values).on_conflict_do_nothing(index_elements=keys)
    # What is returned says it; the row count of an insert is not reliable in every driver.
    return conn.scalar(statement.returning(table.c[keys[0]])) is not None


def _insert(conn: sa.Connection, table: sa.Table) -> Any:
    """The dialect's own insert; the other dialect is not loaded."""
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
