"""Biases are summed inside the products of several rows, and nothing else changes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from circuits.batching.check import widen_checked
from circuits.batching.vectorize import widen


def graph(body: str) -> bytes:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>g (float[1,2] x) => (float[N] y)'
        f" <float[2,4] w = {{1, 2, 3, 4, 5, 6, 7, 8}}, float[1,4] b = {{1, 2, 3, 4}},"
        f" float[1,1] c = {{5}}, float[2,3] v = {{1, 2, 3, 4, 5, 6}}, float[1,3] d = {{1, 2, 3}}>"
        f" {{{body}}}"
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return bytes(inferred.SerializeToString())


def operators(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(data).graph.node]


TAKEN = {
    "bias": "a = MatMul(x, w)\n y = Add(a, b)",
    "bias in front": "a = MatMul(x, w)\n y = Add(b, a)",
    "and what follows": "a = MatMul(x, w)\n e = Add(a, b)\n y = Relu(e)",
    "shared by two users": "a = MatMul(x, w)\n e = Add(a, b)\n f = Relu(e)\n y = Sub(e, f)",
}

LEFT = {
    "no product": "y = Add(x, c)",
    "one number for all columns": "a = MatMul(x, w)\n y = Add(a, c)",
    "too few columns to pay": "a = MatMul(x, v)\n y = Add(a, d)",
    "the product is needed without": "a = MatMul(x, w)\n e = Add(a, b)\n y = Sub(e, a)",
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_bias_becomes_a_term_of_its_product(name: str) -> None:
    narrow = graph(TAKEN[name])
    wide = widen_checked(narrow, 3, (), True)
    assert "Add" in operators(widen(narrow, 3))
    assert "Add" not in operators(wide)
    assert wide == widen(narrow, 3, whole=True)


@pytest.mark.parametrize("name", LEFT)
def test_what_would_not_be_cheaper_or_not_the_same_stays(name: str) -> None:
    narrow = graph(LEFT[name])
    assert widen(narrow, 3, whole=True) == widen(narrow, 3)


def test_one_lane_has_nothing_to_share() -> None:
    narrow = graph(TAKEN["bias"])
    assert widen(narrow, 1, whole=True) == narrow


def test_the_bias_is_added_once_to_every_row() -> None:
    wide = onnx.load_from_string(widen(graph(TAKEN["bias"]), 2, whole=True))
    weights = next(t for t in wide.graph.initializer if list(t.dims) == [3, 4])
    assert onnx.numpy_helper.to_array(weights)[-1].tolist() == [1, 2, 3, 4]
    assert np.prod([d.dim_value for d in wide.graph.output[0].type.tensor_type.shape.dim]) == 8
