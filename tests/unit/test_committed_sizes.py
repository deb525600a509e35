"""How large circuits with committed hints become: what their tables and pieces are chosen for."""

from __future__ import annotations

import numpy as np
from onnx import parser

from circuits.calibration.accuracy import MOST_SERVED, compare
from circuits.calibration.reference import run_reference
from circuits.calibration.samples import Sample, draw
from circuits.committed.arithmetic import Steps
from circuits.format.commitments import Weights
from circuits.lower.committed.choosing.candidates import committed_graphs
from circuits.lower.committed.choosing.sampling import inputs_of, run_samples
from circuits.lower.committed.quantising.steps import integer_network
from circuits.lower.committed.reading.network import read_network
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask
from circuits.plan.graphs import float_graph

#: Divides by the spread of each row, of which the corners of the range have none.
NORMALISED = (
    "n = LayerNormalization<axis = -1>(x, one) m = MatMul(n, w) s = Softmax<axis = -1>(m)"
    " y = MatMul(s, w)"
)


def normalised(body: str) -> tuple[FloatGraph, tuple[Sample, ...]]:
    rng = np.random.default_rng(3)
    weights = ", ".join(f"{v:.4f}" for v in rng.normal(size=64) / 2)
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4, 8] x) => (float[1, 4, 8] y)'
        f" <float[8] one = {{{', '.join(['1.0'] * 8)}}}, float[8, 8] w = {{{weights}}}>"
        f" {{ {body} }}"
    )
    samples = tuple({"x": rng.normal(size=(1, 4, 8)).astype(np.float32)} for _ in range(24))
    return float_graph(parser.parse_model(text).SerializeToString(), samples[:2], 1), samples


def circuits(body: str) -> tuple[list[LoweredGraph], LoweringTask, FloatGraph]:
    graph, samples = normalised(body)
    task = LoweringTask(
        accepted={"x": (-4.0, 4.0)}, limbs=1, plan=samples[:12], held_out=samples[12:]
    )
    found = committed_graphs(graph, task, True, Weights.SEALED)
    assert isinstance(found, list)
    return found, task, graph


def area(made: LoweredGraph) -> int:
    assert made.size is not None
    logrows, columns, _ = made.size
    return columns << logrows


def test_a_corner_that_would_cost_a_third_of_a_circuit_is_not_held() -> None:
    found, task, graph = circuits(NORMALISED)
    held = [made for made in found if made.holds_corners]
    small = [made for made in found if not made.holds_corners]
    assert small
    assert all(area(made) <= 0.7 * min(map(area, held)) for made in small if held)
    wanted = run_reference(graph.reference, list(task.held_out))
    assert compare(wanted, small[0].answers).max_error <= task.max_error
    # As a rebuild asks, inputs from all of the accepted range have proofs.
    others = inputs_of(graph, draw(graph.signature, task.accepted, seed=9).plan)
    assert small[0].recipe is not None
    steps = Steps.from_json(small[0].recipe["steps"])
    network = integer_network(read_network(graph.plain), steps)
    assert run_samples(network, steps, others).outside.mean() <= (1 - MOST_SERVED) / 2


def test_corners_that_cost_little_are_held() -> None:
    found, _, _ = circuits("m = MatMul(x, w) r = Relu(m) y = MatMul(r, w)")
    assert found
    assert all(made.holds_corners for made in found)


def test_weights_of_a_mean_keep_their_bits() -> None:
    """A mean over many elements has small weights, which one remainder would leave few bits."""
    rng = np.random.default_rng(4)
    weights = ", ".join(f"{v:.4f}" for v in rng.normal(size=12) / 2)
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4, 16, 16] x) => (float[1, 3] y)'
        f" <float[4, 3] w = {{{weights}}}> {{ m = GlobalAveragePool(x) f = Flatten(m)"
        " y = MatMul(f, w) }"
    )
    levels = rng.uniform(size=(24, 1, 4, 1, 1))
    values = (levels + 0.1 * rng.normal(size=(24, 1, 4, 16, 16))).astype(np.float32)
    samples = tuple({"x": value} for value in values)
    graph = float_graph(parser.parse_model(text).SerializeToString(), samples[:2], 1)
    task = LoweringTask(
        accepted={"x": (-1.0, 2.0)}, limbs=1, plan=samples[:12], held_out=samples[12:]
    )
    found = committed_graphs(graph, task, True, Weights.SEALED)
    assert isinstance(found, list)
    wanted = run_reference(graph.reference, list(task.held_out))
    assert compare(wanted, found[0].answers).max_error < 0.003
