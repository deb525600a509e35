"""Models that add up what their nearest neighbours are: without ranks, and with ties as TopK's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.committed.arithmetic import InputSteps, output_scales, run
from circuits.committed.arrangement import Arrangement
from circuits.committed.network import Local, Network, gathered
from circuits.format.commitments import Weights
from circuits.lower.committed.choosing.candidates import committed_graphs
from circuits.lower.committed.quantising.steps import choose_steps, integer_network
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.graphs import LoweringTask
from circuits.plan.graphs import float_graph
from circuits.rewrite import rewrite
from tests.effort import sampled

ROWS, FEATURES = 21, 3
_RNG = np.random.default_rng(5)
#: Integers near one another: many rows are equally far from an input, and some are equal.
TABLE = _RNG.integers(0, 4, (ROWS, FEATURES)).astype(np.float32)
CONSTANTS: Mapping[str, NDArray[Any]] = {
    "table": TABLE,
    "targets": _RNG.integers(-8, 9, ROWS).astype(np.float32),
    "labels": _RNG.integers(0, 3, ROWS),
    "each": np.arange(ROWS).reshape(1, ROWS, 1),
    "two": np.array(2),
    "last": np.array([-1]),
    "column": np.array([-1, 1]),
    "row": np.array([1, -1]),
    "ranks": np.array([1, 1, -1]),
}
_NEAREST = (
    "s = Sub(x, table) q = ReduceSumSquare<axes = [1]>(s) r = Reshape(q, row)"
    " d = Sqrt(r) v, i = TopK<axis = 1, largest = 0>(d, k)"
)
#: What is made of distances ``v`` and places ``i``, the last value being ``y``.
KINDS = {
    "mean of targets": "f = Flatten(i) t = Gather(targets, f) y = ReduceMean<axes = [1]>(t)",
    "votes": (
        "l = Gather(labels, i) e = Equal(l, two) c = Cast<to = 1>(e)"
        " y = ReduceSum<keepdims = 0>(c, last)"
    ),
    "weighted by distance": (
        "t = Gather(targets, i) o = Max(v, least) w = Reciprocal(o) p = Mul(t, w)"
        " a = ReduceSum(p, last) b = ReduceSum(w, last) y = Div(a, b)"
    ),
    "distances at their places": (
        "u = Reshape(i, ranks) e = Equal(each, u) c = Cast<to = 1>(e) w = Reshape(v, ranks)"
        " p = Mul(c, w) y = ReduceSum<keepdims = 0>(p, last)"
    ),
}


def neighbours(body: str, count: int) -> bytes:
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, {FEATURES}] x) => (float y) <int64[1] k = {{{count}}}, float least = {{0.5}}>
        {{ {_NEAREST} {body} }}"""
    )
    used = {name for node in made.graph.node for name in node.input}
    for name in sorted(used & {*CONSTANTS}):
        made.graph.initializer.append(numpy_helper.from_array(CONSTANTS[name], name))
    return bytes(made.SerializeToString())


def rows() -> NDArray[np.float32]:
    return np.random.default_rng(6).integers(-1, 5, (60, FEATURES)).astype(np.float32)


def answers(data: bytes) -> NDArray[np.float64]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"x": row[None]})[0].reshape(-1) for row in rows()])


@pytest.mark.parametrize("count", sampled([5, 2, 8, 20], 4))
@pytest.mark.parametrize("kind", KINDS)
def test_a_sum_over_the_nearest_is_one_over_all(kind: str, count: int) -> None:
    """Of rows equally far the first is nearer, as TopK has it."""
    data = neighbours(KINDS[kind], count)
    made = rewrite(data, [{"x": row[None]} for row in rows()]).onnx
    operators = {node.op_type for node in onnx.load_model_from_string(made).graph.node}
    assert operators.isdisjoint({"TopK", "ArgMax", "ArgMin"})
    np.testing.assert_allclose(answers(made), answers(data), atol=1e-5)


def test_the_largest_are_added_up_as_the_smallest_are() -> None:
    data = neighbours(KINDS["mean of targets"], 5)
    made = onnx.load_model_from_string(data)
    (top,) = [node for node in made.graph.node if node.op_type == "TopK"]
    del top.attribute[:]
    top.attribute.append(onnx.helper.make_attribute("axis", 1))
    far = made.SerializeToString()
    found = rewrite(far, [{"x": row[None]} for row in rows()])
    assert "sum-nearest" in {step.name for step in found.passes}
    np.testing.assert_allclose(answers(found.onnx), answers(far), atol=1e-5)


@pytest.mark.parametrize("body", ["y = Cast<to = 1>(i)", "j = Cast<to = 1>(i) y = Mul(j, v)"])
def test_places_that_are_given_out_are_found(body: str) -> None:
    data = neighbours(body, 3)
    found = rewrite(data, [{"x": row[None]} for row in rows()])
    assert "sum-nearest" not in {step.name for step in found.passes}
    np.testing.assert_allclose(answers(found.onnx), answers(data), atol=1e-5)


def integers(data: bytes, bits: int) -> tuple[Network, NDArray[np.float64]]:
    """A model's network in a table of so many bits, and its answers for all rows."""
    read = read_network(rewrite(data, [{"x": row[None]} for row in rows()]).onnx)
    steps = choose_steps(
        read,
        responses(read.network, [rows().astype(np.float64)]).extents,
        base=1 << bits,
        logrows=bits + 2,
        inputs=[InputSteps(scale=0, offset=8)],
        margin=1.5,
    )
    network = integer_network(read, steps)
    made = run(network, steps, [rows().astype(np.int64)])
    assert not np.any(made.outside)
    (scale,) = output_scales(network, steps)
    values = gathered(network.outputs[0], made.rows).astype(np.float64)
    return network, np.ldexp(values, -scale)


@pytest.mark.parametrize("kind", ["mean of targets", "votes"])
def test_the_nearest_are_exact_in_integers(kind: str) -> None:
    """Each row is compared with the k-th three times, and otherwise with a few others."""
    data = neighbours(KINDS[kind], 5)
    network, found = integers(data, bits=10)
    np.testing.assert_allclose(found, answers(data), atol=0.02)
    local = [step for step in network.steps if isinstance(step, Local)]
    assert sum(step.size for step in local if step.in_ones) == 3 * ROWS
    assert sum(step.size for step in local) < 12 * ROWS


def radius(limit: float) -> bytes:
    """The mean target of all rows that are near, as skl2onnx writes it: what is not near has the
    place -1, and counts zero times."""
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
        g (float[1, {FEATURES}] x) => (float y) <float limit = {{{limit}}}> {{
        s = Sub(x, table) q = ReduceSumSquare<axes = [1]>(s) r = Reshape(q, row) d = Sqrt(r)
        near = Less(d, limit) counts = Cast<to = 1>(near) p = Where(near, places, none)
        f = Flatten(p) t = ai.onnx.ml.ArrayFeatureExtractor(targets, f) u = Reshape(t, row)
        m = Mul(u, counts) a = ReduceSum(m, last) b = ReduceSum(counts, last) y = Div(a, b) }}"""
    )
    places = {"places": np.arange(ROWS)[None], "none": np.full((1, ROWS), -1)}
    for name in ("table", "row", "targets", "last"):
        made.graph.initializer.append(numpy_helper.from_array(CONSTANTS[name], name))
    for name, values in places.items():
        made.graph.initializer.append(numpy_helper.from_array(values, name))
    return bytes(made.SerializeToString())


def near_means(limit: float) -> NDArray[np.float64]:
    squares = ((rows()[:, None].astype(np.float64) - TABLE) ** 2).sum(axis=-1)
    near = np.sqrt(squares) < limit
    return np.asarray((near * CONSTANTS["targets"]).sum(axis=1) / near.sum(axis=1))


@pytest.mark.parametrize("limit", [6.0, 20.0], ids=["some", "all"])
def test_what_is_near_is_counted_at_its_own_place(limit: float) -> None:
    """onnxruntime refuses places that count from the end, which then count zero times."""
    data, sent = radius(limit), [{"x": row[None]} for row in rows()]
    found = rewrite(data, sent)
    graph = onnx.load_model_from_string(found.onnx).graph
    assert {node.op_type for node in graph.node}.isdisjoint({"Gather", "Sqrt", "Where"})
    refused = limit < 20
    assert ("wrap-feature-indices" in {p.name for p in found.passes}) == refused
    assert (found.reference == data) != refused
    np.testing.assert_allclose(answers(found.onnx)[:, 0], near_means(limit), atol=1e-5)


def test_a_mean_of_what_is_near_has_integers() -> None:
    """The share of each is as exact as the counts that occur need, not as a count of one does."""
    _, found = integers(radius(6.0), bits=12)
    np.testing.assert_allclose(found[:, 0], near_means(6.0), atol=0.05)


def test_a_mean_of_nothing_has_no_proof() -> None:
    """Nor has it another answer: it is no number in the model, and targets are 2 to 4."""
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 3] x) => (float[1, 1] y) {
      n = Greater(x, t) c = Cast<to = 1>(n) m = Mul(c, u) a = ReduceSum(m, last)
      b = ReduceSum(c, last) y = Div(a, b) }""")
    own = {"t": [[0.1, 0.3, 0.2]], "u": [[2, 3, 4]]}
    constants = {name: np.array(values, dtype=np.float32) for name, values in own.items()}
    for name, value in {**constants, "last": np.array([1])}.items():
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    x = np.random.default_rng(0).uniform(-1, 1, (120, 1, 3)).astype(np.float32)
    some = [{"x": row} for row in x if np.any(row > constants["t"])]
    task = LoweringTask(
        accepted={"x": (-1.0, 1.0)}, limbs=1, plan=tuple(some[:40]), held_out=tuple(some[40:])
    )
    graph = float_graph(made.SerializeToString(), some[:2], 1)
    found = committed_graphs(graph, task, False, Weights.SEALED)
    assert isinstance(found, list)
    assert not any(circuit.holds_corners for circuit in found)
    for circuit in found:
        assert circuit.network is not None
        own_network = Arrangement.from_bytes(circuit.network)
        (step,) = own_network.steps.inputs
        sent = np.rint(np.ldexp(x.reshape(-1, 3), step.scale)).astype(np.int64)
        outside = run(own_network.network, own_network.steps, [sent]).outside
        nothing = ~np.any(x > constants["t"], axis=(1, 2))
        assert np.any(nothing)
        assert np.all(outside[nothing])
        assert not np.any(outside[~nothing])
