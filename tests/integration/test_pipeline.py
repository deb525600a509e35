"""Jobs from order to bundle in one process, with real proofs: profiles, odd models, bad ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits, ProofResult
from circuits.errors import EngineKilled, EngineTimeout, ProfileContradiction
from circuits.format.commitments import Weights
from circuits.format.profile import Argument, Profile, Soundness, Visibility
from prover.app import App
from prover.app.requests import NO_OPTIONS
from prover.jobs.build_turn import one_build_at_a_time
from prover.records.job import Job, JobOptions, JobState, ModelVisibility
from prover.records.usage import Grouping
from prover.settings import Settings
from prover.statement.bundle import read_bundle
from prover.statement.envelope import Receipt
from prover.statement.ownership import OwnerSignature, Scheme, model_manifest
from tests.cases import tiny

pytestmark = pytest.mark.slow

INPUT = {"x": [[1.0, -1.0, 2.0, 0.0]]}
OUTPUT = [[0.0, 0.25, 2.25]]
W = np.array([[0.5, -1.0], [1.0, 0.25]], dtype=np.float32)
FLOAT, DOUBLE, HALF = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
node = helper.make_node


def open_app(home: Path, srs: Path, **settings: Any) -> App:
    return App.open(Settings.load(home=home, srs_dir=srs, plan_effort="fast", **settings))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Iterator[App]:
    opened = open_app(tmp_path_factory.mktemp("pipeline"), srs_cache)
    yield opened
    opened.close()


def ordered(
    app: App,
    model: bytes,
    inputs: dict[str, Any],
    profile: Profile | None = None,
    context: dict[str, Any] | None = None,
    options: JobOptions = NO_OPTIONS,
) -> Job:
    record, _ = app.add_model(model, "model")
    return app.request_proof(
        model_id=record.id,
        circuit_id=None,
        payload={"inputs": inputs},
        profile=profile or Profile(),
        context=context,
        options=options,
    )


def proved(app: App, model: bytes, inputs: dict[str, Any], **order: Any) -> Job:
    job = ordered(app, model, inputs, **order)
    app.run(job.id, "test")
    return app.store.job(job.id)


def outputs(job: Job) -> dict[str, Any]:
    assert job.state is JobState.SUCCEEDED, job.problem
    assert job.result is not None
    found: dict[str, Any] = job.result["outputs"]
    return found


def inputs_kept(app: App) -> list[Path]:
    folder = app.settings.home / "artifacts"
    return [p for p in folder.rglob("*") if p.is_file() and "private" in str(p.relative_to(folder))]


# --- profiles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("visibility", [v for v in Visibility if v.shows_weights])
def test_each_visibility_proves_verifies_and_shows_only_what_it_should(
    app: App, visibility: Visibility
) -> None:
    job = proved(
        app,
        tiny.linear(),
        INPUT,
        profile=Profile(visibility=visibility),
        context={"nonce": "mine"},
    )
    assert outputs(job)["y"] == OUTPUT
    bundle = app.bundle(job)
    report = app.verify(bundle, {"context": {"nonce": "mine"}})
    assert report["ok"]
    assert not app.verify(bundle, {"context": {"nonce": "another's"}})["ok"]
    if not visibility.shows_input:
        assert "[1.0, -1.0, 2.0, 0.0]" not in json.dumps(report)
    assert inputs_kept(app) == []


@pytest.mark.parametrize("weights", [Weights.SHOWN, Weights.PRIVATE])
def test_a_retrained_model_whose_weights_are_no_constants_needs_no_set_up(
    app: App, monkeypatch: pytest.MonkeyPatch, weights: Weights
) -> None:
    """One key serves an architecture. (All else of a set-up is found by the graph's digest.)"""
    profile = Profile(
        visibility=Visibility.PRIVATE_INPUT, argument=Argument.COMMITTED, weights=weights
    )
    first = proved(app, tiny.linear(), INPUT, profile=profile)
    np.testing.assert_allclose(outputs(first)["y"], OUTPUT, atol=0.05)
    monkeypatch.setattr(EzklEngine, "setup", None)
    retrained = proved(app, tiny.linear(scale=0.9), INPUT, profile=profile)
    np.testing.assert_allclose(outputs(retrained)["y"], 0.9 * np.array(OUTPUT), atol=0.3)
    bundles = [read_bundle(app.bundle(job)) for job in (first, retrained)]
    assert bundles[0].vk == bundles[1].vk
    assert bundles[0].settings == bundles[1].settings
    assert (bundles[0].weights != bundles[1].weights) == (weights is Weights.SHOWN)
    assert (bundles[0].identity != bundles[1].identity) == (weights is Weights.PRIVATE)
    for job in (first, retrained):
        report = app.verify(app.bundle(job), None)
        assert report["ok"]
        passed = {check["name"] for check in report["checks"] if check["status"] == "pass"}
        assert passed & {"weights", "identity"} == {
            "weights" if weights is Weights.SHOWN else "identity"
        }


def test_receipts_of_several_models_name_one_input(app: App) -> None:
    """Under the salt of its owner; without it each proof has a new one."""
    profile = Profile(visibility=Visibility.COMMITTED_INPUT, input_scale=6)
    options = JobOptions(input_salt="5a" * 32)
    models = tiny.linear(), tiny.linear(scale=0.9)
    jobs = [proved(app, m, INPUT, profile=profile, options=options) for m in models]
    jobs.append(proved(app, models[0], INPUT, profile=profile))
    np.testing.assert_allclose(outputs(jobs[0])["y"], OUTPUT, atol=0.05)
    results = [job.result or {} for job in jobs]
    names = [result["input_identity"] for result in results]
    assert names[0] == names[1] != names[2]
    assert results[0]["input_salt"] == options.input_salt != results[2]["input_salt"]
    for job, name in zip(jobs, names, strict=True):
        report = app.verify(app.bundle(job), {"input_identity": name})
        assert report["ok"]
        assert report["statement"]["input_identity"] == name
    for job, name in ((jobs[0], names[2]), (jobs[2], names[0])):
        assert not app.verify(app.bundle(job), {"input_identity": name})["ok"]
    private = replace(profile, visibility=Visibility.PRIVATE_INPUT)
    with pytest.raises(ProfileContradiction, match="names none"):
        ordered(app, models[0], INPUT, profile=private, options=options)


def test_a_tenant_proves_anothers_model_and_the_receipt_has_its_owners_signature(app: App) -> None:
    owner, other = app.for_tenant("owner"), app.for_tenant("other")
    model, _ = owner.add_model(tiny.linear(), "net")
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    owner.store.change_model(
        model.id, visibility=ModelVisibility.UNLISTED, others_may_prove=True, licence="ours"
    )
    signature = OwnerSignature.read(
        Scheme.ED25519, public, key.sign(model_manifest(model.id, "ours")).hex()
    )
    owner.store.sign_model(model.id, signature.to_json(), "ours")

    job = other.request_proof(
        model_id=model.id,
        circuit_id=None,
        payload={"inputs": INPUT},
        profile=Profile(),
        context=None,
    )
    app.run(job.id, "test")
    done = other.store.job(job.id)
    assert outputs(done)["y"] == OUTPUT
    report = app.verify(other.bundle(done), None)
    assert report["ok"]
    assert next(c for c in report["checks"] if c["name"] == "owner")["status"] == "pass"
    receipt = Receipt.from_bytes(other.receipt(done)).statement().predicate.owner
    assert receipt is not None
    assert (receipt.signer, receipt.licence) == (public, "ours")
    (used,) = owner.store.usage([Grouping.CALLER, Grouping.OWNER])
    assert (used.caller, used.owner, used.proofs) == ("other", "owner", 1)
    assert used.proving_s > 0 < used.building_s


def test_the_conservative_profile_proves_too(app: App) -> None:
    job = proved(app, tiny.linear(), INPUT, profile=Profile(soundness=Soundness.CONSERVATIVE))
    assert outputs(job)["y"] == OUTPUT
    assert app.verify(app.bundle(job), None)["ok"]


# --- models as people have them ----------------------------------------------------------------

SQUARE = [node("Mul", ["x", "x"], ["y"])]
ODD: dict[str, tuple[Callable[[], bytes], dict[str, Any], dict[str, Any]]] = {
    "two inputs": (
        lambda: tiny.model(
            [node("MatMul", ["a", "w"], ["m"]), node("Add", ["m", "b"], ["y"])],
            {"a": (FLOAT, [1, 2]), "b": (FLOAT, [1, 2])},
            {"y": (FLOAT, [1, 2])},
            {"w": W},
        ),
        {"a": [[1, 2]], "b": [[0.5, -0.5]]},
        {"y": [[3.0, -1.0]]},
    ),
    "an unused input": (
        lambda: tiny.model(
            SQUARE, {"x": (FLOAT, [2]), "unused": (FLOAT, [2])}, {"y": (FLOAT, [2])}
        ),
        {"x": [1, 2], "unused": [3, 4]},
        {"y": [1.0, 4.0]},
    ),
    "integers in": (
        lambda: tiny.model(
            [node("Cast", ["x"], ["f"], to=FLOAT), node("MatMul", ["f", "w"], ["y"])],
            {"x": (TensorProto.INT64, [1, 2])},
            {"y": (FLOAT, [1, 2])},
            {"w": W},
        ),
        {"x": [[1, 2]]},
        {"y": [[2.5, -0.5]]},
    ),
    "bytes in": (
        lambda: tiny.model(
            [node("Cast", ["x"], ["f"], to=FLOAT), node("MatMul", ["f", "w"], ["y"])],
            {"x": (TensorProto.UINT8, [1, 2])},
            {"y": (FLOAT, [1, 2])},
            {"w": W},
        ),
        {"x": [[200, 4]]},
        {"y": [[104.0, -199.0]]},
    ),
    "a scalar out": (
        lambda: tiny.model(
            [node("ReduceSum", ["x"], ["y"], keepdims=0)],
            {"x": (FLOAT, [1, 4])},
            {"y": (FLOAT, [])},
        ),
        {"x": [[1, 2, 0.5, 0]]},
        {"y": 3.5},
    ),
    "rank 0": (
        lambda: tiny.model(SQUARE, {"x": (FLOAT, [])}, {"y": (FLOAT, [])}),
        {"x": 1.5},
        {"y": 2.25},
    ),
    "any names": (
        lambda: tiny.model(
            [node("Mul", ["my input/ü", "file"], ["出力 1"], name="a b")],
            {"my input/ü": (FLOAT, [1, 2]), "file": (FLOAT, [1, 2])},
            {"出力 1": (FLOAT, [1, 2])},
        ),
        {"my input/ü": [[1, 2]], "file": [[1, 2]]},
        {"出力 1": [[1.0, 4.0]]},
    ),
    "a constant": (
        lambda: tiny.model(
            [node("Constant", [], ["y"], value=numpy_helper.from_array(W))],
            {"x": (FLOAT, [1, 2])},
            {"y": (FLOAT, [2, 2])},
        ),
        {"x": [[1, 2]]},
        {"y": W.tolist()},
    ),
    "identity": (lambda: tiny.unary("Identity", (1, 2)), {"x": [[1, 2]]}, {"y": [[1.0, 2.0]]}),
    "double weights": (
        lambda: tiny.model(
            [node("MatMul", ["x", "w"], ["y"])],
            {"x": (DOUBLE, [1, 2])},
            {"y": (DOUBLE, [1, 2])},
            {"w": W.astype(np.float64)},
        ),
        {"x": [[1, 2]]},
        {"y": [[2.5, -0.5]]},
    ),
    "half weights": (
        lambda: tiny.model(
            [node("MatMul", ["x", "w"], ["y"])],
            {"x": (HALF, [1, 2])},
            {"y": (HALF, [1, 2])},
            {"w": W.astype(np.float16)},
        ),
        {"x": [[1, 2]]},
        {"y": [[2.5, -0.5]]},
    ),
    "opset 9": (
        lambda: tiny.model(SQUARE, {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}, opset=9),
        {"x": [1, 2]},
        {"y": [1.0, 4.0]},
    ),
    "opset 22": (
        lambda: tiny.model(SQUARE, {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}, opset=22),
        {"x": [1, 2]},
        {"y": [1.0, 4.0]},
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_models_of_every_kind_are_proved(app: App, name: str) -> None:
    make, inputs, expected = ODD[name]
    job = proved(app, make(), inputs)
    found = outputs(job)
    assert found.keys() == expected.keys()
    for tensor, values in expected.items():
        span = max(1.0, float(np.ptp(np.array(values))))
        assert np.array(found[tensor]).shape == np.array(values).shape
        assert np.abs(np.array(found[tensor]) - np.array(values)).max() <= 0.02 * span
    assert app.verify(app.bundle(job), None)["ok"]


# --- bad ends ----------------------------------------------------------------------------------


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
        ({"engine_deadline_s": 0.05}, "engine_timeout"),
    ],
)
def test_an_engine_without_room_or_time_fails_the_job_by_name(
    app: App, srs_cache: Path, settings: dict[str, Any], code: str
) -> None:
    model = tiny.wide(128)
    outputs(proved(app, model, {"x": [[0.5] * 128]}))
    poor = open_app(app.settings.home, srs_cache, **settings)
    try:
        failed = proved(poor, model, {"x": [[0.5] * 128]})
        assert failed.state is JobState.FAILED
        assert failed.problem is not None
        assert failed.problem["code"] == code
        assert failed.problem["advice"]
        assert inputs_kept(poor) == []
    finally:
        poor.close()
    outputs(proved(app, model, {"x": [[0.5] * 128]}))


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
