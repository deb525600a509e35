"""Batches and their items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "batches",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("model_id", sa.String(80), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("job_id", sa.String(80), nullable=False),
        sa.Column("circuit_id", sa.String(80)),
        sa.Column("plan", sa.JSON),
        sa.Column("problem", sa.JSON),
        sa.Column("expires_at", moment),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("finished_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_batches_model_id"),
    )
    op.create_index("ix_batches_created_at_id", "batches", ["created_at", "id"])
    op.create_table(
        "batch_chunks",
        sa.Column("batch_id", sa.String(80), nullable=False),
        sa.Column("chunk", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("input_key", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "chunk", name="pk_batch_chunks"),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_batch_chunks_batch_id"),
    )
    op.create_table(
        "batch_items",
        sa.Column("batch_id", sa.String(80), nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("item_id", sa.String(255)),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("chunk", sa.Integer),
        sa.Column("place", sa.Integer),
        sa.Column("pack_id", sa.String(80)),
        sa.Column("lane", sa.Integer),
        sa.Column("result", sa.JSON),
        sa.Column("problem", sa.JSON),
        sa.PrimaryKeyConstraint("batch_id", "number", name="pk_batch_items"),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_batch_items_batch_id"),
    )
    op.create_index("ix_batch_items_batch_id_state", "batch_items", ["batch_id", "state"])
    op.create_index("ix_batch_items_pack_id", "batch_items", ["pack_id"])


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
