"""The current tables. ``migrations/`` has their history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from prover.records.tenant import MAX_TENANT

#: The newest migration, here so that opening a current database does not load Alembic.
REVISION = "0014"

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class UtcTime(sa.TypeDecorator[datetime]):
    """A timestamp: timezone-aware UTC in Python, ``timestamptz`` or ISO text in SQL."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# JSON, not JSONB: JSONB turns 1e22 into an integer and loses the order of keys, but a manifest must
# round-trip exactly, because its digest is a circuit's id.
Json = sa.JSON(none_as_null=True)

Tenant = sa.String(MAX_TENANT)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", Tenant, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),  # of the secret, which is stored nowhere
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
    sa.Column("last_used_at", UtcTime),  # to the minute
    sa.Column("requests_per_minute", sa.Integer),  # null: the setting
    sa.Column("origins", Json),  # web origins that may use it; null: none
)

# Tenants' own limits; null: the setting.
tenant_quotas = sa.Table(
    "tenant_quotas",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("running", sa.BigInteger),
    sa.Column("queued", sa.BigInteger),
    sa.Column("stored_bytes", sa.BigInteger),
    sa.Column("proving_s_per_day", sa.BigInteger),
)

# Stored bytes of each tenant.
tenant_storage = sa.Table(
    "tenant_storage",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False),
)

# A model's content, the same for all its holders.
models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("signature", Json, nullable=False),
    sa.Column("summary", Json, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

# A model's holders: several tenants may have the same bytes without seeing each other.
model_holders = sa.Table(
    "model_holders",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("model_id", sa.String(80), sa.ForeignKey("models.id"), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    # What other tenants may do with it, and the owner's statement.
    sa.Column("visibility", sa.String(16), nullable=False, server_default="private"),
    sa.Column("others_may_prove", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("licence", sa.Text, nullable=False, server_default=""),
    sa.Column("published_at", UtcTime),
    sa.Column("owner_signature", Json),
    sa.Column("metadata", Json),  # the tenant's own words
    sa.Index(None, "tenant", "created_at", "model_id"),
    sa.Index(None, "visibility", "published_at"),
)

# The ledger of usage. Triggers refuse changes and deletions.
usage = sa.Table(
    "usage",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),  # the job's id for entries of jobs
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("caller", Tenant, nullable=False),
    sa.Column("api_key", sa.String(80)),  # the caller's API key; null: none was needed
    sa.Column("owner", Tenant, nullable=False),
    sa.Column("model_id", sa.String(80), nullable=False),
    sa.Column("circuit_id", sa.String(80), nullable=False),
    sa.Column("proofs", sa.Integer, nullable=False),
    sa.Column("verifications", sa.Integer, nullable=False),
    sa.Column("proving_s", sa.Float, nullable=False),
    sa.Column("building_s", sa.Float, nullable=False),
    sa.Column("peak_bytes", sa.BigInteger),
    sa.Index(None, "caller", "at"),
    sa.Index(None, "owner", "at"),
)

circuits = sa.Table(
    "circuits",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("model_id", sa.String(80), sa.ForeignKey("models.id"), nullable=False),
    sa.Column("profile", Json, nullable=False),
    sa.Column("manifest", Json, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    # Costs of its proofs: measured at the build, and the maximum so far; null from older versions.
    sa.Column("prove_s", sa.Float),
    sa.Column("peak_bytes", sa.BigInteger),
    sa.Index(None, "tenant", "model_id"),
    sa.Index(None, "tenant", "created_at", "id"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("tenant", Tenant, nullable=False),
    sa.Column("api_key", sa.String(80)),  # the requester's API key; null: none was needed
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("model_id", sa.String(80), sa.ForeignKey("models.id"), nullable=False),
    # No foreign key: the job may build this circuit.
    sa.Column("circuit_id", sa.String(80), nullable=False),
    sa.Column("request", Json, nullable=False),
    sa.Column("input_key", sa.String(255)),
    sa.Column("stage", sa.String(16)),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("deadline", UtcTime),
    sa.Column("content", sa.String(64)),  # digest of circuit, input and context
    sa.Column("timings", Json, nullable=False),
    sa.Column("peak_rss_bytes", sa.BigInteger),
    sa.Column("result", Json),
    sa.Column("problem", Json),
    sa.Column("metadata", Json),  # the tenant's own words
    # The following columns are internal to the store and not part of ``Job``.
    sa.Column("lease_owner", sa.String(255)),
    sa.Column("lease_token", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcTime),
    sa.Column("lost", sa.Integer, nullable=False),  # lost attempts
    # One entry for each: attempt, owner, stage, at, and the problem's code if there is one
    sa.Column("losses", Json),
    sa.Column(
        "deaths", sa.Integer, nullable=False, server_default="0"
    ),  # … its worker was unresponsive
    sa.Column("kept_proof", Json),  # a proof that is not yet signed: `prover.jobs.kept_proofs`
    sa.Column("not_before", UtcTime),  # earliest time to claim a queued job; null: at once
    sa.Column("last_seq", sa.Integer, nullable=False),  # seq of the newest event
    sa.Column("sent_at", UtcTime, nullable=False),  # when it was last put on the queue
    sa.Column("size", sa.String(16), nullable=False, server_default="small"),
    sa.Column("needs_bytes", sa.BigInteger),  # predicted memory; null: unknown
    sa.Column("urgency", sa.Integer, nullable=False, server_default="3"),
    sa.Column("removed_at", UtcTime),  # when proof and bundle were deleted
    # Since when a queued job has waited for capacity; its message was consumed.
    sa.Column("put_off_at", UtcTime),
    sa.Index(None, "state", "sent_at"),
    # For the order of claims.
    sa.Index(None, "state", "size", "tenant", "urgency", "created_at", "id"),
    sa.Index(None, "put_off_at"),
    sa.Index(None, "tenant", "started_at"),
    sa.Index(None, "circuit_id"),
    sa.Index(None, "tenant", "created_at", "id"),
    sa.Index(None, "deadline"),
    sa.Index(None, "content"),
    sa.Index(None, "input_key"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("job_id", sa.String(80), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("data", Json, nullable=False),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("tenant", Tenant, nullable=False),
    sa.Column("model_id", sa.String(80), sa.ForeignKey("models.id"), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("request", Json, nullable=False),
    sa.Column("job_id", sa.String(80), nullable=False),  # plans it
    sa.Column("circuit_id", sa.String(80)),  # the single-lane circuit; batched ones derive from it
    sa.Column("plan", Json),
    sa.Column("problem", Json),
    sa.Column("expires_at", UtcTime),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("metadata", Json),  # the tenant's own words
    sa.Index(None, "tenant", "created_at", "id"),
)

batch_chunks = sa.Table(
    "batch_chunks",
    metadata,
    sa.Column("batch_id", sa.String(80), sa.ForeignKey("batches.id"), primary_key=True),
    sa.Column("chunk", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("input_key", sa.String(255), nullable=False),
)

batch_items = sa.Table(
    "batch_items",
    metadata,
    sa.Column("batch_id", sa.String(80), sa.ForeignKey("batches.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("item_id", sa.String(255)),  # from the file; null if unreadable
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("chunk", sa.Integer),
    sa.Column("place", sa.Integer),  # within the chunk
    sa.Column("pack_id", sa.String(80)),  # the job that is to prove it
    sa.Column("lane", sa.Integer),
    sa.Column("result", Json),
    sa.Column("problem", Json),
    # Proved, with an output that misses the profile.
    sa.Column("inexact", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index(None, "batch_id", "state"),
    sa.Index(None, "pack_id"),
)

# Uploads in parts, and the received parts.
uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("digest", sa.String(80), primary_key=True),  # announced digest of the whole file
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("touched_at", UtcTime, nullable=False),  # when the last part was received
    sa.Index(None, "touched_at"),
)

upload_parts = sa.Table(
    "upload_parts",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("digest", sa.String(80), primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("key", sa.String(255), nullable=False),  # artifact key
)
