"""Models, circuits, jobs and events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "models",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.JSON, nullable=False),
        sa.Column("summary", sa.JSON, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_index("ix_models_created_at_id", "models", ["created_at", "id"])
    op.create_table(
        "circuits",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("model_id", sa.String(80), nullable=False),
        sa.Column("profile", sa.JSON, nullable=False),
        sa.Column("manifest", sa.JSON, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_circuits"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_circuits_model_id"),
    )
    op.create_index("ix_circuits_model_id", "circuits", ["model_id"])
    op.create_index("ix_circuits_created_at_id", "circuits", ["created_at", "id"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("model_id", sa.String(80), nullable=False),
        sa.Column("circuit_id", sa.String(80), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("input_key", sa.String(255)),
        sa.Column("stage", sa.String(16)),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("finished_at", moment),
        sa.Column("timings", sa.JSON, nullable=False),
        sa.Column("peak_rss_bytes", sa.BigInteger),
        sa.Column("result", sa.JSON),
        sa.Column("problem", sa.JSON),
        sa.Column("lease_owner", sa.String(255)),
        sa.Column("lease_token", sa.BigInteger, nullable=False),
        sa.Column("lease_expires_at", moment),
        sa.Column("lost", sa.Integer, nullable=False),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("sent_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_jobs_model_id"),
    )
    op.create_index("ix_jobs_state_sent_at", "jobs", ["state", "sent_at"])
    op.create_index("ix_jobs_circuit_id", "jobs", ["circuit_id"])
    op.create_index("ix_jobs_created_at_id", "jobs", ["created_at", "id"])
    op.create_table(
        "events",
        sa.Column("job_id", sa.String(80), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_events"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job_id"),
    )


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
