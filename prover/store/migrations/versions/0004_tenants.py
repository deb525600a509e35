"""Tenants: API keys, who holds a model, and whose every circuit, job and batch is.

What was there before belongs to the tenant ``default``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_DEFAULT = "default"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("revoked_at", moment),
        sa.Column("last_used_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    _models()
    for table in ("jobs", "batches"):
        op.add_column(
            table, sa.Column("tenant", sa.String(63), nullable=False, server_default=_DEFAULT)
        )
        op.drop_index(f"ix_{table}_created_at_id", table)
        op.create_index(f"ix_{table}_tenant_created_at_id", table, ["tenant", "created_at", "id"])
    _circuits()


def _models() -> None:
    """What a model is stays in ``models``; its name, and whose it is, moves to its holders."""
    op.create_table(
        "model_holders",
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("model_id", sa.String(80), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model_id", name="pk_model_holders"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_holders_model_id"),
    )
    op.create_index(
        "ix_model_holders_tenant_created_at_model_id",
        "model_holders",
        ["tenant", "created_at", "model_id"],
    )
    op.execute(
        "INSERT INTO model_holders (tenant, model_id, name, created_at)"
        " SELECT 'default', id, name, created_at FROM models"
    )
    op.drop_index("ix_models_created_at_id", "models")
    op.drop_column("models", "name")


def _circuits() -> None:
    """Each tenant has circuits of its own, also where their ids are the same."""
    op.drop_index("ix_circuits_model_id", "circuits")
    op.drop_index("ix_circuits_created_at_id", "circuits")
    with op.batch_alter_table("circuits") as batch:
        batch.add_column(
            sa.Column("tenant", sa.String(63), nullable=False, server_default=_DEFAULT)
        )
        batch.drop_constraint("pk_circuits", type_="primary")
        batch.create_primary_key("pk_circuits", ["tenant", "id"])
    op.create_index("ix_circuits_tenant_model_id", "circuits", ["tenant", "model_id"])
    op.create_index("ix_circuits_tenant_created_at_id", "circuits", ["tenant", "created_at", "id"])


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
