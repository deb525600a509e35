"""Forests as tensor programs become the flows of ones that trees are."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.zoo.classical import random_forest
from circuits.lower import BitWidths, lower
from circuits.rewrite import rewrite
from tests.cases.tree_programs import data, forest_program


def samples(count: int) -> list[dict[str, NDArray[Any]]]:
    return [{"x": row[None]} for row in data(count, seed=1)[0]]


@pytest.mark.parametrize("kind", ["sums", "places", "votes"])
@pytest.mark.parametrize("trees", [1, 5])
def test_a_program_along_paths_is_a_flow(kind: str, trees: int) -> None:
    """``rewrite`` holds it to onnxruntime. What is left compares only features and scores."""
    found = rewrite(forest_program(trees, kind=kind), samples(64))
    assert "recover-trees" in {p.name for p in found.passes}
    graph = onnx.load_model_from_string(found.onnx).graph
    shown = [n.op_type for n in graph.node]
    assert "Equal" not in shown or kind == "votes"
    assert shown.count("ArgMax") == 1
    lower(found.onnx, BitWidths(input=8, weights=(8,) * 4), {"x": (-3.0, 3.0)})


@pytest.mark.parametrize("op", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparing_with_the_tests_that_hold_is_the_same(op: str) -> None:
    """No sum is larger."""
    made = onnx.load_model_from_string(forest_program(3))
    (node,) = (n for n in made.graph.node if n.op_type == "Equal")
    node.op_type = op
    if op.startswith("Less"):
        node.input[:] = [*reversed(node.input)]
    (level,) = (t for t in made.graph.initializer if t.name == "holding")
    holding = numpy_helper.to_array(level)
    strict = op in ("Greater", "Less")
    values = np.where(holding < 0, 9, holding - (0.5 if strict else 0)).astype(np.float32)
    level.CopyFrom(numpy_helper.from_array(values, level.name))
    found = rewrite(made.SerializeToString(), samples(64))
    graph = onnx.load_model_from_string(found.onnx).graph
    assert sum(n.op_type == op for n in graph.node) == (op == "LessOrEqual")  # the tests themselves
    level.CopyFrom(
        numpy_helper.from_array(values - 1, level.name)
    )  # of which other sums are larger
    left = onnx.load_model_from_string(rewrite(made.SerializeToString(), samples(16)).onnx).graph
    assert sum(n.op_type == op for n in left.node) == 1 + (op == "LessOrEqual")


def test_a_matrix_of_several_trees_is_taken_apart() -> None:
    benchmark = random_forest()
    found = rewrite(benchmark.onnx, [{"x": x} for x in benchmark.calibration["x"]])
    graph = onnx.load_model_from_string(found.onnx).graph
    assert [n.op_type for n in graph.node].count("Greater") == 1
    assert not [n for n in graph.node if n.op_type == "MatMul"]


@pytest.mark.parametrize("change", ["a path less", "twice the same", "another sum"])
def test_what_is_no_tree_stays_as_it_is(change: str) -> None:
    model = onnx.load_model_from_string(forest_program(1))
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name == "matrix" and change == "a path less":
            values[0, 0] = 0
        if tensor.name == "matrix" and change == "twice the same":
            values[0, 0] = values[0, 1]
        if tensor.name == "holding":
            if change == "another sum":
                values[0, 1] -= 1
            held = numpy_helper.to_array(
                next(t for t in model.graph.initializer if t.name == "matrix")
            )
            values = (held > 0).sum(axis=2)[..., None].astype(np.float32) - (
                change == "another sum"
            )
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    found = rewrite(model.SerializeToString(), samples(16))
    left = [n.op_type for n in onnx.load_model_from_string(found.onnx).graph.node]
    assert "Equal" in left
