"""Adding a row that may be there already."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_if_absent(conn: sa.Connection, table: sa.Table, **values: Any) -> bool:
    """Inserts unless a row with this ``id`` exists; whether it did. The first commit wins."""
    kind = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    statement = kind(table).values(**values).on_conflict_do_nothing(index_elements=["id"])
    # What is returned says it; the row count of an insert is not reliable in every driver.
    return conn.scalar(statement.returning(table.c.id)) is not None
