"""Missing values and texts from order to verified bundle, and a prover who bends a mask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, LayoutStats, RunArgs
from circuits.engine.proof_json import parse_proof
from circuits.format.field import from_felt, to_felt
from circuits.format.manifest import CircuitManifest, Role
from circuits.format.profile import Profile, Visibility
from prover.app import App
from prover.records.job import Job, JobState
from prover.statement.bundle import read_bundle
from tests.cases.missing import CODES, TEXT, boosted, histogram_regression
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

ROW = [41.0, None, 0.25, None, 1.5]
PERSON = {"age": [[30.0]], "used": [[0.5]], "purpose": [["boat"]], "home": [["own"]]}


def proved(app: App, model: bytes, inputs: dict[str, Any], profile: Profile | None = None) -> Job:
    record, _ = app.add_model(model, "model")
    job = app.request_proof(
        model_id=record.id,
        circuit_id=None,
        payload={"inputs": inputs},
        profile=profile or Profile(),
        context=None,
    )
    app.run(job.id, "test")
    done = app.store.job(job.id)
    assert done.state is JobState.SUCCEEDED, done.problem
    return done


def statement(app: App, job: Job) -> dict[str, Any]:
    from prover.statement.envelope import Receipt

    found = Receipt.from_bytes(read_bundle(app.bundle(job)).receipt).statement().to_json()
    predicate: dict[str, Any] = found["predicate"]
    return predicate


@pytest.mark.long
def test_a_row_with_missing_values_is_proved_and_verified(app: App) -> None:
    case = boosted("BRANCH_LT", 2, 2, 3)
    job = proved(app, case.onnx, {"x": [ROW]})
    row = np.array([ROW], dtype=np.float32)
    (want,) = case.answers({"x": row})
    assert job.result is not None
    assert job.result["outputs"]["label"] == want[0].tolist()
    np.testing.assert_allclose(job.result["outputs"]["scores"], want[1], atol=0.01)
    assert app.verify(app.bundle(job), None)["ok"]
    said = statement(app, job)
    assert said["receipt"]["schema_version"] == 8
    assert [t.get("missing_of") for t in said["input"]["tensors"]] == [None, "x"]
    published = json.loads(read_bundle(app.bundle(job)).input or b"")["inputs"]
    assert published[0]["values"] == [41.0, 0.0, 0.25, 0.0, 1.5]
    assert published[1]["values"] == [False, True, False, True, False]


@pytest.mark.long
def test_a_text_that_the_model_does_not_know_is_proved_as_other(app: App) -> None:
    case = TEXT["one-hot-linear"]()
    job = proved(app, case.onnx, PERSON)
    kinds = {"age": np.float32, "used": np.float32}
    (want,) = case.answers({n: np.array(v, kinds.get(n, object)) for n, v in PERSON.items()})
    assert job.result is not None
    assert job.result["outputs"]["label"] == want[0].tolist()
    np.testing.assert_allclose(job.result["outputs"]["probabilities"], want[1], atol=0.01)
    assert app.verify(app.bundle(job), None)["ok"]
    said = {t["name"]: t for t in statement(app, job)["input"]["tensors"]}
    assert said["home"]["categories"] == ["family", "own", "rent"]
    assert said["home"]["other"] is True
    assert "categories" not in said["age"]


@pytest.mark.long
def test_a_private_mask_is_0_or_1_and_no_value_under_it_counts(
    app: App, engine: EzklEngine, tmp_path: Path
) -> None:
    row = [*ROW, 0.5]
    case = histogram_regression()  # no table, in which the engine would look a forged value up
    job = proved(app, case.onnx, {"x": [row]}, Profile(visibility=Visibility.PRIVATE_INPUT))
    assert app.verify(app.bundle(job), None)["ok"]
    assert job.circuit_id is not None
    circuit = app.registry.open(job.circuit_id)
    assert circuit is not None
    manifest = circuit.manifest
    values = [0 if v is None else v for v in row]
    honest = [manifest.inputs[0].quantise(np.array([values])), [0, 1, 0, 1, 0, 0]]
    twin = _of_integers(app, engine, manifest, circuit.files, tmp_path)

    def made(*inputs: list[int]) -> dict[Role, list[int]]:
        return _instances(engine, manifest, circuit.files, inputs, twin)

    right = made(*honest)
    assert right[Role.RESIDUE] == [0]
    other = [n if honest[1][i] == 0 else n + 7 for i, n in enumerate(honest[0])]
    assert made(other, honest[1])[Role.OUTPUT] == right[Role.OUTPUT]
    for forged in ([0, 2, 0, 1, 0, 0], [0, 1, -1, 1, 0, 0]):
        assert made(honest[0], forged)[Role.RESIDUE] != [0]


def test_a_private_column_holds_a_category_of_the_model_or_there_is_no_proof(
    app: App, engine: EzklEngine
) -> None:
    row = [6.0, 0.5, -10.0, 1.5]
    case = CODES["codes-beside-measurements"]()
    job = proved(app, case.onnx, {"x": [row]}, Profile(visibility=Visibility.PRIVATE_INPUT))
    assert app.verify(app.bundle(job), None)["ok"]
    assert statement(app, job)["receipt"]["schema_version"] == 9
    assert job.result is not None
    (want,) = case.answers({"x": np.array([row], dtype=np.float32)})
    np.testing.assert_allclose(job.result["outputs"]["variable"], want[0], atol=0.1)
    assert job.circuit_id is not None
    circuit = app.registry.open(job.circuit_id)
    assert circuit is not None
    numbers = circuit.manifest.inputs[0].quantise(np.array([[0.0, 0.5, 0.0, 1.5]]))

    def made(numbers: list[int], *places: int) -> dict[Role, list[int]]:
        inputs = [numbers, *([place] for place in places)]
        return _instances(engine, circuit.manifest, circuit.files, inputs)

    right = made(numbers, 2, 0)
    assert right[Role.RESIDUE] == [0]
    assert made([numbers[0] + 3, *numbers[1:]], 2, 0)[Role.OUTPUT] == right[Role.OUTPUT]
    for forged in ((4, 0), (-1, 0), (2, 3), (2, -1)):
        assert made(numbers, *forged)[Role.RESIDUE] != [0]


def _instances(
    engine: EzklEngine,
    manifest: CircuitManifest,
    files: CircuitFiles,
    inputs: Sequence[list[int]],
    compiled: Path | None = None,
) -> dict[Role, list[int]]:
    """What a proof shows that somebody makes, under the circuit's key, of whatever he likes."""
    felts = [[to_felt(n) for n in values] for values in inputs]
    proof: bytes = engine.sandbox.call(
        "tests.conformance.adversary:prove_anything",
        files,
        [*felts, manifest.context.encode(0)],
        compiled or files.compiled,
        limits=LIMITS,
        reads=[*files.paths, *([compiled] if compiled else []), Path(__file__).parents[1]],
    )
    instances = parse_proof(proof).instances
    return {
        s.role: [from_felt(f) for f in instances[s.offset : s.offset + s.count]]
        for s in manifest.layout
    }


def _of_integers(
    app: App, engine: EzklEngine, manifest: CircuitManifest, files: CircuitFiles, out: Path
) -> Path:
    """The circuit compiled with masks of any integers: the engine would check bools itself."""
    model = onnx.load_model_from_string(app.artifacts.get(manifest.files["rewritten"]))
    for value in model.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.BOOL:
            value.type.tensor_type.elem_type = TensorProto.INT32
    args = RunArgs.of(json.loads(files.settings.read_text()))
    (layout,) = engine.measure_layout(model.SerializeToString(), [args], LIMITS)
    assert isinstance(layout, LayoutStats)
    engine.setup(model.SerializeToString(), layout.settings, files.srs, out, LIMITS)
    return out / "compiled"
