"""The database itself: migrations, files that are none, what a killed process had committed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from prover.errors import (
    SettingsInvalid,
    StoreTooNew,
    StoreUnavailable,
)
from prover.store import Store
from prover.store.migrate import MIGRATIONS
from prover.store.schema import REVISION, metadata
from prover.testing import model_record


def test_the_migrations_give_the_tables_that_the_code_uses(url: str) -> None:
    Store.open(url).close()
    engine = sa.create_engine(url)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION
    engine.dispose()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_what_was_there_before_tenants_belongs_to_the_default_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'zkml.db'}"
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    row = "'2026-01-01 00:00:00.000000'"
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0003")
        for statement in (
            f"INSERT INTO models VALUES ('m', 'old', 1, '{{}}', '{{}}', {row})",
            f"INSERT INTO circuits VALUES ('c', 'm', '{{}}', '{{}}', {row})",
            "INSERT INTO jobs (id, kind, state, model_id, circuit_id, request, progress, attempt,"
            " cancel_requested, created_at, timings, lease_token, lost, last_seq, sent_at)"
            f" VALUES ('j', 'proof', 'queued', 'm', 'c', '{{}}', 0, 0, 0, {row}, '{{}}', 0, 0, 1,"
            f" {row})",
            f"INSERT INTO events VALUES ('j', 1, {row}, 'state', '{{}}')",
            "INSERT INTO batches (id, model_id, state, request, job_id, created_at)"
            f" VALUES ('b', 'm', 'running', '{{}}', 'j', {row})",
        ):
            conn.exec_driver_sql(statement)
    engine.dispose()

    with Store.open(url) as store:
        assert (store.model("m").name, store.circuit("c").id) == ("old", "c")
        assert (store.job("j").tenant, store.batch("b").tenant) == ("default", "default")
        assert len(store.events("j")) == 1
        assert store.every_tenant().runnable() == ["j"]
        other = store.for_tenant("other")
        found = (other.models().items, other.circuits().items, other.batches().items)
        assert found == ([], [], [])
        assert (other.jobs().items, other.events("j"), other.runnable()) == ([], [], [])


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    Store.open(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()

    with pytest.raises(StoreTooNew):
        Store.open(url)


def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look at " * 10)
    before = path.read_bytes()

    with pytest.raises(StoreUnavailable):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("url", ["sqlite://", "mysql://host/db", "no url at all"], indirect=False)
def test_a_database_that_is_not_supported_is_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="ZKML_DATABASE_URL"):
        Store.open(url)


@pytest.mark.slow
def test_what_was_committed_survives_the_death_of_its_process(tmp_path: Path) -> None:
    path = tmp_path / "zkml.db"
    program = (
        "import os, signal, sys\n"
        "from prover.store import Store\n"
        "from prover.testing import model_record\n"
        "store = Store.open(sys.argv[1])\n"
        "store.add_model(model_record())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, f"sqlite:///{path}"], check=False)

    with Store.open(f"sqlite:///{path}") as store:
        assert store.model(model_record().id) == model_record()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
