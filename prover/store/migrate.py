"""Brings a database to the newest schema, from any state, with several processes at it."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from prover.errors import StoreTooNew
from prover.store.database import Database
from prover.store.schema import REVISION

MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK = 0x7A6B_6D6C  # any number that every process of this program agrees on


def bring_up_to_date(database: Database) -> None:
    """Runs the migrations that are missing. A current database costs one query.

    Raises ``StoreTooNew`` when a newer version of this program wrote it.
    """
    with database.read() as conn:
        if _revision(conn) == REVISION:
            return
    with database.write() as conn:
        if not database.is_sqlite:
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        # One process has the write lock; those behind it find the work done.
        if _revision(conn) != REVISION:
            _upgrade(conn)


def _revision(conn: sa.Connection) -> str | None:
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    version: str | None = conn.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def _upgrade(conn: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        if "Can't locate revision" in str(error):
            raise StoreTooNew from error
        raise
