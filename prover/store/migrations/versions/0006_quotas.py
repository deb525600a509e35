"""Quotas of tenants, and the indexes by which a free worker finds whose turn it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "tenant_quotas",
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("running", sa.BigInteger),
        sa.Column("queued", sa.BigInteger),
        sa.Column("stored_bytes", sa.BigInteger),
        sa.Column("proving_s_per_day", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant", name="pk_tenant_quotas"),
    )
    op.create_index(
        "ix_jobs_state_tenant_created_at_id", "jobs", ["state", "tenant", "created_at", "id"]
    )
    op.create_index("ix_jobs_tenant_started_at", "jobs", ["tenant", "started_at"])


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
