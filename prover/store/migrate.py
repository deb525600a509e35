"""Migrates a database to the newest schema, from any state, safely with several processes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from prover.errors import StoreTooNew
from prover.settings import Settings
from prover.store.database import Database
from prover.store.schema import REVISION

MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK = 0x7A6B_6D6C  # an arbitrary constant


def bring_up_to_date(database: Database) -> None:
    """Runs missing migrations. For a current database this is one query.

    Raises ``StoreTooNew`` when a newer version of this program wrote it.
    """
    with database.read() as conn:
        if _revision(conn) == REVISION:
            return
    with database.write() as conn:
        if not database.is_sqlite:
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        # One process has the write lock; the others then find nothing to do.
        if _revision(conn) != REVISION:
            _upgrade(conn)


def step_back(url: str) -> str | None:
    """Reverts the newest migration, so that the previous version can be started again; returns the
    resulting revision. Loses the data that only the newer schema has."""
    database = Database.connect(url)
    try:
        with database.write() as conn:
            if _revision(conn) != REVISION:
                raise StoreTooNew(
                    f"The database is at revision {_revision(conn)}, not {REVISION}.",
                    advice="Use the version of zkml-prover that wrote it.",
                )
            _alembic(conn, lambda alembic, config: alembic.downgrade(config, "-1"))
            return _revision(conn)
    finally:
        database.close()


def _revision(conn: sa.Connection) -> str | None:
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    version: str | None = conn.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def _upgrade(conn: sa.Connection) -> None:
    _alembic(conn, lambda alembic, config: alembic.upgrade(config, "head"))


def _alembic(conn: sa.Connection, run: Callable[[Any, Any], None]) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    try:
        run(command, config)
    except CommandError as error:
        if "Can't locate revision" in str(error):
            raise StoreTooNew from error
        raise


if __name__ == "__main__":  # python -m prover.store.migrate back
    if sys.argv[1:] != ["back"]:
        sys.exit("usage: python -m prover.store.migrate back")
    print(step_back(Settings.load().database_url))
