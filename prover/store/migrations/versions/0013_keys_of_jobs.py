"""Which API key asked: of jobs, and of the ledger's entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("api_key", sa.String(80)))
    op.add_column("usage", sa.Column("api_key", sa.String(80)))
