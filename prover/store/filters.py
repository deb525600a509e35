"""Filters of lists, common to all tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A conjunction of conditions; None means no condition. Times are of creation: ``since`` is
    inclusive, ``before`` exclusive."""

    state: str | None = None
    model_id: str | None = None
    circuit_id: str | None = None
    batch_id: str | None = None  # of jobs: those that prove items of this batch
    since: datetime | None = None
    before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def on(self, table: sa.Table) -> list[sa.ColumnElement[bool]]:
        """The conditions on ``table``, which must have the columns."""
        columns = table.c
        found: list[sa.ColumnElement[bool]] = [
            columns[name] == value
            for name in ("state", "model_id", "circuit_id")
            if (value := getattr(self, name)) is not None
        ]
        if self.since is not None:
            found.append(columns.created_at >= self.since)
        if self.before is not None:
            found.append(columns.created_at < self.before)
        if "metadata" in columns:
            found += self.on_metadata(table)
        return found

    def on_metadata(self, table: sa.Table) -> list[sa.ColumnElement[bool]]:
        """The conditions on the rows' metadata."""
        # Keys are letters, digits and a few signs (prover.records.metadata), without a meaning in
        # JSON paths.
        return [table.c.metadata[key].as_string() == v for key, v in self.metadata.items()]


#: No condition.
NO_FILTER = Filter()
