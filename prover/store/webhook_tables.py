"""The tables of webhooks: endpoints, events, their deliveries (a queue) and attempts (a log)."""

from __future__ import annotations

import sqlalchemy as sa

from prover.store.schema import Json, UtcTime, metadata

webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("url", sa.String(2048), nullable=False),
    sa.Column("events", Json),  # subscribed types; null: all
    sa.Column("description", sa.String(500), nullable=False),
    sa.Column("scheme", sa.String(8), nullable=False),
    # Signing needs the secret itself, not a hash.
    sa.Column("secret", sa.String(120), nullable=False),
    sa.Column("previous_secret", sa.String(120)),
    sa.Column("previous_until", UtcTime),
    sa.Column("disabled", sa.String(16)),  # why; null: enabled
    sa.Column("disabled_at", UtcTime),
    sa.Column("failing_since", UtcTime),
    sa.Column("delivered_at", UtcTime),
    sa.Column("paused_until", UtcTime),  # requested by the receiver
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "tenant"),
)

webhook_events = sa.Table(
    "webhook_events",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("type", sa.String(40), nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index(None, "at"),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column(
        "endpoint_id", sa.String(80), sa.ForeignKey("webhook_endpoints.id"), primary_key=True
    ),
    sa.Column("event_id", sa.String(80), sa.ForeignKey("webhook_events.id"), primary_key=True),
    sa.Column("event_at", UtcTime, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # When it is due. During an attempt: when another process may take over.
    sa.Column("next_at", UtcTime),
    sa.Column("queued_at", UtcTime, nullable=False),  # first, or at the latest replay
    sa.Column("tries", sa.Integer, nullable=False),  # since then
    sa.Column("attempts", sa.Integer, nullable=False),  # ever
    sa.Index(None, "state", "next_at"),
    sa.Index(None, "endpoint_id", "event_at", "event_id"),
    sa.Index(None, "event_id"),
)

webhook_attempts = sa.Table(
    "webhook_attempts",
    metadata,
    sa.Column("endpoint_id", sa.String(80), primary_key=True),
    sa.Column("event_id", sa.String(80), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("error", sa.String(200)),
    sa.Column("duration_s", sa.Float, nullable=False),
    sa.ForeignKeyConstraint(
        ["endpoint_id", "event_id"],
        ["webhook_deliveries.endpoint_id", "webhook_deliveries.event_id"],
    ),
)
