"""Jobs that arrive one by one and share a proof: each ends by itself, whatever others do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.batching.batched_circuit import BatchedBuilder
from circuits.batching.errors import CannotBatch
from circuits.engine.port import ProofResult
from circuits.errors import EngineError
from circuits.format.field import Felts
from circuits.format.profile import Profile, Target, Visibility
from prover.app import App
from prover.batch.coalescing import may_share
from prover.records.job import Job, JobKind, JobOptions, JobState
from prover.settings import Settings
from prover.statement.bundle import read_bundle
from prover.verify.bundle import verify_bundle
from tests.cases.tiny import linear

pytestmark = pytest.mark.slow

VALUES = np.random.default_rng(6).uniform(-1, 1, (4, 1, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Iterator[App]:
    """An application whose circuit of four lanes is ready: four jobs that waited had it made."""
    home = tmp_path_factory.mktemp("coalescing")
    settings = Settings.load(
        home=home, redis_url=None, srs_dir=srs_cache, plan_effort="fast", coalesce_ms=1
    )
    opened = App.open(settings)
    first = ordered(opened, 1)
    opened.run(first[0].id, "test")
    waiting = ordered(opened, 4)
    opened.run(waiting[0].id, "test")
    (build,) = opened.store.jobs(1, kind=JobKind.CIRCUIT).items
    for job in (build, *waiting[1:]):
        opened.run(job.id, "test")
    assert states(opened, [*first, *waiting, build]) == [JobState.SUCCEEDED] * 6
    yield opened
    opened.close()


def ordered(app: App, count: int, profile: Profile | None = None, **more: Any) -> list[Job]:
    record, _ = app.add_model(more.get("onnx") or linear(), "linear")
    return [
        app.request_proof(
            model_id=record.id,
            circuit_id=None,
            payload={"inputs": {"x": values.tolist()}},
            profile=profile or Profile(),
            context=more.get("context"),
            options=JobOptions(isolate=more.get("isolate", False)),
        )
        for values in VALUES[:count]
    ]


def states(app: App, jobs: list[Job]) -> list[JobState]:
    return [app.store.job(job.id).state for job in jobs]


def lanes(app: App, jobs: list[Job]) -> list[int | None]:
    """The lane of each job's proof; None for an unshared proof."""
    results = [app.store.job(job.id).result or {} for job in jobs]
    return [r["lane"]["index"] if "lane" in r else None for r in results]


def failing_when_shared(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    prove = app.engine.prove

    def refuse(files: Any, inputs: list[Felts], *args: Any, **options: Any) -> ProofResult:
        if len(inputs[0]) > VALUES[0].size:
            raise EngineError("the proof engine failed")
        return prove(files, inputs, *args, **options)

    monkeypatch.setattr(app.engine, "prove", refuse)


def test_jobs_that_wait_share_a_proof_and_each_has_its_own_bundle(app: App) -> None:
    jobs = ordered(app, 4, context={"nonce": "mine"})
    app.run(jobs[0].id, "test")
    assert states(app, jobs) == [JobState.SUCCEEDED] * 4
    assert lanes(app, jobs) == [0, 1, 2, 3]
    done = [app.store.job(job.id) for job in jobs]
    assert len({(job.result or {})["proof"] for job in done}) == 1
    for job, values in zip(done, VALUES, strict=True):
        bundle = app.bundle(job)
        report = verify_bundle(bundle, engine=app.engine, inputs={"x": values})
        assert report.ok, report.failures
        assert app.verify(bundle, {"context": {"job_id": job.id, "nonce": "mine"}})["ok"]
        assert set(job.timings) >= {"witness", "prove", "verify"}
    neighbour = verify_bundle(app.bundle(done[0]), engine=app.engine, inputs={"x": VALUES[1]})
    assert not neighbour.ok
    private = app.settings.home / "artifacts" / "private"
    assert [p for p in private.rglob("*") if p.is_file()] == []


@pytest.mark.long
def test_a_private_input_stays_private_in_a_shared_proof(app: App) -> None:
    profile = Profile(visibility=Visibility.PRIVATE_INPUT)
    for _ in range(2):  # the first round builds the circuits
        jobs = ordered(app, 2, profile)
        app.run(jobs[0].id, "test")
        for job in (*app.store.jobs(50, state=JobState.QUEUED).items,):
            app.run(job.id, "test")
    jobs = ordered(app, 2, profile)
    app.run(jobs[0].id, "test")
    assert lanes(app, jobs) == [0, 1]
    assert read_bundle(app.bundle(app.store.job(jobs[1].id))).input is None


@pytest.mark.parametrize(
    ("profile", "more"),
    [
        (Profile(), {"isolate": True}),
        (Profile(), {"context": {"consumer": "0x" + "00" * 20}}),
        (Profile(target=Target.EVM), {}),
        (Profile(visibility=Visibility.HASHED_INPUT), {}),
        (Profile(visibility=Visibility.COMMITTED_INPUT), {}),
    ],
    ids=["isolated", "for-a-contract", "evm", "hashed", "named"],
)
def test_some_jobs_always_have_a_proof_of_their_own(
    app: App, profile: Profile, more: dict[str, Any]
) -> None:
    (job,) = ordered(app, 1, profile, **more)
    assert not may_share(job)
    app.store.request_cancel(job.id)


@pytest.mark.long
def test_a_model_that_cannot_batch_is_reported_once_and_proved_alone(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which models these are, tests/unit/test_vectorize.py says."""

    def refuse(*_: Any) -> None:
        raise CannotBatch("it sums over the batch dimension")

    monkeypatch.setattr(BatchedBuilder, "lane_costs", refuse)
    for round_number in range(2):
        jobs = ordered(app, 2, onnx=linear(scale=0.75))
        app.run(jobs[0].id, "test")
        app.run(jobs[1].id, "test")
        assert states(app, jobs) == [JobState.SUCCEEDED] * 2
        assert lanes(app, jobs) == [None] * 2
        orders = [j for j in app.store.jobs(50, kind=JobKind.CIRCUIT).items if "lanes" in j.request]
        own = [j for j in orders if j.model_id == jobs[0].model_id]
        assert len(own) <= 1
        for order in own:
            app.run(order.id, "test")
            problem = app.store.job(order.id).problem or {}
            assert problem["code"] == "model_cannot_batch"
            assert "sums over the batch dimension" in problem["detail"]
        assert round_number == 0 or own


def test_jobs_of_a_pack_that_failed_are_proved_alone(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_when_shared(app, monkeypatch)
    heard: list[str] = []
    monkeypatch.setattr(app, "announce", heard.extend)
    jobs = ordered(app, 3)
    app.run(jobs[0].id, "test")
    assert states(app, jobs) == [JobState.SUCCEEDED, JobState.QUEUED, JobState.QUEUED]
    assert heard == [job.id for job in jobs[1:]]
    monkeypatch.undo()  # also where sharing would work now
    for job in jobs[1:]:
        app.run(job.id, "test")
    assert states(app, jobs) == [JobState.SUCCEEDED] * 3
    assert lanes(app, jobs) == [None] * 3


def test_jobs_of_a_killed_worker_are_proved_alone(app: App) -> None:
    jobs = ordered(app, 3)
    for job in jobs[:2]:
        assert app.store.claim(job.id, "killed", 0.0) is not None  # its lease has run out
    app.run(jobs[2].id, "test")
    app.run(jobs[0].id, "test")
    app.run(jobs[1].id, "test")
    assert states(app, jobs) == [JobState.SUCCEEDED] * 3
    assert lanes(app, jobs) == [None] * 3


def test_a_canceled_member_ends_at_once_and_the_others_continue(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = ordered(app, 3)
    prove = app.engine.prove
    seen: list[JobState] = []

    def canceling(*args: Any, should_stop: Any, **options: Any) -> ProofResult:
        app.request_cancel(jobs[1].id)
        for _ in range(200):
            assert not should_stop()
            if app.store.job(jobs[1].id).state.terminal:
                break
            threading.Event().wait(0.02)
        seen.append(app.store.job(jobs[1].id).state)
        return prove(*args, **(options | {"should_stop": should_stop}))

    monkeypatch.setattr(app.engine, "prove", canceling)
    app.run(jobs[0].id, "test")
    assert seen == [JobState.CANCELED]
    assert states(app, jobs) == [JobState.SUCCEEDED, JobState.CANCELED, JobState.SUCCEEDED]
    assert app.store.job(jobs[1].id).result is None


def test_a_worker_that_stops_gives_every_job_back(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = ordered(app, 3)
    stopping = threading.Event()
    prove = app.engine.prove

    def interrupted(*args: Any, **options: Any) -> ProofResult:
        stopping.set()
        return prove(*args, **options)

    monkeypatch.setattr(app.engine, "prove", interrupted)
    app.run(jobs[0].id, "test", stopping.is_set)
    assert states(app, jobs) == [JobState.QUEUED] * 3
    for job in jobs:
        app.store.request_cancel(job.id)
