"""Cursor pages: the query parameters that lists share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=200, description="Items of a page.")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=512, description="`next_cursor` of the previous page; absent: the first page."
    ),
]
DEFAULT_LIMIT = 50
