"""Uploads that come in parts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "uploads",
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("touched_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", name="pk_uploads"),
    )
    op.create_index("ix_uploads_touched_at", "uploads", ["touched_at"])
    op.create_table(
        "upload_parts",
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", "start", name="pk_upload_parts"),
    )


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
