"""A graph of integers is written for many lanes, or refused with the node that prevents it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from benchmarks.zoo.zoo import ZOO
from circuits.batching.errors import CannotBatch
from circuits.batching.vectorize import vectorize
from circuits.format.tensors import TensorSpec
from circuits.lower import BitWidths, lower
from circuits.rewrite import bind_context, rewrite
from circuits.rewrite.compare import run
from circuits.rewrite.context import CONTEXT_OUTPUT
from circuits.rewrite.hidden_values import Bound, bound_inputs
from tests.cases.integers import BOUND, MODELS
from tests.cases.integers import graph as rewritten
from tests.cases.lanes import pack, vectorize_checked
from tests.cases.tables import TABLED

X = TensorSpec(name="x", dtype="float32", shape=(1, 6))
BITS = BitWidths(input=5, weights=(6,), table=6)


def integers(data: bytes, *, tables: bool = False) -> bytes:
    return lower(data, BITS, BOUND, tables=tables).onnx


@pytest.mark.parametrize("name", [*MODELS, *TABLED])
def test_every_lane_computes_what_the_single_lane_graph_computes(name: str) -> None:
    single = integers((MODELS | TABLED)[name])
    for lanes in (2, 3):
        batched = vectorize_checked(single, lanes)
        assert batched == vectorize(single, lanes)
    vectorize_checked(integers((MODELS | TABLED)[name], tables=True), 2)


OTHER_INPUTS = {
    "the batch behind the steps": ("y = MatMul(x, w)", "float[6, 1, 2] x", {"w": [2, 3]}),
    "a batch of its own": ("y = MatMul(x, w)", "float[4, 6] x", {"w": [6, 3]}),
    "no batch at all": ("a = Mul(x, w) r = Relu(a) y = Add(r, w)", "float[6] x", {"w": [6]}),
    "the largest along its only axis": (
        "a = ArgMax<axis = 0>(x) y = Cast<to = 1>(a)",
        "float[6] x",
        {},
    ),
}


@pytest.mark.parametrize("name", OTHER_INPUTS)
def test_inputs_without_a_leading_batch_of_one_are_batched_too(name: str) -> None:
    body, shape, weights = OTHER_INPUTS[name]
    for lanes in (2, 5):
        vectorize_checked(integers(rewritten(body, shape, weights)), lanes)


@pytest.mark.parametrize("by_table", [False, True])
def test_what_bounds_hidden_inputs_is_each_lanes_own(by_table: bool) -> None:
    bounds = [Bound.of("x", BOUND["x"], BITS.input)]
    exposed = bind_context(integers(MODELS["mlp"], tables=by_table), 2, expose=True)
    single = bound_inputs(exposed, bounds, by_table=by_table, salted=by_table)
    batched = onnx.load_from_string(vectorize_checked(single, 3))
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*batched.graph.input, *batched.graph.output]
    }
    assert shapes[CONTEXT_OUTPUT] == [1, 6]
    assert shapes["zkml_residues"] == [3, 1]


def graph(body: str, constants: str = "") -> bytes:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>'
        f"g (float[1,6] x) => (float[N] y) <{constants}> {{{body}}}"
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString())


REFUSED = {
    "Softmax": ("y = Softmax<axis=1>(x)", ""),
    "ReduceSum": ("a = ReduceSum<keepdims=1>(x) y = Add(a, x)", ""),
    "Concat": ("y = Concat<axis=0>(x, x)", ""),
    "Gather": ("y = Gather<axis=0>(x, i)", "int64[2] i = {0, 0}"),
    "MatMul": ("t = Reshape(x, s) y = MatMul(t, x)", "int64[2] s = {6, 1}"),
    "Mul": ("y = Mul(x, c)", "float[2, 1] c = {1, 2}"),
}


@pytest.mark.parametrize("operator", REFUSED)
def test_a_node_that_mixes_the_lanes_is_named(operator: str) -> None:
    with pytest.raises(CannotBatch) as caught:
        vectorize(graph(*REFUSED[operator]), 4)
    assert caught.value.context["op"] == operator


def test_one_lane_changed_leaves_all_others_as_they_were() -> None:
    batched = vectorize(integers(TABLED["softmax"]), 5)
    rng = np.random.default_rng(3)
    rows = [{"x": rng.normal(size=(1, 6)).astype(np.float32)} for _ in range(5)]
    (before,) = run(batched, [pack(rows, [X])])
    rows[2] = {"x": rows[2]["x"] + 1}
    (after,) = run(batched, [pack(rows, [X])])
    changed = np.abs(before[0] - after[0]).reshape(5, -1).max(axis=1) > 0
    assert changed.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("name", ["digits", "gradient-boosting", "attention", "minicnn-8"])
def test_models_exported_with_a_batch_of_one_are_batched_with_their_context(name: str) -> None:
    built = ZOO[name].build()
    samples = [{n: a[i] for n, a in built.calibration.items()} for i in range(4)]
    ranges = {n: (float(a.min()), float(a.max())) for n, a in built.calibration.items()}
    lowered = lower(rewrite(built.onnx, samples).onnx, BITS, ranges)
    batched = vectorize_checked(bind_context(lowered.onnx, 16), 3, samples)
    inputs = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim]
        for i in onnx.load_from_string(batched).graph.input
    }
    assert inputs.pop("zkml_context") == [1, 48]
    assert all(shape[0] == 3 for shape in inputs.values())
