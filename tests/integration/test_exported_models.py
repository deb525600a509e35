"""Models as exporters write them, from the uploaded file to a proof that verifies."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper

from circuits.format.profile import Profile
from prover.app import App
from prover.records.job import Job, JobState
from tests.cases.estimators import iris, iris_tree

pytestmark = pytest.mark.slow


def proved(app: App, model: bytes, values: list[list[float]]) -> Job:
    record, _ = app.add_model(model, "model")
    job = app.request_proof(
        model_id=record.id,
        circuit_id=None,
        payload={"inputs": {"x": values}},
        profile=Profile(),
        context=None,
    )
    app.run(job.id, "test")
    return app.store.job(job.id)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({"classlabels_int64s": [0, 1, 2]}, marks=pytest.mark.long),
        {"classlabels_strings": ["setosa", "versicolor", "other"]},
    ],
    ids=["numbers", "text"],
)
def test_a_classifier_with_its_zipmap_proves_as_exported(
    app: App, labels: dict[str, list[object]]
) -> None:
    """Its answers in onnxruntime are a list of maps, and perhaps text: what is proved, and what
    the receipt's error is measured against, are the same numbers as tensors."""
    x, y = iris()
    done = proved(app, iris_tree(**labels), x[-1:].tolist())
    assert done.state is JobState.SUCCEEDED, done.problem
    assert done.result is not None
    assert done.result["outputs"]["label"] == [y[-1]]
    assert np.argmax(done.result["outputs"]["probabilities"][0]) == y[-1]
    manifest = app.store.circuit(done.circuit_id).manifest
    assert manifest["files"]["reference"] != manifest["model_sha256"]
    near = json.loads(app.artifacts.get(manifest["files"]["plan"]))["near_thresholds"]
    assert near["samples"] == 64
    assert 0 <= near["within_one_quantum"] < 64
    assert app.verify(app.bundle(done), None)["ok"]


@pytest.mark.long
def test_a_root_proves_on_what_it_has_an_answer_for(app: App) -> None:
    """Neither planned nor accepted below zero, where onnxruntime says NaN and the engine 0."""
    graph = helper.make_graph(
        [helper.make_node("Sqrt", ["x"], ["y"])],
        "root",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    done = proved(app, model, [[0.25, 1.0, 0.5, 0.75]])
    assert done.state is JobState.SUCCEEDED, done.problem
    assert done.result is not None
    got = np.array(done.result["outputs"]["y"])
    assert np.abs(got - np.sqrt([[0.25, 1.0, 0.5, 0.75]])).max() <= 0.01
    negative = proved(app, model, [[0.25, 1.0, 0.5, -0.75]])
    assert negative.state is JobState.FAILED
    assert negative.problem is not None
    assert negative.problem["code"] == "model_no_answer"
