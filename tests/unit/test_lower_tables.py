"""Functions in tables: as exact as their steps, and never asked for what they do not hold."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from circuits.format.function_tables import TABLES
from circuits.format.tensors import quantised
from circuits.lower import (
    BitWidths,
    CannotLower,
    GraphVariant,
    choose_bits,
    lower,
    run_integers,
)
from tests.cases.integers import BOUND, VECTOR, answers, decoded, graph, inputs_of
from tests.cases.tables import TABLED


def error(data: bytes, bits: BitWidths) -> float:
    x = inputs_of(data)
    want = answers(data, x)
    got = decoded(lower(data, bits, BOUND), x).reshape(want.shape)
    return float(np.abs(want - got).max() / (want.max() - want.min()))


@pytest.mark.parametrize("name", TABLED)
def test_finer_tables_make_functions_as_exact_as_one_likes(name: str) -> None:
    coarse = error(TABLED[name], BitWidths(input=14, weights=(14,), table=5))
    fine = error(TABLED[name], BitWidths(input=14, weights=(14,), table=11))
    assert fine < 5e-3
    assert fine < coarse / 8 or coarse < 1e-4


@pytest.mark.parametrize("name", TABLED)
def test_no_accepted_input_leaves_a_table(name: str) -> None:
    bits = BitWidths(input=6, weights=(7,), table=7)
    variant = lower(TABLED[name], bits, BOUND)
    lowest, highest = variant.value_bounds.lookup or (0, 0)
    model = onnx.load_model_from_string(variant.onnx)
    entered = [n.input[0] for n in model.graph.node if n.op_type in TABLES]
    assert entered
    x = inputs_of(TABLED[name], 64)
    x[32:] = np.sign(x[32:])
    for operand in entered:
        del model.graph.output[:]
        model.graph.output.append(
            helper.make_tensor_value_info(operand, onnx.TensorProto.FLOAT, None)
        )
        shown = GraphVariant(**{**vars(variant), "onnx": model.SerializeToString()})
        values = run_integers(shown, {"x": quantised(x, bits.input)})[0]
        assert lowest <= values.min() <= values.max() <= highest


def test_values_are_held_to_where_the_function_moves() -> None:
    data = graph("a = MatMul(x, w) c = Mul(a, k) y = Sigmoid(c)", VECTOR, {"w": [6, 5], "k": [1]})
    model = onnx.load_model_from_string(data)
    scaled = next(t for t in model.graph.initializer if t.name == "k")
    scaled.CopyFrom(onnx.numpy_helper.from_array(np.array([40.0], np.float32), "k"))
    data = model.SerializeToString()
    bits = BitWidths(input=14, weights=(14,), table=7)
    held = lower(data, bits, BOUND)
    assert held.value_bounds.lookup is not None
    assert held.value_bounds.lookup[1] < 4 << bits.table
    x = inputs_of(data)
    want = answers(data, x)
    np.testing.assert_allclose(decoded(held, x).reshape(want.shape), want, atol=2.0**-5)


def test_bits_of_tables_are_as_few_as_the_tolerance_allows() -> None:
    data = TABLED["softmax"]
    samples = [{"x": s} for s in inputs_of(data, 64)]
    (coarse, *_), (fine, *_) = (
        choose_bits(data, samples, BOUND, tolerance, 0.9) for tolerance in (0.03, 0.003)
    )
    assert coarse.table < fine.table
    assert error(data, coarse) < 0.04
    assert error(data, fine) < 0.004


def test_a_logarithm_of_what_may_be_zero_is_refused() -> None:
    data = graph("a = MatMul(x, w) y = Log(a)", VECTOR, {"w": [6, 6]})
    with pytest.raises(CannotLower, match="may be 0"):
        lower(data, BitWidths(input=6, weights=(6,)), BOUND)


def test_powers_that_outgrow_the_engine_are_refused() -> None:
    data = graph("a = MatMul(x, w) y = Exp(a)", VECTOR, {"w": [6, 6]})
    with pytest.raises(CannotLower, match="outgrow"):
        lower(data, BitWidths(input=6, weights=(6,)), {"x": (-100.0, 100.0)})


def test_logarithms_of_shares_are_exact_far_below_the_largest() -> None:
    data = graph("a = MatMul(x, w) y = LogSoftmax<axis = -1>(a)", VECTOR, {"w": [6, 6]})
    x = 100 * inputs_of(data)
    bits = BitWidths(input=8, weights=(12,), table=8)
    got = decoded(lower(data, bits, {"x": (-100.0, 100.0)}), x)
    want = answers(data, x)
    assert want.min() < -100
    np.testing.assert_allclose(got.reshape(want.shape), want, atol=0.5)
