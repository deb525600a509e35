"""Jobs that end badly, or nearly: limits, killed children, dead workers, waits for builds."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits, ProofResult
from circuits.errors import EngineKilled, EngineTimeout
from prover.app import App
from prover.jobs.build_turn import one_build_at_a_time
from prover.records.job import JobState
from tests.cases import tiny
from tests.cases.pipeline import (
    INPUT,
    OUTPUT,
    inputs_kept,
    open_app,
    ordered,
    outputs,
    proved,
)

pytestmark = pytest.mark.slow


def test_a_circuit_for_large_numbers_does_not_serve_small_ones(app: App) -> None:
    model = tiny.linear(scale=3.0)
    large = proved(app, model, {"x": [[4000.0, 0.0, 0.0, 0.0]]})
    small = proved(app, model, {"x": [[0.5, 0.25, 0.0, 0.0]]})
    outputs(large)
    got = np.array(outputs(small)["y"])
    assert np.abs(got - [[1.625, 0.0, 0.5]]).max() < 0.1
    assert small.circuit_id != large.circuit_id


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"engine_memory_mb": 64}, "engine_out_of_memory"),
        ({"engine_deadline_s": 0.001}, "engine_timeout"),
    ],
)
def test_an_engine_without_room_or_time_fails_the_job_by_name(
    app: App, srs_cache: Path, settings: dict[str, Any], code: str
) -> None:
    outputs(proved(app, tiny.linear(), INPUT))
    poor = open_app(app.settings.home, srs_cache, **settings)
    try:
        failed = proved(poor, tiny.linear(), INPUT)
        assert failed.state is JobState.FAILED
        assert failed.problem is not None
        assert failed.problem["code"] == code
        assert failed.problem["advice"]
        assert inputs_kept(poor) == []
    finally:
        poor.close()
    outputs(proved(app, tiny.linear(), INPUT))


def killed_verifications(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Kills the next verifying children as the kernel would; returns the calls so far."""
    calls: list[int] = []
    verify = EzklEngine.verify

    def dying(self: EzklEngine, *args: Any) -> bool:
        calls.append(1)
        if len(calls) <= times:
            raise EngineKilled
        return verify(self, *args)

    monkeypatch.setattr(EzklEngine, "verify", dying)
    return calls


def test_a_verification_whose_child_is_killed_is_made_again(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved(app, tiny.linear(), INPUT)  # a build verifies too
    calls = killed_verifications(monkeypatch, 2)
    job = proved(app, tiny.linear(), INPUT)
    assert outputs(job)["y"] == OUTPUT
    assert (len(calls), job.attempt) == (3, 1)


def test_a_verification_that_could_not_run_is_no_refusal(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved(app, tiny.linear(), INPUT)
    killed_verifications(monkeypatch, 3)
    job = proved(app, tiny.linear(), INPUT)
    assert (job.state, job.attempt) == (JobState.QUEUED, 1)
    assert job.not_before is not None
    assert len(inputs_kept(app)) == 1

    while app.store.job(job.id).state is JobState.QUEUED:
        app.run(job.id, "test")
    assert outputs(app.store.job(job.id))["y"] == OUTPUT
    assert inputs_kept(app) == []


@pytest.mark.parametrize("short", [{"deadline_s": 0.001}, {"memory_bytes": 1 << 20}])
def test_a_verification_that_exceeds_its_limits_is_made_again(
    app: App, monkeypatch: pytest.MonkeyPatch, short: dict[str, Any]
) -> None:
    """A real child, ended by its limit: that says nothing about the proof, which is kept."""
    proved(app, tiny.linear(), INPUT)
    verify, proofs = EzklEngine.verify, counted_proofs(monkeypatch)

    def limited(
        self: EzklEngine, proof: bytes, settings: bytes, vk: bytes, srs: bytes, limits: Limits
    ) -> bool:
        return verify(self, proof, settings, vk, srs, replace(limits, **short))

    with monkeypatch.context() as poor:
        poor.setattr(EzklEngine, "verify", limited)
        job = proved(app, tiny.linear(), INPUT)
    assert job.state is JobState.QUEUED
    problem = app.store.events(job.id)[-1].data["problem"]
    assert (problem["code"], problem["retryable"]) == ("verification_unfinished", True)

    while app.store.job(job.id).state is JobState.QUEUED:
        app.run(job.id, "test")
    assert outputs(app.store.job(job.id))["y"] == OUTPUT
    assert len(proofs) == 1


def counted_proofs(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The proofs that the engine makes from now on."""
    proofs: list[bytes] = []
    prove = EzklEngine.prove

    def counted(self: EzklEngine, *args: Any, **options: Any) -> ProofResult:
        proof = prove(self, *args, **options)
        proofs.append(proof.proof_json)
        return proof

    monkeypatch.setattr(EzklEngine, "prove", counted)
    return proofs


def test_a_proof_whose_worker_died_before_it_was_signed_is_not_made_twice(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt  # as near to a killed worker as a thread comes

    proved(app, tiny.linear(), INPUT)
    proofs = counted_proofs(monkeypatch)
    job = ordered(app, tiny.linear(), INPUT)
    with monkeypatch.context() as death:
        death.setattr("prover.jobs.pipeline.check_statement", dies)
        with pytest.raises(KeyboardInterrupt):
            app.run(job.id, "first")
    assert app.store.job(job.id).state is JobState.RUNNING

    stale = app.store._now
    monkeypatch.setattr(app.store, "_now", lambda: stale() + timedelta(minutes=5))
    app.run(job.id, "second")
    done = app.store.job(job.id)
    assert outputs(done)["y"] == OUTPUT
    assert (done.attempt, len(proofs)) == (2, 1)
    assert app.proof(done) == proofs[0]
    assert app.verify(app.bundle(done), None)["ok"]


def test_what_would_repeat_is_not_tried_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any, **__: Any) -> None:
        raise EngineTimeout

    monkeypatch.setattr(EzklEngine, "prove", slow)
    job = proved(app, tiny.linear(), INPUT)
    assert (job.state, job.attempt) == (JobState.FAILED, 1)


def test_a_job_that_waits_for_anothers_build_can_be_canceled(app: App, srs_cache: Path) -> None:
    """Two workers on one machine: the second waits, and need not."""
    model = tiny.linear(scale=0.125)
    first, second = ordered(app, model, INPUT), ordered(app, model, INPUT)
    assert len(inputs_kept(app)) == 2
    waiting = threading.Thread(target=app.run, args=(second.id, "other"))
    order = second.request["circuit"]["id"]
    assert order == first.request["circuit"]["id"]
    with one_build_at_a_time(app.settings.home, order, None):
        waiting.start()
        app.request_cancel(second.id)
        waiting.join(timeout=300)
        assert not waiting.is_alive()
    assert app.store.job(second.id).state is JobState.CANCELED
    app.run(first.id, "test")
    assert outputs(app.store.job(first.id))["y"] is not None
    assert inputs_kept(app) == []
