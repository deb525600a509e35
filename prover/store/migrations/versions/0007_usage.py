"""Who may prove a model, what its owner has signed, and a ledger of what was used.

Rows of the ledger are never changed and never deleted: the database itself refuses it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_SQLITE = """
CREATE TRIGGER usage_{what}_refused BEFORE {what} ON usage
BEGIN SELECT RAISE(ABORT, 'the ledger of usage is only added to'); END
"""
_POSTGRES = """
CREATE FUNCTION usage_refused() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the ledger of usage is only added to'; END $$;
CREATE TRIGGER usage_refused BEFORE UPDATE OR DELETE ON usage
FOR EACH ROW EXECUTE FUNCTION usage_refused()
"""


def upgrade() -> None:
    holders, text = "model_holders", sa.Column
    op.add_column(
        holders, text("visibility", sa.String(16), nullable=False, server_default="private")
    )
    op.add_column(
        holders, text("others_may_prove", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column(holders, text("licence", sa.Text, nullable=False, server_default=""))
    op.add_column(holders, text("published_at", sa.DateTime(timezone=True)))
    op.add_column(holders, text("owner_signature", sa.JSON))
    op.create_index(
        "ix_model_holders_visibility_published_at", holders, ["visibility", "published_at"]
    )
    op.create_table(
        "usage",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("caller", sa.String(63), nullable=False),
        sa.Column("owner", sa.String(63), nullable=False),
        sa.Column("model_id", sa.String(80), nullable=False),
        sa.Column("circuit_id", sa.String(80), nullable=False),
        sa.Column("proofs", sa.Integer, nullable=False),
        sa.Column("verifications", sa.Integer, nullable=False),
        sa.Column("proving_s", sa.Float, nullable=False),
        sa.Column("building_s", sa.Float, nullable=False),
        sa.Column("peak_bytes", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_usage"),
    )
    op.create_index("ix_usage_caller_at", "usage", ["caller", "at"])
    op.create_index("ix_usage_owner_at", "usage", ["owner", "at"])
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(_SQLITE.format(what=what))
    else:
        op.execute(_POSTGRES)


def downgrade() -> None:
    # Only the newest revision goes back (docs/operations.md): further, a copy is safer than code.
    raise NotImplementedError("Take a copy of the database before an upgrade instead.")
