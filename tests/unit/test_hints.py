"""Results given to a circuit: right ones leave no residue, and no other ones can."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from circuits.field import P, from_felt, to_felt
from circuits.integers.hints import results_for
from circuits.integers.interpreter import Graph, run_graph
from circuits.lower import Bits, Form, GraphVariant, lower, run_integers
from circuits.lower.variant import Hinted
from tests.unit.test_lower_integers import BOUND, MODELS, graph

Array = NDArray[Any]
BITS = Bits(input=5, weights=(6, 7))

DENSE = graph(
    "a = Gemm(x, w, b) r = Relu(a) y = MatMul(r, w2)",
    "float[1, 30] x",
    {"w": [30, 17], "b": [17], "w2": [17, 5]},
)
IMAGE = graph(
    "a = Conv<pads = [1, 1, 1, 1], strides = [1, 1]>(x, w, b) r = Relu(a)"
    " p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)"
    " c = Conv<pads = [0, 0, 0, 0], strides = [1, 1]>(p, k, d) s = Relu(c)"
    " f = Flatten(s) y = Gemm(f, z, e)",
    "float[1, 2, 6, 6] x",
    {"w": [6, 2, 3, 3], "b": [6], "k": [5, 6, 2, 2], "d": [5], "z": [20, 4], "e": [4]},
)
#: Both branches of the sum are products: the first is computed, the second is given.
FORKED = graph(
    "a = MatMul(x, w) c = MatMul(x, v) s = Add(a, c) r = Relu(s) y = MatMul(r, z)",
    "float[1, 30] x",
    {"w": [30, 17], "v": [30, 17], "z": [17, 5]},
)
#: Nothing bounds what the first product gives but the second.
LINEAR = graph("a = MatMul(x, w) y = MatMul(a, z)", "float[1, 30] x", {"w": [30, 17], "z": [17, 5]})
GIVEN = {"dense": (DENSE, 2), "image": (IMAGE, 3), "forked": (FORKED, 2), "linear": (LINEAR, 1)}


def hinted(data: bytes) -> tuple[GraphVariant, Hinted]:
    variant = lower(data, BITS, BOUND, Form(hints=True))
    assert variant.hinted is not None
    return variant, variant.hinted


def answers(made: Hinted, x: Array, hints: list[Array]) -> list[Array]:
    """All outputs of the graph that the engine gets, in whole numbers."""
    parsed = Graph(made.onnx)
    feeds = dict(zip(parsed.inputs, [x, *hints], strict=True))
    return run_graph(parsed, feeds, object)


def right_hints(made: Hinted, x: Array) -> list[Array]:
    felts = [to_felt(int(n)) for n in x.reshape(-1)]
    shapes = list(Graph(made.onnx).shapes.values())[1:]
    found = results_for(made.hints, [felts, [to_felt(9)]])
    return [
        np.array([from_felt(f) for f in felts], dtype=object).reshape(-1, *shape)
        for felts, shape in zip(found, shapes, strict=True)
    ]


def inputs(data: bytes, seed: int, samples: int = 3) -> Array:
    (value,) = onnx.load_model_from_string(data).graph.input
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    return np.random.default_rng(seed).integers(-32, 33, (samples, *shape))


@pytest.mark.parametrize("name", GIVEN)
def test_right_results_give_the_same_answers_and_no_residue(name: str) -> None:
    data, count = GIVEN[name]
    variant, made = hinted(data)
    x = inputs(data, 1)
    hints = right_hints(made, x)
    assert len(hints) == count
    shown, output, residues = answers(made, x, hints)
    np.testing.assert_array_equal(shown, x)
    np.testing.assert_array_equal(output, run_integers(variant, {"x": x})[0])
    assert residues.shape == (3, 1, made.residues)
    assert not np.any(residues)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_the_same_with_results_given(name: str) -> None:
    variant = lower(MODELS[name], BITS, BOUND, Form(hints=True))
    plain = lower(MODELS[name], BITS, BOUND)
    assert variant.onnx == plain.onnx
    if variant.hinted is None:
        return
    x = inputs(MODELS[name], 2)
    _, *outputs, residues = answers(variant.hinted, x, right_hints(variant.hinted, x))
    for got, want in zip(outputs, run_integers(plain, {"x": x}), strict=True):
        np.testing.assert_array_equal(got, want)
    assert not np.any(residues)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_other_results_that_the_circuit_lets_pass_leave_no_residue(data: Any) -> None:
    """Differences up to what digits and output bounds hold, in the first product and the last."""
    _, made = hinted(DENSE)
    x = inputs(DENSE, 4, 1)
    hints = right_hints(made, x)
    digits = (1 << made.most_bits) - 1
    which = data.draw(st.integers(0, 1))
    most = digits if which == 0 else made.output_bounds[0]
    off = data.draw(
        st.lists(
            st.integers(-most, most), min_size=hints[which].size, max_size=hints[which].size
        ).filter(any)
    )
    wrong = [h.copy() for h in hints]
    changed = np.array(off, dtype=object).reshape(hints[which].shape)
    wrong[which] = np.clip(hints[which] + changed, -most, most)
    if np.array_equal(wrong[which], hints[which]):
        return
    *_, residues = answers(made, x, wrong)
    assert any(int(r) % P for r in residues.reshape(-1))


def test_what_would_leave_no_residue_is_larger_than_digits_hold() -> None:
    """A carry from one result to its neighbour cancels out: it is the bounds that forbid it."""
    variant, made = hinted(DENSE)
    x = inputs(DENSE, 5, 1)
    hints = right_hints(made, x)
    carry = apart_of(made)
    wrong = [h.copy() for h in hints]
    wrong[0][0, 0, 0, 0] += 1 << carry
    wrong[0][0, 0, 0, 1] -= 1
    *_, residues = answers(made, x, wrong)
    first = residues.reshape(-1)[: -(-17 // 9)]
    assert not np.any(first[0] % P), "the carry is that of the packing"
    true = variant.value_bounds.decomposed
    assert (1 << carry) > true + (1 << made.most_bits) - 1
    assert wrong[0][0, 0, 0, 0] > (1 << made.most_bits) - 1 + true


def apart_of(made: Hinted, product: int = 0) -> int:
    """By how many bits the results of one of the products lie apart: its second power's."""
    parsed = Graph(made.onnx)
    powers = [
        parsed.constants[n.input[1]]
        for n in parsed.nodes
        if n.op_type == "MatMul" and _is_powers(parsed.constants[n.input[1]])
    ]
    return int(powers[product][1, 0]).bit_length() - 1


def _is_powers(weights: Array) -> bool:
    """Whether a product sums results times powers of two."""
    return weights.shape[1] == 1 and [int(w) & (int(w) - 1) for w in weights[:, 0]] == [0] * len(
        weights
    )


def test_sums_stay_below_the_modulus() -> None:
    for data, _ in GIVEN.values():
        _, made = hinted(data)
        parsed = Graph(made.onnx)
        for node in parsed.nodes:
            weights = parsed.constants.get(node.input[1]) if node.op_type == "MatMul" else None
            if weights is not None and _is_powers(weights):
                apart = int(weights[1, 0]).bit_length() - 1
                assert apart * len(weights) <= 253 < P.bit_length()


def test_pooled_results_are_bounded_by_their_maximum_and_their_distances() -> None:
    """Four values under a maximum: each at most one span of digits above it, three below."""
    variant, made = hinted(IMAGE)
    digits = (1 << made.most_bits) - 1
    apart = apart_of(made)
    assert (1 << apart) > 3 * digits + variant.value_bounds.decomposed > (1 << (apart - 2))


def test_a_product_with_rows_of_its_own_zeros_keeps_its_bias() -> None:
    """Results carry the bias: nothing is added to them in the circuit."""
    _, made = hinted(DENSE)
    assert [n.op_type for n in Graph(made.onnx).nodes].count("Add") == 1


def test_equal_calls_give_equal_bytes() -> None:
    assert hinted(IMAGE)[1] == hinted(IMAGE)[1]
