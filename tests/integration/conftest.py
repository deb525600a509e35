"""A job store on SQLite and on PostgreSQL; an application; circuits with committed hints; a disk
that is soon full."""

from __future__ import annotations

import functools
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from benchmarks.servers.postgres import postgres
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles
from circuits.engine.table_end import Commit
from prover.store import Store
from prover.testing import ManualClock, model_record
from tests.cases.jobs import lay_out

if TYPE_CHECKING:
    from prover.app import App
    from tests.cases.committed import Circuits, Committed


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A separate database for each test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'zkml.db'}"
        return
    schema = f"test_{secrets.token_hex(6)}"
    base = sa.make_url(request.getfixturevalue("server")).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(base)
    with admin.begin() as conn:
        conn.exec_driver_sql(f"CREATE SCHEMA {schema}")
    mine = base.update_query_dict({"options": f"-csearch_path={schema}"})
    yield mine.render_as_string(hide_password=False)
    with admin.begin() as conn:
        conn.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    admin.dispose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(url: str, clock: ManualClock) -> Iterator[Store]:
    lay_out(url)
    with Store.open(url, max_attempts=2, clock=clock) as opened:
        opened.add_model(model_record())
        yield opened


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Iterator[App]:
    """One application for all jobs that need none of their own: it builds each circuit once."""
    from tests.cases.pipeline import open_app

    opened = open_app(tmp_path_factory.mktemp("pipeline"), srs_cache)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def circuit(
    engine: EzklEngine, srs_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Circuits:
    """``committed`` with the engine and a folder: each circuit is built once."""
    from tests.cases.committed import committed

    @functools.cache
    def made(*asked: Any, **more: Any) -> Committed:
        folder = tmp_path_factory.mktemp("committed")
        return committed(engine, srs_cache, folder, *asked, **more)

    return made


@pytest.fixture
def commit() -> Callable[[CircuitFiles], Commit]:
    """By a circuit's files, what the engine commits to a column as, in a process of its own."""

    def of(files: CircuitFiles) -> Commit:
        script = (
            "import ezkl, json, sys\n"
            f"paths = {[str(p) for p in (files.vk, files.settings, files.srs)]!r}\n"
            "point = ezkl.kzg_commit(json.load(sys.stdin), *paths)[0]\n"
            "print(json.dumps([point.x, point.y]))\n"
        )

        def commit(column: list[str]) -> tuple[int, int]:
            done = subprocess.run(
                [sys.executable, "-c", script],
                input=json.dumps(column),
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            )
            x, y = json.loads(done.stdout.splitlines()[-1])
            return int.from_bytes(bytes.fromhex(x), "little"), int.from_bytes(
                bytes.fromhex(y), "little"
            )

        return commit

    return of


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
