"""A backup as docs/operations.md says it, put back onto an empty machine."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from circuits.format.profile import Profile
from prover.app import App
from prover.records.job import Job, JobState
from prover.settings import Settings
from tests.cases import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def opened(home: Path, srs: Path) -> App:
    return App.open(Settings.load(home=home, srs_dir=srs, plan_effort="fast"))


def ordered(app: App, nonce: str) -> Job:
    model, _ = app.add_model(tiny.linear(), "model")
    return app.request_proof(
        model_id=model.id,
        circuit_id=None,
        payload={"inputs": {"x": [[1.0, -1.0, 2.0, 0.0]]}},
        profile=Profile(),
        context={"nonce": nonce},
    )


@pytest.mark.long
def test_receipts_verify_after_a_restore_and_waiting_jobs_continue(
    tmp_path: Path, srs_cache: Path
) -> None:
    app = opened(tmp_path / "home", srs_cache)
    done = ordered(app, "first")
    app.run(done.id, "worker")
    waiting = ordered(app, "second")

    backup = tmp_path / "backup"
    backup.mkdir()
    with sqlite3.connect(tmp_path / "home" / "zkml.db") as live:
        copy = sqlite3.connect(backup / "zkml.db")
        live.backup(copy)
        copy.close()
    for folder in ("artifacts", "keys"):
        shutil.copytree(tmp_path / "home" / folder, backup / folder)
    app.close()
    shutil.rmtree(tmp_path / "home")

    restored = opened(backup, srs_cache)
    job = restored.store.job(done.id)
    assert job.state is JobState.SUCCEEDED
    trusted = {"context": {"nonce": "first"}}
    assert restored.verify(restored.bundle(job), trusted)["ok"]
    restored.run(waiting.id, "worker")
    assert restored.store.job(waiting.id).state is JobState.SUCCEEDED
    restored.close()
