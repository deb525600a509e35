"""Comparisons and choices in networks with committed hints, against onnxruntime."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.calibration.samples import Samples, draw
from circuits.committed.arithmetic import InputSteps, Steps, output_scales, run
from circuits.committed.network import Local, Network, gathered
from circuits.format.commitments import Weights
from circuits.lower.committed.choosing.candidates import committed_graphs, committed_quanta
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.quantising.checking import check_steps
from circuits.lower.committed.quantising.steps import choose_steps, integer_network
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweringTask
from circuits.lower.thresholds import near_counts, near_graph
from circuits.plan.graphs import float_graph

#: What ``a`` and ``b`` are: five integers each, as they come.
_SPLIT = "a = Gather<axis = 1>(x, left) b = Gather<axis = 1>(x, right)"
#: Bodies by name, the last value of each being ``y`` of so many elements.
KINDS: dict[str, tuple[str, str]] = {
    "greater": ("g = Greater(a, b) y = Cast<to = 1>(g)", "float[1, 5] y"),
    "greater or equal": ("g = GreaterOrEqual(a, b) y = Cast<to = 1>(g)", "float[1, 5] y"),
    "less": ("g = Less(a, b) y = Cast<to = 7>(g)", "int64[1, 5] y"),
    "less or equal": ("g = LessOrEqual(a, b) y = Cast<to = 1>(g)", "float[1, 5] y"),
    "equal": ("g = Equal(a, b) y = Cast<to = 1>(g)", "float[1, 5] y"),
    "beside a constant": (
        "s = Add(a, b) g = Greater(s, three) h = Less(s, three) i = Not(g)"
        " j = And(h, i) k = Or(g, j) l = Xor(k, h) y = Cast<to = 1>(l)",
        "float[1, 5] y",
    ),
    "above or on a constant": (
        "s = Sub(a, b) g = GreaterOrEqual(s, three) h = LessOrEqual(three, s) i = Equal(s, three)"
        " j = Where(i, a, b) k = Where(g, three, j) l = Cast<to = 1>(h) y = Add(k, l)",
        "float[1, 5] y",
    ),
    "constants that differ": (
        "s = Add(a, b) g = Greater(s, each) y = Cast<to = 1>(g)",
        "float[1, 5] y",
    ),
    "sign": ("s = Sub(a, b) y = Sign(s)", "float[1, 5] y"),
    "where": ("g = Less(a, b) y = Where(g, a, b)", "float[1, 5] y"),
    "a choice of a choice": (
        "g = Less(a, b) v = Where(g, a, b) h = Greater(v, a) i = Not(h) y = Where(i, v, three)",
        "float[1, 5] y",
    ),
    "first of the largest": ("y = ArgMax<axis = 1, keepdims = 0>(a)", "int64[1] y"),
    "first of the smallest": ("y = ArgMin<axis = 1>(a)", "int64[1, 1] y"),
    "smallest": ("y = ReduceMin<axes = [1]>(a)", "float[1, 1] y"),
    "element at a place": (
        "p = ArgMax<axis = 1>(a) n = Cast<to = 1>(p) i = Sub(n, places) j = Abs(i)"
        " k = Sub(one, j) h = Relu(k) y = Mul(h, b)",
        "float[1, 5] y",
    ),
    "rank": (
        "l = Gather<axis = 1>(a, first) r = Gather<axis = 1>(a, second) g = Greater(r, l)"
        " h = Cast<to = 1>(g) m = MatMul(h, counts) n = Add(m, places) i = Sub(n, two)"
        " j = Abs(i) k = Sub(one, j) o = Relu(k) y = Mul(o, a)",
        "float[1, 5] y",
    ),
    "distances": (
        "s = Reshape(a, wide) d = Sub(s, rows) y = ReduceSumSquare<axes = [1]>(d)",
        "float[3, 1] y",
    ),
    "weighted": (
        "g = Greater(a, b) h = Cast<to = 1>(g) i = Mul(h, table) "
        "y = ReduceSum<keepdims = 0>(i, last)",
        "float[3] y",
    ),
    "picked": ("s = Relu(a) i = Mul(s, picks) y = ReduceSum<keepdims = 0>(i, last)", "float[3] y"),
}
_FIRST, _SECOND = np.triu_indices(5, 1)
_COUNTS = np.zeros((10, 5), dtype=np.float32)
_COUNTS[np.arange(10), _FIRST], _COUNTS[np.arange(10), _SECOND] = 1, -1
CONSTANTS: Mapping[str, NDArray[Any]] = {
    "left": np.arange(5),
    "right": np.arange(5, 10),
    "one": np.array(1, dtype=np.float32),
    "two": np.array(2, dtype=np.float32),
    "three": np.array(3, dtype=np.float32),
    "each": np.array([-7, 0, 1, 3, 12], dtype=np.float32),
    "places": np.arange(5, dtype=np.float32),
    "first": _FIRST.astype(np.int64),
    "second": _SECOND.astype(np.int64),
    "counts": _COUNTS,
    "wide": np.array([1, 5]),
    "last": np.array([1]),
    "table": np.array(
        [[1.5, -2, 0, 4, 0.25], [0, 0, 3, 0, 0], [-3, 2.5, 1, 0, 8]], dtype=np.float32
    ),
    "picks": np.array([[0, 2, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=np.float32),
    "rows": np.array([[1, 2, 3, 4, 5], [0, 0, 0, 0, 0], [-3, 2, 1, 0, 8]], dtype=np.float32),
}


def model(body: str, output: str, size: int = 10) -> bytes:
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, {size}] x) => ({output}) {{ {body} }}"""
    )
    used = {name for node in made.graph.node for name in node.input}
    for name in sorted(used & {*CONSTANTS}):
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(CONSTANTS[name]), name))
    return bytes(made.SerializeToString())


def integers() -> NDArray[np.float32]:
    """Ties, neighbours, all signs, and the ends of the range."""
    rng = np.random.default_rng(3)
    drawn = rng.integers(-20, 21, (40, 10))
    few = rng.integers(-1, 2, (40, 10))
    ends = rng.choice([-20, 20], (40, 10))
    close = np.concatenate([drawn[:, :5], drawn[:, :5] + rng.integers(-1, 2, (40, 5))], axis=1)
    return np.concatenate([drawn, few, ends, np.clip(close, -20, 20)]).astype(np.float32)


def lowered(data: bytes, x: NDArray[np.float32]) -> tuple[Network, Steps]:
    """The integers of a network whose input counts in ones, in a table with room for all of it."""
    read, rows = read_network(data), [x.reshape(len(x), -1).astype(np.float64)]
    steps = choose_steps(
        read,
        responses(read.network, rows).extents,
        base=1 << 13,
        logrows=15,
        inputs=[InputSteps(scale=0, offset=1000)],
        margin=1.5,
    )
    check_steps(read, steps)
    return integer_network(read, steps), steps


@pytest.mark.parametrize("kind", KINDS)
def test_comparisons_are_exact_on_integers(kind: str) -> None:
    body, output = KINDS[kind]
    data, x = model(f"{_SPLIT} {body}", output), integers()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    expected = np.stack([session.run(None, {"x": row[None]})[0].reshape(-1) for row in x])
    network, steps = lowered(data, x)
    made = run(network, steps, [x.astype(np.int64)])
    assert not np.any(made.outside)
    (scale,) = output_scales(network, steps)
    found = np.ldexp(gathered(network.outputs[0], made.rows).astype(np.float64), -scale)
    tolerance = 2 if kind == "distances" else 0.05  # of 2000; what is decided is exact
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=tolerance)
    if "float" not in output or "Cast" in body.rpartition("y = ")[2]:
        assert np.array_equal(found.reshape(expected.shape), expected)


def test_an_index_takes_neither_products_nor_remainders() -> None:
    """How many of the largest so far are smaller than the largest, and what they choose."""
    body, output = KINDS["element at a place"]
    network, _ = lowered(model(f"{_SPLIT} {body}", output), integers())
    assert not any(isinstance(step, Local) and step.op == "rectify" for step in network.steps)
    assert len(network.sums) == 1


@pytest.mark.parametrize(
    "body",
    [
        "s = MatMul(x, swap) g = LessOrEqual(s, three) y = Cast<to = 1>(g)",
        "s = Slice(x, zero, one) g = Equal(three, s) y = Cast<to = 1>(g)",
        "y = Sign(x)",
    ],
)
def test_inputs_are_not_compared_with_constants(body: str) -> None:
    """Other circuits take their steps from the gaps between data and thresholds."""
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 2] x) => (float y) {{ {body} }}"""
    )
    constants = {
        "three": np.array(3, dtype=np.float32),
        "swap": np.array([[0, 1], [1, 0]], dtype=np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
    }
    for name, value in constants.items():
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    with pytest.raises(CannotLower, match="an input with a constant"):
        read_network(made.SerializeToString())


def test_counts_in_ones_have_no_other_steps() -> None:
    """A recipe in which an index counted in halves would be another function."""
    data, x = model(f"{_SPLIT} y = ArgMax<axis = 1, keepdims = 0>(a)", "int64[1] y"), integers()
    _, steps = lowered(data, x)
    (own,) = steps.sums
    for bent in (replace(own, scale=2.0), replace(own, digits=1), replace(own, shifts=(1,))):
        with pytest.raises(CannotLower, match=r"in ones|finer or longer"):
            check_steps(read_network(data), replace(steps, sums=(bent,)))


# --- how exact comparisons are -------------------------------------------------------------------


def classifier() -> FloatGraph:
    """A class by a threshold on a sum, which no output shows."""
    rng = np.random.default_rng(2)
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 8] x) => (float[1, 1] y) {
          h = MatMul(x, w) r = Relu(h) s = MatMul(r, v) g = Greater(s, zero) y = Cast<to = 1>(g)
        }""")
    for name, shape in (("w", (8, 6)), ("v", (6, 1))):
        weights = rng.normal(size=shape).astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(weights, name))
    made.graph.initializer.append(
        numpy_helper.from_array(np.array([0.1], dtype=np.float32), "zero")
    )
    return float_graph(made.SerializeToString(), [], 1)


def test_a_class_alone_does_not_decide_how_exact_its_score_is() -> None:
    """A few bits would do for the class of every sample."""
    graph = classifier()
    drawn = draw(graph.signature, {"x": (-1.0, 1.0)})
    task = LoweringTask(
        accepted={"x": (-1.0, 1.0)}, limbs=1, plan=drawn.plan[:8], held_out=drawn.held_out
    )
    made = committed_graphs(graph, task, True, Weights.SEALED)
    assert isinstance(made, list), made
    assert made
    for candidate in made:
        assert candidate.recipe is not None
        (quanta,) = committed_quanta(graph, candidate.recipe, drawn.plan).values()
        assert quanta.max() < 0.01 * 8


def smallest(graph: FloatGraph) -> tuple[dict[str, Any], Samples]:
    """The recipe of a model's smallest circuit, and the samples that it was chosen on."""
    drawn = draw(graph.signature, {"x": (-1.0, 1.0)})
    task = LoweringTask(
        accepted={"x": (-1.0, 1.0)}, limbs=1, plan=drawn.plan, held_out=drawn.held_out
    )
    made = committed_graphs(graph, task, True, Weights.SEALED)
    assert isinstance(made, list), made
    assert made[0].recipe is not None
    return made[0].recipe, drawn


def test_values_beside_a_threshold_are_counted_in_the_steps_of_the_circuit() -> None:
    graph = classifier()
    recipe, drawn = smallest(graph)
    quanta = committed_quanta(graph, recipe, drawn.plan)
    telling = near_graph(graph.plain, quanta)
    wide = near_graph(graph.plain, {name: 1000 * n for name, n in quanta.items()})
    assert telling is not None
    assert wide is not None
    samples = [*drawn.plan, *drawn.held_out]
    assert sum(near_counts(telling, samples)) <= 0.1 * len(samples)
    assert near_counts(wide, samples) == [1] * len(samples)


def test_a_rebuild_takes_a_class_that_few_random_inputs_turn() -> None:
    graph = classifier()
    recipe, _ = smallest(graph)
    other = draw(graph.signature, {"x": (-1.0, 1.0)}, seed=9)
    samples = [*other.plan, *other.held_out]
    recompiled(graph, recipe, samples, shown=True, weights=Weights.SEALED)
    inverted = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 8] x) => (float[1, 1] y) { s = ReduceSum<keepdims = 1>(x, one)
        g = Greater(s, three) y = Cast<to = 1>(g) }""")
    for name, value in (("one", np.array([1])), ("three", np.float32(0.3))):
        inverted.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    bent = replace(graph, reference=inverted.SerializeToString())
    with pytest.raises(CannotLower, match="of their range off"):
        recompiled(bent, recipe, samples, shown=True, weights=Weights.SEALED)


RARE: dict[str, tuple[str, str]] = {
    "class": ("s = MatMul(x, v) g = Greater(s, high) y = Cast<to = 1>(g)", "float[1, 1] y"),
    "branch": (
        "s = MatMul(x, v) g = Greater(s, high) u = MatMul(x, w) y = Where(g, u, three)",
        "float[1, 3] y",
    ),
    "class of a branch": (
        "s = MatMul(x, v) g = Greater(s, high) u = MatMul(x, w) z = Where(g, u, ahead)"
        " h = Greater(z, level) y = Cast<to = 1>(h)",
        "float[1, 3] y",
    ),
}


@pytest.mark.parametrize("kind", [*RARE])
def test_an_issuer_cannot_erase_what_few_random_inputs_show(kind: str) -> None:
    """A sum in steps so long that a rare answer is never given: on all other inputs nothing is
    off."""
    body, output = RARE[kind]
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]> g (float[1, 8] x) => ({output}) {{ {body} }}"""
    )
    rng = np.random.default_rng(4)
    constants = {
        "w": rng.normal(size=(8, 3)),
        "v": np.ones((8, 1)),
        "high": np.array([3.0]),
        "ahead": np.array([4.0, 0.0, 0.0]),
        "level": np.array([7.0, 0.5, 0.5]),
        "three": np.array(3.0),
    }
    used = {name for node in made.graph.node for name in node.input}
    for name in sorted(used & {*constants}):
        value = constants[name].astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    graph = float_graph(made.SerializeToString(), [], 1)
    accepted = {"x": (-1.0, 1.0)}
    drawn = draw(graph.signature, accepted)
    task = LoweringTask(accepted=accepted, limbs=1, plan=drawn.plan, held_out=drawn.held_out)
    circuits = committed_graphs(graph, task, True, Weights.SEALED)
    assert isinstance(circuits, list), circuits
    recipe = circuits[0].recipe
    assert recipe is not None
    other = draw(graph.signature, accepted, seed=9)
    samples = [*other.plan, *other.held_out]
    recompiled(graph, recipe, samples, shown=True, weights=Weights.SEALED)
    for number in range(len(recipe["steps"]["sums"])):
        bent = copy.deepcopy(recipe)
        bent["steps"]["sums"][number]["scale"] *= 2.0**-14
        with pytest.raises(CannotLower, match=r"far off|range off|in ones|too few"):
            recompiled(graph, bent, samples, shown=True, weights=Weights.SEALED)
