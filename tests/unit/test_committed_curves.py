"""Curves: what a model makes of one input element in many steps is one function of it."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.calibration.samples import draw
from circuits.committed.arithmetic import Steps, output_scales
from circuits.committed.network import Function, Kind, Local, Sum
from circuits.format.commitments import Weights
from circuits.lower.committed.choosing.candidates import committed_graphs, committed_quanta
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.choosing.sampling import answers_of, run_samples
from circuits.lower.committed.quantising.steps import integer_network
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask
from circuits.lower.thresholds import near_counts, near_graph
from circuits.plan.graphs import float_graph

#: Yeo-Johnson's power, as skl2onnx has it after the passes.
POWER = """
    r = Relu(x) a = Add(r, one) l = Log(a) m = Mul(l, powers) e = Exp(m) s = Sub(e, one)
    y = Div(s, powers)"""
#: Between the ends of a column's tenth a line, beyond them a constant; at the upper end of one
#: column, on which much data lies, the middle between what is below and above.
STEPS = """
    g = GreaterOrEqual(x, low) h = Greater(x, high) o = Sub(x, low) t = Mul(o, slopes)
    u = Where(g, t, zeros) v = Where(h, ones, u) i = Equal(x, high) y = Where(i, middle, v)"""
CONSTANTS = {
    "one": 1.0,
    "powers": [[-0.3, 0.04, 1.1]],
    "low": [[0.2, 0.3, 0.7]],
    "high": [[1.3, 2.1, 3.3]],
    "slopes": [[0.5, 0.4, 0.1]],
    "zeros": [[0.0, 0.0, 0.0]],
    "ones": [[1.0, 0.9, 0.8]],
    "middle": [[0.77, 0.81, 0.53]],
    "mixing": [[1.0, 0.5, 0.2], [0.3, -1.0, 0.4], [0.7, 0.1, -1.0]],
}
RANGE = {"x": (-1.0, 4.0)}


def model(body: str, output: str = "float[1, 3] y") -> bytes:
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]> g (float[1, 3] x) => ({output}) {{ {body} }}"""
    )
    used = {name for node in made.graph.node for name in node.input}
    for name in sorted(used & {*CONSTANTS}):
        array = np.array(CONSTANTS[name], dtype=np.float32)
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    return bytes(made.SerializeToString())


def answers(data: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = np.concatenate([session.run(None, {"x": r[None]})[0] for r in x])
    return found


def rows(count: int, seed: int = 5) -> NDArray[np.float32]:
    """Rows with tenths, as measurements have them."""
    drawn = np.random.default_rng(seed).integers(0, 40, (count, 3)).astype(np.float32)
    return np.asarray(drawn / 10, dtype=np.float32)


def planned(body: str) -> tuple[FloatGraph, LoweredGraph]:
    """The smallest circuit."""
    graph = float_graph(model(body), [], 1)
    plan, held_out = (tuple({"x": row[None]} for row in rows(60, seed)) for seed in (5, 6))
    task = LoweringTask(accepted=RANGE, limbs=1, plan=plan, held_out=held_out, agreement=0.0)
    made = committed_graphs(graph, task, True, Weights.SEALED)
    assert isinstance(made, list), made
    return graph, made[0]


@pytest.mark.parametrize("body", [POWER, STEPS])
def test_what_is_made_of_one_element_is_one_function(body: str) -> None:
    network = read_network(float_graph(model(body), [], 1).plain).network
    *curves, last = network.steps
    assert len(curves) == 3
    assert all(isinstance(s, Sum) and isinstance(s.terms[0], Function) for s in curves)
    assert isinstance(last, Sum)
    assert last.kind == "result"
    x = np.concatenate([np.random.default_rng(1).uniform(-1, 4, (200, 3)), CONSTANTS["high"]])
    x = x.astype(np.float32)
    found = responses(network, [x.astype(np.float64)]).outputs[0]
    np.testing.assert_allclose(found, answers(model(body), x), atol=1e-5)


@pytest.mark.parametrize("body", [POWER, STEPS])
def test_its_integers_are_as_near_as_the_table_is_fine(body: str) -> None:
    """On numbers that the model compares with, too, on which much data lies."""
    graph, made = planned(body)
    x = rows(300, seed=7)
    assert np.all(np.any(x == np.array(CONSTANTS["high"], dtype=np.float32), axis=0))
    assert made.recipe is not None
    steps = Steps.from_json(made.recipe["steps"])
    network = integer_network(read_network(graph.plain), steps)
    wanted = answers(model(body), x)
    scales = output_scales(network, steps)
    made_of = run_samples(network, steps, [x.astype(np.float64)])
    found = answers_of(graph, network, scales, made_of.rows)
    off = np.abs(np.concatenate([row[0] for row in found]) - wanted)
    assert off.max() <= 0.01 * (wanted.max() - wanted.min())


@pytest.mark.parametrize(
    "body",
    [
        "g = Equal(x, low) y = Cast<to = 1>(g)",
        "g = Equal(x, low) c = Cast<to = 1>(g) y = MatMul(c, mixing)",
        "g = Equal(x, low) m = MatMul(x, mixing) y = Where(g, m, zeros)",
    ],
)
def test_an_equality_that_decides_alone_or_of_others_is_no_curve(body: str) -> None:
    """Other circuits are exact at thresholds."""
    with pytest.raises(CannotLower, match="an input with a constant"):
        read_network(model(body))


@pytest.mark.parametrize(
    "body",
    [
        "g = Greater(x, low) y = Cast<to = 1>(g)",
        "g = Greater(x, low) c = Cast<to = 1>(g) d = Mul(c, ones) y = MatMul(d, mixing)",
    ],
)
def test_codes_are_no_curves(body: str) -> None:
    """Comparisons have steps in which they are exact."""
    sums = [step for _, step in read_network(model(body)).network.sums]
    assert any(step.kind is Kind.DECIDED for step in sums)
    assert not any(isinstance(term, Function) for step in sums for term in step.terms)


def test_curves_are_mixed_like_other_values() -> None:
    body = STEPS.replace("y = Where(i", "w = Where(i") + " y = MatMul(w, mixing)"
    network = read_network(float_graph(model(body), [], 1).plain).network
    x = rows(100)
    found = responses(network, [x.astype(np.float64)]).outputs[0]
    np.testing.assert_allclose(found, answers(model(body), x), atol=1e-5)
    assert not any(isinstance(step, Local) for step in network.steps)


# --- who rebuilds, and who is told ---------------------------------------------------------------


def test_a_rebuild_takes_it_on_any_inputs() -> None:
    """Also on those within a step of a number at which the function jumps."""
    graph, made = planned(STEPS)
    assert made.recipe is not None
    for seed in range(8):
        drawn = draw(graph.signature, RANGE, seed=seed)
        samples = [*drawn.plan, *drawn.held_out]
        recompiled(graph, made.recipe, samples, shown=True, weights=Weights.SEALED)


def test_a_recipe_does_not_say_where_its_pieces_begin() -> None:
    """Constants of the model decide that, and nobody else: not an issuer, who could pass by what it
    has at a single number."""
    graph, made = planned(STEPS)
    recipe = json.loads(json.dumps(made.recipe))
    assert [own["kinks"] for own in recipe["steps"]["sums"]] == [[[]]] * 3 + [[]]
    recipe["steps"]["sums"][1]["kinks"] = [[1, 2]]
    with pytest.raises(CannotLower, match="pieces are not its own"):
        recompiled(graph, recipe, [], shown=True, weights=Weights.SEALED)


@pytest.mark.parametrize("weights", [Weights.SHOWN, Weights.PRIVATE])
def test_weights_that_are_no_constants_are_in_no_curve(weights: Weights) -> None:
    assert any(isinstance(s, Local) for s in read_network(model(POWER), weights).network.steps)
    with pytest.raises(CannotLower, match="an input with a constant"):
        read_network(model(STEPS), weights)


def test_values_beside_a_threshold_are_counted_in_the_input_s_steps() -> None:
    graph, made = planned(STEPS)
    assert made.recipe is not None
    step = 2.0 ** -made.recipe["steps"]["inputs"][0]["scale"]
    quanta = committed_quanta(graph, made.recipe, [{"x": row[None]} for row in rows(50)])
    assert quanta
    assert all(quantum == pytest.approx(step) for quantum in quanta.values())
    telling = near_graph(graph.plain, quanta)
    assert telling is not None
    samples = [
        {"x": np.array([[0.0, 0.3 + side * step, 0.0]], dtype=np.float32)} for side in (0.4, 0.0)
    ]
    assert near_counts(telling, samples) == [1, 0]
