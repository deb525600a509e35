"""Committed circuits take no more cells than they have to, and none is looked for that has no
place."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from circuits.calibration.samples import draw
from circuits.committed.network import Convolution, Function, Local, Op
from circuits.format.commitments import Weights
from circuits.lower.committed import candidates
from circuits.lower.committed.candidates import committed_graphs
from circuits.lower.committed.circuit import write_circuit
from circuits.lower.committed.counting import least_cells
from circuits.lower.committed.functions import pieces
from circuits.lower.committed.quantising import responses
from circuits.lower.committed.reading import Read, read_network
from circuits.lower.graphs import LoweringTask
from circuits.plan.graphs import float_graph
from tests.cases.committed_networks import EVERY, arranged, model


def read(body: str, shape: str, **constants: np.ndarray) -> Read:
    made = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x) => (float y) {{ {body} }}'
    )
    for name, values in constants.items():
        made.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return read_network(onnx.shape_inference.infer_shapes(made).SerializeToString())


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_no_circuit_has_fewer_cells_than_the_least(name: str, shown: bool) -> None:
    network = read_network(model(name))
    least = least_cells(network.network, network.ones, shown=shown)
    made = arranged(name, shown=shown)
    results = [f"y{n}" for n in range(len(made.network.outputs))]
    cells = [
        write_circuit(made.network, made.steps, shown=shown, columns=columns, results=results).cells
        for columns in (1, 3)
    ]
    assert 0 < least <= min(cells)


def test_what_fits_no_size_is_refused_before_anything_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tried(*_: object) -> None:
        raise AssertionError("bits were looked for")

    monkeypatch.setattr(candidates, "Search", tried)
    made = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 1500, 1000] x) => (float[1, 1] y)'
        " { a = Relu(x) b = Flatten(a) y = ReduceSum<keepdims = 1>(b) }"
    )
    graph = float_graph(made.SerializeToString(), [], 1)
    drawn = draw(graph.signature, {"x": (-1.0, 1.0)})
    task = LoweringTask(
        accepted={"x": (-1.0, 1.0)}, limbs=1, plan=drawn.plan[:1], held_out=drawn.held_out[:1]
    )
    found = committed_graphs(graph, task, False, Weights.SEALED)
    assert found == "it needs more than 4 columns of 2^20 rows"


def test_a_formula_of_a_product_with_a_bias_is_one_function() -> None:
    """GELU as exporters write it: were the bias no part of the product, each reader of their sum
    would have rows of its own."""
    body = """h = MatMul(x, w) b = Add(bias, h)
      c = Mul(b, third) d = Mul(c, b) e = Mul(d, b) f = Add(b, e) g = Mul(f, root) t = Tanh(g)
      p = Add(one, t) q = Mul(half, b) r = Mul(q, p) y = MatMul(r, v)"""
    rng = np.random.default_rng(0)
    found = read(
        body,
        "3, 4",
        w=rng.normal(size=(4, 5)),
        v=rng.normal(size=(5, 2)),
        bias=rng.normal(size=5),
        third=np.array(0.044715),
        root=np.array(0.797885),
        one=np.array(1.0),
        half=np.array(0.5),
    )
    kinds = [[type(term) for term in step.terms] for _, step in found.network.sums]
    assert kinds == [[Convolution], [Function], [Convolution]]
    assert np.any(found.network.sums[0][1].bias)


def test_a_bias_is_no_part_of_a_product_that_others_read() -> None:
    found = read(
        "h = MatMul(x, w) b = Add(h, bias) r = Relu(b) s = Relu(h) y = Concat<axis = 0>(r, s)",
        "3, 4",
        w=np.eye(4),
        bias=np.ones(4),
    )
    x = np.linspace(-2, 2, 12).reshape(1, 12)
    (y,) = responses(found.network, [x]).outputs
    want = np.maximum(np.concatenate([x + 1, x], axis=1), 0)
    np.testing.assert_allclose(y, want)


@pytest.mark.parametrize("masked", [-10.0, -1e9])
def test_a_softmax_looks_up_what_a_row_repeats_once(masked: float) -> None:
    """A causal mask: scores above the diagonal are one number, or none."""
    size = 6
    allowed = np.tril(np.ones((size, size)))
    found = read(
        "s = MatMul(x, w) m = Mul(s, allowed) k = Add(m, masked) y = Softmax<axis = -1>(k)",
        f"{size}, 4",
        w=np.arange(4 * size).reshape(4, size) / 20,
        allowed=allowed,
        masked=(1 - allowed) * masked,
    )
    steps = found.network.steps
    (below,) = [s for s in steps if isinstance(s, Local) and s.op is Op.RECTIFY]
    lone = size - 1 if masked > -1e4 else 0
    assert below.size == allowed.sum() + lone
    x = np.random.default_rng(0).normal(size=(5, size * 4))
    (y,) = responses(found.network, [x]).outputs
    scores = (x.reshape(5, size, 4) @ (np.arange(4 * size).reshape(4, size) / 20)) * allowed
    powers = np.exp(scores + (1 - allowed) * masked)
    np.testing.assert_allclose(
        y.reshape(5, size, size), powers / powers.sum(axis=-1, keepdims=True), atol=1e-6
    )


def test_pieces_may_be_nearer_where_that_is_asked_for() -> None:
    values = 1000 * np.exp(-np.arange(400) / 40)
    error = np.clip(values / 100, 1.0, None)
    ends = pieces(values, error)
    lines = np.interp(np.arange(400), ends, values[ends])
    assert np.all(np.abs(lines - values) <= error)
    assert len(pieces(values, 10.0)) < len(ends) < len(pieces(values, 1.0))
