"""Labels and nearest neighbours with committed hints: proofs of them, and provers who claim
others."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Argument, Profile, Visibility
from prover.app import App
from prover.records.job import JobState
from prover.statement.context import Context
from tests.cases.committed import Circuits, Committed, X

pytestmark = pytest.mark.slow

HERE = Context(job_id="job")


def classes() -> bytes:
    """A hidden layer, scores, the place of the largest, and that score times two."""
    rng = np.random.default_rng(3)
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 1, 6, 6] x) => (float[1, 3] y) {
      f = Flatten(x) h = Gemm(f, w, wb) r = Relu(h) s = Gemm(r, v)
      p = ArgMax<axis = 1>(s) n = Cast<to = 1>(p) i = Sub(n, places) j = Abs(i)
      k = Sub(one, j) y = Relu(k)
    }""")
    for name, shape in (("w", (36, 5)), ("wb", (5,)), ("v", (5, 3))):
        values = rng.normal(size=shape).astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(values, name))
    for name, value in (("places", np.arange(3)), ("one", np.array(1))):
        constant = value.astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(constant, name))
    return bytes(made.SerializeToString())


@pytest.fixture(scope="module")
def labels(circuit: Circuits) -> Committed:
    return circuit(Visibility.PRIVATE_INPUT, model=classes())


def test_a_class_is_proved_and_rebuilt(labels: Committed, tmp_path: Path) -> None:
    proof = labels.honest(X, contexts=[HERE])
    assert labels.failures(proof, X, HERE) == []
    labels.assert_rebuilt(classes())
    same = labels.dishonest(tmp_path, X, contexts=[HERE], bend="nothing")
    assert labels.failures(same, X, HERE) == []


@pytest.mark.parametrize("lie", ["other order", "other bit", "shown output"])
def test_another_class_is_refused(labels: Committed, tmp_path: Path, lie: str) -> None:
    """Scores in another order with all that follows from them, bits turned around with all that
    follows, and an output that nothing in the circuit gives."""
    proof = labels.dishonest(tmp_path, X, contexts=[HERE], bend=lie)
    failures = labels.failures(proof, X, HERE)
    assert ("proof" if lie == "shown output" else "residues") in failures


# --- estimators, from the file to a bundle -------------------------------------------------------


def rows() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    x, y = load_iris(return_X_y=True)
    return x.astype(np.float32), y


def perceptron() -> bytes:
    rng = np.random.default_rng(5)
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 4] X) => (int64[1] label, float[1, 3] scores) {
      h = Gemm(X, w, wb) r = Relu(h) scores = Gemm(r, v, vb)
      label = ArgMax<axis = 1, keepdims = 0>(scores)
    }""")
    for name, shape in (("w", (4, 16)), ("wb", (16,)), ("v", (16, 3)), ("vb", (3,))):
        values = (rng.normal(size=shape) / 2).astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(values, name))
    return bytes(made.SerializeToString())


def exported(estimator: Any) -> bytes:
    x, y = rows()
    fitted = estimator.fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = to_onnx(fitted, x[:1], options={"zipmap": False}, target_opset=17)
    return bytes(made.SerializeToString())


MODELS: dict[str, Callable[[], bytes]] = {
    "perceptron with its class": perceptron,
    "support vectors": lambda: exported(SVC()),
    "nearest of 150 rows": lambda: exported(KNeighborsClassifier()),
}


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_labels_are_proved_with_committed_hints(app: App, name: str) -> None:
    """With a private input, whose models have such circuits wherever they can: the label and the
    scores are onnxruntime's."""
    data, (x, _) = MODELS[name](), rows()
    calibration = io.BytesIO()
    np.savez(calibration, X=x)
    record, _ = app.add_model(data, "model")
    profile = Profile(visibility=Visibility.PRIVATE_INPUT)
    job = app.prove_inputs(record, {"X": x[90:91]}, profile, None, calibration.getvalue())
    app.run(job.id, "test")
    done = app.store.job(job.id)
    assert done.state is JobState.SUCCEEDED, done.problem
    manifest = CircuitManifest.from_json(app.store.circuit(done.circuit_id).manifest)
    assert manifest.commitments is not None
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    label, scores = session.run(None, {"X": x[90:91]})
    assert done.result is not None
    assert done.result["outputs"]["label"] == label.tolist()
    (other,) = done.result["outputs"].keys() - {"label"}
    found = np.array(done.result["outputs"][other]).reshape(scores.shape)
    assert np.abs(found - scores).max() < 0.02 * max(1.0, float(np.ptp(scores)))
    assert app.verify(app.bundle(done), None)["ok"]


@pytest.mark.long
def test_a_model_of_more_inputs_than_a_proof_has_tensors_is_proved(app: App) -> None:
    """One tensor of hints has all of them."""
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 1] a, float[1, 1] b, float[1, 1] c, float[1, 1] d) => (float[1, 3] y) {
      x = Concat<axis = 1>(a, b, c, d) h = Gemm(x, w, wb) r = Relu(h) y = Gemm(r, v, vb)
    }""")
    made.graph.initializer.extend(onnx.load_model_from_string(perceptron()).graph.initializer)
    names, (x, _) = "abcd", rows()
    calibration = io.BytesIO()
    columns: dict[str, Any] = {n: x[:, at : at + 1] for at, n in enumerate(names)}
    np.savez(calibration, **columns)
    record, _ = app.add_model(made.SerializeToString(), "columns")
    given = {n: x[90:91, at : at + 1] for at, n in enumerate(names)}
    profile = Profile(argument=Argument.COMMITTED)
    job = app.prove_inputs(record, given, profile, None, calibration.getvalue())
    app.run(job.id, "test")
    done = app.store.job(job.id)
    assert done.state is JobState.SUCCEEDED, done.problem
    assert app.verify(app.bundle(done), None)["ok"]
