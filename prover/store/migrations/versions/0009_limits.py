"""Rates of single keys, what each tenant stores, and its own words about what it has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("requests_per_minute", sa.Integer))
    op.create_table(
        "tenant_storage",
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_tenant_storage"),
    )
    for table in ("jobs", "batches", "model_holders"):
        op.add_column(table, sa.Column("metadata", sa.JSON))


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
