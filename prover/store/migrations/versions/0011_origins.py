"""Origins of web pages that may use an API key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("origins", sa.JSON))


def downgrade() -> None:
    op.drop_column("api_keys", "origins")
