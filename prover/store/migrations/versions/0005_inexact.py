"""Items of a batch whose proved answer misses the profile."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column(
        "batch_items",
        sa.Column("inexact", sa.Boolean, nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
