"""The tables as they are now. ``migrations/`` says how they came to be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from prover.records.tenant import MAX_TENANT

#: The newest migration. Kept here so that opening a current database need not load Alembic.
REVISION = "0014"

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment: aware and in UTC in Python, ``timestamptz`` or ISO text in SQL."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone says nothing")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# JSON, not JSONB: JSONB turns 1e22 into an integer and drops the order of keys, and a manifest
# must come back as it went in, because its digest is a circuit's name.
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
    sa.Column("requests_per_minute", sa.Integer),  # null: as the settings say
    sa.Column("origins", Json),  # of web pages that may use it; null: of none
)

# Limits of tenants that differ from the settings'; null: as there.
tenant_quotas = sa.Table(
    "tenant_quotas",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("running", sa.BigInteger),
    sa.Column("queued", sa.BigInteger),
    sa.Column("stored_bytes", sa.BigInteger),
    sa.Column("proving_s_per_day", sa.BigInteger),
)

# What is kept of each tenant's, in bytes.
tenant_storage = sa.Table(
    "tenant_storage",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False),
)

# What a model is; the same for everybody who has its bytes.
models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("signature", Json, nullable=False),
    sa.Column("summary", Json, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

# Who has a model: the same bytes may be several tenants', and none of them sees the others.
model_holders = sa.Table(
    "model_holders",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("model_id", sa.String(80), sa.ForeignKey("models.id"), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    # What others may do with it, and what the owner says of it.
    sa.Column("visibility", sa.String(16), nullable=False, server_default="private"),
    sa.Column("others_may_prove", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("licence", sa.Text, nullable=False, server_default=""),
    sa.Column("published_at", UtcTime),
    sa.Column("owner_signature", Json),
    sa.Column("metadata", Json),  # the tenant's own words
    sa.Index(None, "tenant", "created_at", "model_id"),
    sa.Index(None, "visibility", "published_at"),
)

# What was used. Triggers of the database refuse to change or delete a row.
usage = sa.Table(
    "usage",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),  # of a job: that job's
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("caller", Tenant, nullable=False),
    sa.Column("api_key", sa.String(80)),  # of the caller that asked; null: none was needed
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
    # What its proofs took, null in those of older versions: when it was made, and the most so far.
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
    sa.Column("api_key", sa.String(80)),  # that asked for it; null: none was needed
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("model_id", sa.String(80), sa.ForeignKey("models.id"), nullable=False),
    # No foreign key: a job may be what builds this circuit.
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
    sa.Column("content", sa.String(64)),  # of circuit, input and context: what would be proved
    sa.Column("timings", Json, nullable=False),
    sa.Column("peak_rss_bytes", sa.BigInteger),
    sa.Column("result", Json),
    sa.Column("problem", Json),
    sa.Column("metadata", Json),  # the tenant's own words
    # What follows is the store's own and not part of ``Job``.
    sa.Column("lease_owner", sa.String(255)),
    sa.Column("lease_token", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcTime),
    sa.Column("lost", sa.Integer, nullable=False),  # attempts that ended without an answer
    # Of these, one entry each: attempt, owner, stage, at, and the problem's code where there is one
    sa.Column("losses", Json),
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),  # … its worker fell silent
    sa.Column("kept_proof", Json),  # made and not yet signed: `prover.jobs.kept_proofs`
    sa.Column("not_before", UtcTime),  # a queued job is not taken before; null: at once
    sa.Column("last_seq", sa.Integer, nullable=False),  # seq of the newest event
    sa.Column("sent_at", UtcTime, nullable=False),  # when it was last put on the queue
    sa.Column("size", sa.String(16), nullable=False, server_default="small"),
    sa.Column("needs_bytes", sa.BigInteger),  # memory, as predicted; null: not known
    sa.Column("urgency", sa.Integer, nullable=False, server_default="3"),
    sa.Column("removed_at", UtcTime),  # when proof and bundle were removed
    # Since when a queued job has waited for room; its message is used up.
    sa.Column("put_off_at", UtcTime),
    sa.Index(None, "state", "sent_at"),
    # Whose turn it is.
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
    sa.Column("circuit_id", sa.String(80)),  # of one lane; the others follow from it
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
    sa.Column("item_id", sa.String(255)),  # as the file names it; null where it could not be read
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("chunk", sa.Integer),
    sa.Column("place", sa.Integer),  # within the chunk
    sa.Column("pack_id", sa.String(80)),  # the job that is to prove it
    sa.Column("lane", sa.Integer),
    sa.Column("result", Json),
    sa.Column("problem", Json),
    # Proved, with an answer that misses the profile.
    sa.Column("inexact", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index(None, "batch_id", "state"),
    sa.Index(None, "pack_id"),
)

# Files that come in parts, and the parts that have come.
uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("digest", sa.String(80), primary_key=True),  # of the whole file, as announced
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("touched_at", UtcTime, nullable=False),  # when the last part came
    sa.Index(None, "touched_at"),
)

upload_parts = sa.Table(
    "upload_parts",
    metadata,
    sa.Column("tenant", Tenant, primary_key=True),
    sa.Column("digest", sa.String(80), primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("key", sa.String(255), nullable=False),  # where it lies
)
