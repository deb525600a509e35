"""Alembic's entry: runs inside the transaction that ``prover.store.migrate`` holds."""

from __future__ import annotations

from alembic import context

from prover.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
