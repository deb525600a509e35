"""Workers of the schema before work beside new ones, on one database, until the last has been
replaced. The old program is taken from this repository's history."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from benchmarks.servers.postgres import postgres
from circuits.format.profile import Profile
from prover.app import App
from prover.host.redis_server import RedisServer
from prover.records.job import Job, JobState
from prover.settings import Settings
from prover.store.migrate import MIGRATIONS
from prover.store.schema import REVISION
from tests.acceptance.processes import ROOT, environment, until
from tests.cases import tiny

pytestmark = [pytest.mark.slow, pytest.mark.long]

#: The last commit whose schema is the one before ``REVISION``, and that schema.
BEFORE, SCHEMA = "cc8a6148afeb6d69bb9de6f66a7e029ea4613f11", "0013"


@pytest.fixture
def old_tree(tmp_path: Path) -> Path:
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", BEFORE], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip("the old program is in this repository's history, which is not here")
    tree = tmp_path / "old"
    tree.mkdir()
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    return tree


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'zkml.db'}"
        return
    with postgres() as server:
        yield server


def raw(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def lay_out(url: str, schema: str) -> None:
    """The tables as they were then."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = raw(url)
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, schema)
    engine.dispose()


def test_old_and_new_workers_share_the_work(
    old_tree: Path, url: str, tmp_path: Path, srs_cache: Path
) -> None:
    lay_out(url, SCHEMA)
    settings: dict[str, Any] = {
        "database_url": url,
        "srs_dir": str(srs_cache),
        "lease_s": 5.0,
        "sweep_s": 0.3,
        # A stopping worker hands its job over. The old program could fail one that it finished.
        "stop_grace_s": 0,
    }
    home, workers = tmp_path / "home", dict[int, str]()

    with RedisServer.start(tmp_path / "redis") as redis:
        settings["redis_url"] = redis.url
        env = environment(home) | {f"ZKML_{n.upper()}": str(v) for n, v in settings.items()}

        def logged(version: str) -> str:
            return (tmp_path / f"{version}.log").read_text()

        def start(version: str, tree: Path) -> subprocess.Popen[bytes]:
            with (tmp_path / f"{version}.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "workers"],
                    env=env | {"PYTHONPATH": str(tree)},
                    cwd=tree,
                    stdout=log,
                    stderr=log,
                )
            workers[process.pid] = version
            return process

        old = start("old", old_tree)
        until(lambda: runs(old, tmp_path / "old.log") and "worker_ready" in logged("old"))
        app = App.open(Settings.load(home=home, plan_effort="fast", **settings))
        engine = raw(url)
        with engine.connect() as conn:
            assert conn.exec_driver_sql("SELECT * FROM alembic_version").scalar() == REVISION
        model, _ = app.add_model(tiny.linear(), "model")
        new = start("new", ROOT)
        try:
            ordered = [order(app, model.id) for _ in range(4)]
            seen, give_up = set[str](), time.monotonic() + 600
            while seen != {"old", "new"}:
                assert time.monotonic() < give_up, seen
                with engine.connect() as conn:
                    owners = conn.exec_driver_sql(
                        "SELECT lease_owner FROM jobs WHERE state = 'running'"
                    ).scalars()
                    seen |= {workers[int(owner.split(":")[1])] for owner in owners if owner}
                if app.store.count_jobs()[JobState.QUEUED] < 2:
                    ordered.append(order(app, model.id))
                time.sleep(0.02)
            refused = start("refused", old_tree)
            assert refused.wait(300) == 3
            assert "newer version" in logged("refused")
            old.send_signal(signal.SIGTERM)
            assert old.wait(300) == 0
            ordered.append(order(app, model.id))
            until(lambda: runs(new, tmp_path / "new.log") and have_succeeded(app, ordered))
        finally:
            for process in (old, new):
                process.terminate()
                process.wait(60)
        for job in ordered:
            assert app.verify(app.bundle(app.store.job(job.id)), None)["ok"]
        assert len(app.store.usage([])) == 1
        assert app.store.usage([])[0].proofs == len(ordered)
        engine.dispose()
        app.close()


def runs(worker: subprocess.Popen[bytes], log: Path) -> bool:
    assert worker.poll() is None, log.read_text()[-2000:]
    return True


def have_succeeded(app: App, ordered: list[Job]) -> bool:
    jobs = [app.store.job(job.id) for job in ordered]
    assert all(job.problem is None for job in jobs), [job.problem for job in jobs]
    return all(job.state is JobState.SUCCEEDED for job in jobs)


def order(app: App, model: str) -> Job:
    return app.request_proof(
        model_id=model,
        circuit_id=None,
        payload={"inputs": {"x": [[1.0, -1.0, 2.0, 0.0]]}},
        profile=Profile(),
        context=None,
    )
