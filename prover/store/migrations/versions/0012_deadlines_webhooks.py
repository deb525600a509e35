"""Deadlines and contents of jobs, webhooks, idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("deadline", _MOMENT))
    op.add_column("jobs", sa.Column("content", sa.String(64)))
    op.create_index("ix_jobs_deadline", "jobs", ["deadline"])
    op.create_index("ix_jobs_content", "jobs", ["content"])
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.String(80), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("locked_until", _MOMENT, nullable=False),
        sa.Column("response", sa.JSON),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    _webhooks()


def _webhooks() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("events", sa.JSON),
        sa.Column("description", sa.String(500), nullable=False),
        sa.Column("scheme", sa.String(8), nullable=False),
        sa.Column("secret", sa.String(120), nullable=False),
        sa.Column("previous_secret", sa.String(120)),
        sa.Column("previous_until", _MOMENT),
        sa.Column("disabled", sa.String(16)),
        sa.Column("disabled_at", _MOMENT),
        sa.Column("failing_since", _MOMENT),
        sa.Column("delivered_at", _MOMENT),
        sa.Column("paused_until", _MOMENT),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    op.create_index("ix_webhook_endpoints_tenant", "webhook_endpoints", ["tenant"])
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_events"),
    )
    op.create_index("ix_webhook_events_at", "webhook_events", ["at"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("endpoint_id", sa.String(80), nullable=False),
        sa.Column("event_id", sa.String(80), nullable=False),
        sa.Column("event_at", _MOMENT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("next_at", _MOMENT),
        sa.Column("queued_at", _MOMENT, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "event_id", name="pk_webhook_deliveries"),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name="fk_webhook_deliveries_endpoint_id",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["webhook_events.id"], name="fk_webhook_deliveries_event_id"
        ),
    )
    op.create_index(
        "ix_webhook_deliveries_state_next_at", "webhook_deliveries", ["state", "next_at"]
    )
    op.create_index(
        "ix_webhook_deliveries_endpoint_id_event_at_event_id",
        "webhook_deliveries",
        ["endpoint_id", "event_at", "event_id"],
    )
    op.create_index("ix_webhook_deliveries_event_id", "webhook_deliveries", ["event_id"])
    op.create_table(
        "webhook_attempts",
        sa.Column("endpoint_id", sa.String(80), nullable=False),
        sa.Column("event_id", sa.String(80), nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.String(200)),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "event_id", "number", name="pk_webhook_attempts"),
        sa.ForeignKeyConstraint(
            ["endpoint_id", "event_id"],
            ["webhook_deliveries.endpoint_id", "webhook_deliveries.event_id"],
            name="fk_webhook_attempts_endpoint_id",
        ),
    )


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
