"""What is removed and what stays: results by age, copies by use, what the dead left."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from circuits.format.digests import sha256
from circuits.format.profile import Profile
from prover.app import App
from prover.artifacts import Artifacts
from prover.errors import ArtifactsUnavailable, ResultRemoved
from prover.jobs.housekeeping import keep_house
from prover.records.batch import BatchState, Item, ItemState
from prover.records.job import JobKind, JobState, UploadPart
from prover.settings import Settings
from prover.store import Store
from prover.testing import ManualClock, model_record
from tests.cases import tiny

KB = 1000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def remote(tmp_path: Path, budget: int) -> Artifacts:
    return Artifacts.open("memory://", tmp_path / "cache", budget)


def copies(tmp_path: Path) -> set[int]:
    """Sizes of the copies, which here tell them apart."""
    return {path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()}


def used(artifacts: Artifacts, size: int, ago_s: float) -> Path:
    path = artifacts.local_path(artifacts.put(b"x" * size))
    at = time.time() - ago_s
    os.utime(path, (at, at))
    return path


# --- copies of a remote store ----------------------------------------------------------------


def test_the_copies_used_longest_ago_go_first(tmp_path: Path) -> None:
    artifacts = remote(tmp_path, 10 * KB)
    for size, ago_s in ((4 * KB, 30.0), (3 * KB, 10.0), (2 * KB, 20.0)):
        used(artifacts, size, ago_s)
    assert artifacts.trim_cache() == 0
    job = artifacts.counted()
    job.local_path(job.put(b"y" * 6 * KB))  # another job, which uses what makes it too much
    assert copies(tmp_path) == {6 * KB, 3 * KB}
    job.release()


def test_what_a_job_uses_is_not_evicted_by_any_process(tmp_path: Path) -> None:
    artifacts = remote(tmp_path, 1)
    job = artifacts.counted()
    held = job.local_path(job.put(b"x" * 4 * KB))
    other = used(artifacts, 2 * KB, 0)

    command = "import sys; from pathlib import Path; from prover.artifact_cache import trim;"
    command += " print(trim(Path(sys.argv[1]), 1))"
    arguments = [sys.executable, "-c", command, str(tmp_path / "cache")]
    freed = subprocess.run(arguments, capture_output=True, check=True, text=True).stdout
    assert int(freed) == 2 * KB
    assert (held.exists(), other.exists()) == (True, False)
    job.release()
    assert artifacts.trim_cache() == 4 * KB
    again = job.local_path(sha256(b"x" * 4 * KB))
    assert again.read_bytes() == b"x" * 4 * KB


def test_a_copy_that_goes_while_it_is_taken_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = remote(tmp_path, 0).counted()
    digest = job.put(b"x" * KB)
    checked, evictions = job._checked, [1, 1]

    def evicted(asked: str) -> Path:
        path = checked(asked)
        if evictions:
            evictions.pop()
            path.unlink()
        return path

    monkeypatch.setattr(job, "_checked", evicted)
    assert job.local_path(digest).read_bytes() == b"x" * KB


def test_half_written_files_of_the_dead_go(tmp_path: Path) -> None:
    directory = Artifacts.open((tmp_path / "store").as_uri(), tmp_path / "unused")
    for artifacts, root in ((remote(tmp_path, 0), "cache"), (directory, "store")):
        whole = used(artifacts, 1, 10_000)
        os.utime(whole, (0, 0))
        for name in ("#new", "#old", ".old.part"):
            (whole.parent / f"{whole.name}{name}").touch()
        for name in ("#old", ".old.part"):
            os.utime(whole.parent / f"{whole.name}{name}", (0, 0))
        artifacts.trim_cache()
        left = {path.name for path in (tmp_path / root / "sha256").glob("*/*")}
        assert left == {whole.name, f"{whole.name}#new"}


# --- results, inputs, folders ----------------------------------------------------------------


@pytest.mark.slow
def test_old_proofs_go_and_their_receipts_stay(
    tmp_path: Path, srs_cache: Path, clock: ManualClock
) -> None:
    settings = Settings(home=tmp_path, srs_dir=srs_cache, plan_effort="fast", keep_proofs_days=7)
    app = App.open(settings)
    model, _ = app.add_model(tiny.linear(), "model")

    def proved() -> str:
        job = app.request_proof(
            model_id=model.id,
            circuit_id=None,
            payload={"inputs": {"x": [[1.0, -1.0, 2.0, 0.0]]}},
            profile=Profile(),
            context={"nonce": "n"},
        )
        app.run(job.id, "w")
        assert app.store.job(job.id).state is JobState.SUCCEEDED
        return job.id

    first = proved()
    job = app.store.job(first)
    before, receipt = app.store.used("default").stored_bytes, app.receipt(job)
    gone = len(app.bundle(job)) + len(app.proof(job))
    assert keep_house(settings, app.store.every_tenant(), app.artifacts).results == 0

    later = ManualClock()
    assert job.finished_at is not None
    later.now = job.finished_at + timedelta(days=7, seconds=1)
    with Store.open(settings.database_url, clock=later) as store:
        every = store.every_tenant()
        assert keep_house(settings, every, app.artifacts).results == 1
        assert not keep_house(settings, every, app.artifacts)
    removed = app.store.job(first)
    assert app.receipt(removed) == receipt
    for ask in (app.bundle, app.proof):
        with pytest.raises(ResultRemoved):
            ask(removed)
    assert app.store.used("default").stored_bytes == before - gone
    second = app.store.job(proved())  # what circuits need is still there
    assert app.verify(app.bundle(second), None)["ok"]
    app.close()


def test_inputs_go_that_no_row_needs(tmp_path: Path) -> None:
    """Of jobs that have ended at once; those that no row names after a day."""
    settings = Settings(home=tmp_path)
    artifacts = Artifacts.open(settings.artifacts_url, settings.cache_dir)
    waits, ended, part, unnamed, new = (artifacts.new_private_key() for _ in range(5))
    for key in (waits, ended, part, unnamed, new):
        artifacts.put_private(key, b"input")
    for key in (waits, part, unnamed):
        os.utime(tmp_path / "artifacts" / "private" / key, (0, 0))
    with Store.open(settings.database_url) as store:
        store.add_model(model_record())
        store.create_job(JobKind.PROOF, model_record().id, "c", {}, waits)
        over = store.create_job(JobKind.PROOF, model_record().id, "c", {}, ended)
        store.request_cancel(over.id)
        store.open_upload("sha256:" + "0" * 64, 10)
        store.add_part("sha256:" + "0" * 64, UploadPart(start=0, size=5, key=part))

        assert keep_house(settings, store.every_tenant(), artifacts).inputs == 2
    assert {key for key, _ in artifacts.private_keys()} == {waits, part, new}


def test_inputs_that_a_store_would_not_delete_go_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job and a batch end while the artifact store is away; their ends wait for nothing."""
    app = App.open(Settings(home=tmp_path))
    store, artifacts = app.store, app.artifacts
    store.add_model(model_record())
    job_key, chunk_key = (artifacts.new_private_key() for _ in range(2))
    for key in (job_key, chunk_key):
        artifacts.put_private(key, b"input")
    job = store.create_job(JobKind.PROOF, model_record().id, "c", {}, job_key)
    store.create_batch("b", model_record().id, {}, None)
    item = Item(batch_id="b", number=1, id=None, line=1, state=ItemState.QUEUED, chunk=0, place=0)
    store.add_items("b", [item], 0, chunk_key)
    store.start_batch("b", "c", {})

    def away(*_: object) -> None:
        raise ArtifactsUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(Artifacts, "delete_private", away)
        assert app.request_cancel(job.id).state is JobState.CANCELED
        assert app.batches.cancel("b").state is BatchState.CANCELED
    assert {key for key, _ in artifacts.private_keys()} == {job_key, chunk_key}

    app.keep_house()
    assert list(artifacts.private_keys()) == []
    assert store.chunk_keys("b") == {}
    app.close()


@pytest.mark.parametrize("state", [JobState.CANCELED, JobState.FAILED])
def test_a_batch_whose_plan_ended_without_it_ends_too(tmp_path: Path, state: JobState) -> None:
    """The process that ended the planning job died before it ended the batch."""
    app = App.open(Settings(home=tmp_path))
    app.store.add_model(model_record())
    app.store.create_batch("b", model_record().id, {}, None)
    item = Item(batch_id="b", number=1, id=None, line=1, state=ItemState.QUEUED)
    app.store.add_items("b", [item], None, None)
    job = app.store.start_batch("b", "c", {})
    if state is JobState.CANCELED:
        app.store.request_cancel(job.id)
    else:
        lease = app.store.claim(job.id, "w", 30)
        assert lease is not None
        app.store.fail(lease, ArtifactsUnavailable().problem())
    assert app.store.batch("b").state is BatchState.QUEUED

    app.keep_house()
    batch = app.store.batch("b")
    assert batch.state.value == state.value
    assert app.store.item("b", 1).state.value == state.value
    app.close()


def test_folders_of_builds_go_with_the_process_that_built(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    artifacts = Artifacts.open(settings.artifacts_url, settings.cache_dir)
    for name in ("dead", "alive"):
        (tmp_path / "tmp" / f"build-{name}").mkdir(parents=True)
        (tmp_path / "tmp" / f"build-{name}" / "pk.key").touch()
    with (
        (tmp_path / "tmp" / "build-alive.lock").open("w") as lock,
        Store.open(settings.database_url) as store,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert keep_house(settings, store.every_tenant(), artifacts).folders == 1
    assert [path.name for path in (tmp_path / "tmp").glob("build-*/*")] == ["pk.key"]
    assert (tmp_path / "tmp" / "build-alive").is_dir()
