"""Proofs that were made and are still to be verified and signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("kept_proof", sa.JSON))


def downgrade() -> None:
    op.drop_column("jobs", "kept_proof")
