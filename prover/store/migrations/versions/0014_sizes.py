"""Size, need and urgency of jobs, whether their results are gone; what a circuit's proofs take.

Additive: the version before works on this schema, and what it writes is a small job.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_BEFORE = ["state", "tenant", "created_at", "id"]
_TURN = ["state", "size", "tenant", "urgency", "created_at", "id"]


def upgrade() -> None:
    op.add_column("jobs", sa.Column("size", sa.String(16), nullable=False, server_default="small"))
    op.add_column("jobs", sa.Column("needs_bytes", sa.BigInteger))
    op.add_column("jobs", sa.Column("urgency", sa.Integer, nullable=False, server_default="3"))
    op.add_column("jobs", sa.Column("put_off_at", sa.DateTime(timezone=True)))
    op.add_column("jobs", sa.Column("removed_at", sa.DateTime(timezone=True)))
    op.add_column("circuits", sa.Column("prove_s", sa.Float))
    op.add_column("circuits", sa.Column("peak_bytes", sa.BigInteger))
    op.create_index(f"ix_jobs_{'_'.join(_TURN)}", "jobs", _TURN)
    op.create_index("ix_jobs_put_off_at", "jobs", ["put_off_at"])
    op.create_index("ix_jobs_input_key", "jobs", ["input_key"])
    op.drop_index(f"ix_jobs_{'_'.join(_BEFORE)}", "jobs")


def downgrade() -> None:
    op.create_index(f"ix_jobs_{'_'.join(_BEFORE)}", "jobs", _BEFORE)
    op.drop_index("ix_jobs_input_key", "jobs", if_exists=True)
    op.drop_index("ix_jobs_put_off_at", "jobs")
    op.drop_index(f"ix_jobs_{'_'.join(_TURN)}", "jobs")
    for name in ("peak_bytes", "prove_s"):
        op.drop_column("circuits", name)
    for name in ("removed_at", "put_off_at", "urgency", "needs_bytes", "size"):
        op.drop_column("jobs", name)
