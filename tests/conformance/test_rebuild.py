"""An issuer who holds the key, against an auditor who holds the model and rebuilds from it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.engine.port import Simulated
from circuits.errors import EngineError
from circuits.format.field import to_felt
from circuits.format.manifest import AppliedPass
from circuits.format.profile import Argument, Profile, Visibility
from circuits.format.tensors import Signature
from circuits.rebuild import rebuild
from circuits.srs.files import SrsFolder
from prover.app import App
from prover.settings import Settings
from prover.statement.bundle import Bundle, read_bundle, write_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Report
from tests.cases import tiny
from tests.cases.verdicts import names
from tests.conformance.forgeries import REBUILD_FORGERIES, Forgery, statement_of
from tests.conformance.make_vectors import public_key

pytestmark = pytest.mark.slow

VALUES = np.array([[1.0, -1.0, 2.0, 0.0]], dtype=np.float32)
#: ReLU is lowered to integers, Sigmoid too with a table; Softplus uses the engine's fixed point.
MODELS = {
    "integers": tiny.linear(),
    "tables": tiny.linear(activation="Sigmoid"),
    "fixed-point": tiny.linear(activation="Softplus"),
}


@dataclass
class Bench:
    """A deployment, and an auditor on the same machine: he has its reference strings."""

    app: App

    def prove(self, model: bytes, visibility: Visibility) -> Bundle:
        record, _ = self.app.add_model(model, "tiny.onnx")
        profile = Profile(visibility=visibility, argument=Argument.PLAIN)
        signature = Signature.from_json(record.signature)
        inputs = {signature.inputs[0].name: VALUES}
        job = self.app.prove_inputs(record, inputs, profile, {"nonce": "mine"}, None)
        self.app.run(job.id, "test")
        return read_bundle(self.app.bundle(self.app.store.job(job.id)))

    def judge(self, bundle: Bundle, model: bytes, *, rebuilds: bool = True) -> Report:
        settings = self.app.settings
        return verify_bundle(
            write_bundle(bundle),
            engine=self.app.engine,
            policy=Policy(trusted=(public_key(1), *self.app.keys.keys)),
            model=model,
            rebuild=(
                lambda onnx, manifest, frozen, srs: rebuild(
                    self.app.engine,
                    SrsFolder(settings.srs_dir),
                    onnx,
                    manifest,
                    frozen,
                    srs,
                    settings.engine_limits,
                )
            )
            if rebuilds
            else None,
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Iterator[Bench]:
    home = tmp_path_factory.mktemp("home")
    app = App.open(Settings(home=home, srs_dir=srs_cache, redis_url=None, plan_effort="fast"))
    yield Bench(app)
    app.close()


class _Honest(dict[str, Bundle]):
    """Bundles of ``MODELS``, each made when it is asked for."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __missing__(self, name: str) -> Bundle:
        self[name] = self._bench.prove(MODELS[name], Visibility.PUBLIC)
        return self[name]


@pytest.fixture(scope="module")
def honest(bench: Bench) -> dict[str, Bundle]:
    return _Honest(bench)


def detail(report: Report) -> str:
    (check,) = [c for c in report.checks if c.name == "rebuild"]
    return check.detail


@pytest.mark.parametrize(
    "kind",
    ["integers"]
    + [pytest.param(kind, marks=pytest.mark.long) for kind in ("tables", "fixed-point")],
)
def test_an_honest_circuit_is_rebuilt_to_the_byte(
    kind: str, bench: Bench, honest: dict[str, Bundle]
) -> None:
    assert (Forgery(honest[kind], {}).manifest.lowering is not None) == (kind != "fixed-point")
    report = bench.judge(honest[kind], MODELS[kind])
    assert report.failures == ()
    assert "same bytes" in detail(report)


@pytest.mark.long
def test_a_circuit_of_hidden_inputs_is_compared_with_its_model(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe's bits are its issuer's: too few erase a layer, and nobody sees the input."""
    model = MODELS["integers"]
    bundle = bench.prove(model, Visibility.PRIVATE_INPUT)
    report = bench.judge(bundle, model)
    assert report.failures == ()
    engine = bench.app.engine
    own = engine.simulate

    def erased(*arguments: Any) -> list[Simulated | EngineError]:
        return [
            replace(made, outputs=[[to_felt(0)] * len(felts) for felts in made.outputs])
            for made in own(*arguments)
            if isinstance(made, Simulated)
        ]

    monkeypatch.setattr(type(engine), "simulate", lambda _, *arguments: erased(*arguments))
    report = bench.judge(bundle, model)
    assert names(report) == ["rebuild"]
    assert "of their range off on random inputs" in detail(report)


@pytest.mark.long  # the engine chooses k = 15 for it
@pytest.mark.parametrize("told", REBUILD_FORGERIES)
def test_what_leaves_no_trace_in_the_proof_is_found_by_a_rebuild(
    told: str, bench: Bench, honest: dict[str, Bundle]
) -> None:
    model, good = MODELS["fixed-point"], honest["fixed-point"]
    forgery = Forgery(good, copy.deepcopy(statement_of(good)))
    REBUILD_FORGERIES[told](forgery)
    bundle = forgery.resigned()
    assert names(bench.judge(bundle, model, rebuilds=False)) == []
    assert names(bench.judge(bundle, model)) == ["rebuild"]


def finer_scales(forgery: Forgery) -> None:
    (x,), (y,) = forgery.manifest.inputs, forgery.manifest.outputs
    inputs, outputs = (replace(x, scale=x.scale + 1),), (replace(y, scale=y.scale + 1),)
    forgery.set_manifest(replace(forgery.manifest, inputs=inputs, outputs=outputs))
    document = json.loads(forgery.bundle.input or b"")
    entry = document["inputs"][0]
    entry["values"] = [v / 2 for v in entry["values"]]
    forgery.set_member(input=json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def other_bits(forgery: Forgery) -> None:
    recipe = copy.deepcopy(forgery.manifest.lowering)
    assert recipe is not None
    recipe["bits"]["weights"] = [b + 1 for b in recipe["bits"]["weights"]]
    forgery.set_manifest(replace(forgery.manifest, lowering=recipe))


def recipe_with_more(forgery: Forgery) -> None:
    forgery.set_manifest(
        replace(forgery.manifest, lowering={**(forgery.manifest.lowering or {}), "x": 1})
    )


def no_recipe(forgery: Forgery) -> None:
    forgery.set_manifest(replace(forgery.manifest, lowering=None))


def another_pass(forgery: Forgery) -> None:
    passes = (*forgery.manifest.passes, AppliedPass(name="certified", version=1))
    forgery.set_manifest(replace(forgery.manifest, passes=passes))


def other_names(forgery: Forgery) -> None:
    (y,) = forgery.manifest.outputs
    named = replace(y, tensor=replace(y.tensor, name="probability"))
    forgery.set_manifest(replace(forgery.manifest, outputs=(named,)))


@pytest.mark.parametrize(
    "tell", [finer_scales, other_bits, recipe_with_more, no_recipe, another_pass, other_names]
)
def test_the_manifest_of_an_integer_circuit_is_rebuilt_too(
    tell: Callable[[Forgery], None], bench: Bench, honest: dict[str, Bundle]
) -> None:
    model, good = MODELS["integers"], honest["integers"]
    forgery = Forgery(good, copy.deepcopy(statement_of(good)))
    before = forgery.manifest.digest
    tell(forgery)
    assert forgery.manifest.digest != before
    bundle = forgery.resigned()
    assert names(bench.judge(bundle, model, rebuilds=False)) == []
    assert names(bench.judge(bundle, model)) == ["rebuild"]


@pytest.mark.parametrize(
    "visibility",
    [Visibility.PRIVATE_INPUT, pytest.param(Visibility.HASHED_INPUT, marks=pytest.mark.long)],
)
def test_no_stored_data_contains_a_private_input(visibility: Visibility, bench: Bench) -> None:
    """Bundle, job row, artifacts: searched for the values and for their field elements."""
    values = np.array([[0.7431, -0.2917, 0.5233, -0.6619]], dtype=np.float32)
    record, _ = bench.app.add_model(MODELS["integers"], "tiny.onnx")
    job = bench.app.prove_inputs(record, {"x": values}, Profile(visibility=visibility), None, None)
    bench.app.run(job.id, "test")
    done = bench.app.store.job(job.id)
    data = bench.app.bundle(done)
    (x,) = Forgery(read_bundle(data), {}).manifest.inputs
    felts = {to_felt(n) for n in x.quantise(values)}
    instances = set(json.loads(read_bundle(data).proof)["instances"][0])
    assert not felts & instances
    texts = [repr(float(v))[:6].encode() for v in values.reshape(-1)]
    kept = [data, repr(done).encode()]
    kept += [p.read_bytes() for p in bench.app.settings.home.rglob("*") if p.is_file()]
    for where in kept:
        assert not any(text in where for text in texts)
        assert values.tobytes() not in where
