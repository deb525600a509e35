"""Models as people have them, each proved: names, dtypes, shapes, opsets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from prover.app import App
from tests.cases import tiny
from tests.cases.pipeline import outputs, proved
from tests.effort import sampled

pytestmark = pytest.mark.slow

W = np.array([[0.5, -1.0], [1.0, 0.25]], dtype=np.float32)
FLOAT, DOUBLE, HALF = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
node = helper.make_node

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


@pytest.mark.parametrize("name", sampled(ODD, 4))
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
