"""Cursor pagination of lists, newest first."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from prover.errors import CursorInvalid

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """A page of rows, and the cursor of the next page (None: the last page)."""

    items: list[T]
    next_cursor: str | None


def rows_of_page(
    conn: sa.Connection,
    query: sa.Select[Any],
    key: sa.ColumnElement[str],
    at: sa.ColumnElement[datetime],
    *,
    limit: int,
    cursor: str | None,
) -> tuple[list[sa.Row[Any]], str | None]:
    """At most ``limit`` rows of ``query`` after ``cursor`` in the order (at, key), descending.

    ``key`` and ``at`` are among the query's columns, as ``id`` and ``created_at``.

    Rows added meanwhile do not shift later pages.
    Raises ``CursorInvalid``.
    """
    query = query.order_by(at.desc(), key.desc()).limit(limit + 1)
    if cursor is not None:
        last_at, last_id = _read_cursor(cursor)
        query = query.where(sa.or_(at < last_at, sa.and_(at == last_at, key < last_id)))
    rows = list(conn.execute(query))
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], _make_cursor(last.created_at, last.id)


def _make_cursor(at: datetime, key: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{key}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, bar, key = text.partition("|")
        at = datetime.fromisoformat(moment)
    except (ValueError, binascii.Error):
        raise CursorInvalid from None
    if not bar or at.tzinfo is None or "\x00" in key:
        raise CursorInvalid
    return at, key
