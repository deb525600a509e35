"""Lowering to integers: rounding is the only error, and bounds hold for every accepted input."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from circuits.format.tensors import quantised
from circuits.integers.interpreter import parsed
from circuits.lower import (
    BitWidths,
    CannotLower,
    GraphVariant,
    choose_bits,
    lower,
    run_integers,
)
from circuits.rewrite import rewrite
from tests.cases.integers import (
    BOUND,
    MODELS,
    VECTOR,
    answers,
    decoded,
    graph,
    inputs_of,
)


def error(data: bytes, bits: BitWidths) -> float:
    x = inputs_of(data)
    want = answers(data, x)
    got = decoded(lower(data, bits, BOUND), x).reshape(want.shape)
    return float(np.abs(want - got).max() / (want.max() - want.min()))


@pytest.mark.parametrize("name", MODELS)
def test_more_bits_make_the_integers_as_exact_as_one_likes(name: str) -> None:
    coarse = error(MODELS[name], BitWidths(input=5, weights=(6,)))
    fine = error(MODELS[name], BitWidths(input=14, weights=(15,)))
    assert fine < 1e-3
    assert fine < coarse / 20


@pytest.mark.parametrize(("low", "high", "inside"), [(0, 5, True), (-1, 5, False), (0, 6, False)])
def test_a_table_is_looked_up_only_within_its_bounds(low: int, high: int, inside: bool) -> None:
    """ONNX counts a negative place from the end, and has no answer for one beyond."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (int64[1, 3] x) => (float[1, 3, 2] y)
    <float[6, 2] t = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}> { y = Gather(t, x) }"""
    data = parser.parse_model(text).SerializeToString()
    bits = BitWidths(input=6, weights=(12,))
    if not inside:
        with pytest.raises(CannotLower):
            lower(data, bits, {"x": (low, high)})
        return
    variant = lower(data, bits, {"x": (low, high)})
    x = np.array([[[0, 5, 3]], [[1, 1, 4]]])
    (got,) = run_integers(variant, {"x": x})
    want = np.arange(12).reshape(6, 2)[x]
    np.testing.assert_allclose(np.ldexp(got.astype(float), -variant.output_scales[0]), want)


@pytest.mark.parametrize("name", MODELS)
def test_tables_change_the_cost_and_not_one_integer(name: str) -> None:
    bits = BitWidths(input=6, weights=(7,))
    x = inputs_of(MODELS[name])
    by_digits, by_table = (
        decoded(lower(MODELS[name], bits, BOUND, tables=tables), x) for tables in (False, True)
    )
    np.testing.assert_array_equal(by_digits.reshape(-1), by_table.reshape(-1))


@pytest.mark.parametrize("name", MODELS)
def test_no_accepted_input_exceeds_the_bounds(name: str) -> None:
    """Every ReLU becomes an output, and corners of the range are tried."""
    variant = lower(MODELS[name], BitWidths(input=6, weights=(7,)), BOUND)
    model = onnx.load_model_from_string(variant.onnx)
    seen = [n.input[0] for n in model.graph.node if n.op_type in ("Abs", "Relu")]
    x = inputs_of(MODELS[name], 64)
    x[32:] = np.sign(x[32:])
    for name_ in seen:
        del model.graph.output[:]
        model.graph.output.append(
            helper.make_tensor_value_info(name_, onnx.TensorProto.FLOAT, None)
        )
        shown = GraphVariant(**{**vars(variant), "onnx": model.SerializeToString()})
        values = run_integers(shown, {"x": quantised(x, 6)})[0]
        assert np.abs(values).max() <= variant.value_bounds.decomposed


def test_what_goes_to_the_other_child_is_no_larger_than_what_came() -> None:
    """``a - a · t`` of a truth t; of a share between 0 and 1, whose product is rounded, nothing is
    said beyond the formula."""

    def most(share: str) -> int:
        body = f"d = MatMul(x, w) {share} m = Mul(d, e) r = Sub(d, m) y = Relu(r)"
        data = graph(body, VECTOR, {"w": [6, 6], "t": [6]})
        return lower(data, BitWidths(input=6, weights=(7,)), BOUND).value_bounds.decomposed

    alone = graph("d = MatMul(x, w) y = Relu(d)", VECTOR, {"w": [6, 6], "t": [6]})
    came = lower(alone, BitWidths(input=6, weights=(7,)), BOUND).value_bounds.decomposed
    assert most("c = Greater(x, t) e = Cast<to = 1>(c)") == came
    assert most("e = HardSigmoid(x)") > came


def test_equal_arguments_give_equal_bytes() -> None:
    data = MODELS["conv, norm, max pool"]
    bits = BitWidths(input=6, weights=(7,))
    assert lower(data, bits, BOUND).onnx == lower(data, bits, BOUND).onnx


def test_with_tables_no_relu_and_no_maximum_is_decomposed() -> None:
    data = MODELS["conv, norm, max pool"]
    bits = BitWidths(input=6, weights=(7,))
    plain, variant = (lower(data, bits, BOUND, tables=tables) for tables in (False, True))
    kinds = [n.op_type for n in onnx.load_model_from_string(variant.onnx).graph.node]
    assert kinds.count("HardSwish") > 1
    assert plain.value_bounds.lookup is None
    assert variant.value_bounds.decomposed <= 1
    assert max(variant.value_bounds.lookup or ()) <= plain.value_bounds.decomposed


def test_a_transposed_convolution_multiplies_none_of_its_gaps() -> None:
    """With a stride of 2 in two directions three of four places are gaps."""
    data = graph(
        "y = ConvTranspose<strides = [2, 2]>(x, w)", "float[1, 2, 8, 8] x", {"w": [2, 3, 4, 4]}
    )
    variant = lower(data, BitWidths(input=6, weights=(7,)), BOUND)
    products = [n for n in parsed(variant.onnx).nodes if n.op_type == "MatMul"]
    inner = [parsed(variant.onnx).constants[n.input[1]].shape[0] for n in products]
    assert inner == [2 * 2 * 2] * 4


def test_values_that_outgrow_the_engine_are_divided_down() -> None:
    body = " ".join(f"a{i + 1} = Mul(a{i}, a{i})" for i in range(4))
    data = graph(f"a0 = MatMul(x, w) {body} y = MatMul(a4, w)", VECTOR, {"w": [6, 6]})
    variant = lower(data, BitWidths(input=12, weights=(12,)), BOUND)
    assert variant.value_bounds.largest.bit_length() < 120
    x = inputs_of(data)
    want = answers(data, x)
    np.testing.assert_allclose(decoded(variant, x), want, atol=0.01 * np.ptp(want))


def test_a_product_that_is_then_divided_overflows_in_no_simulation() -> None:
    """Before its table a product of many factors has more bits than 64, and then few."""
    body = "s = Mul(x, x) c = Mul(s, x) k = Mul(c, w) a = Add(x, k) m = Mul(a, u) y = Tanh(m)"
    data = graph(body, VECTOR, {"w": [1], "u": [1]})
    variant = lower(data, BitWidths(input=14, weights=(), table=12), BOUND)
    x = inputs_of(data)
    np.testing.assert_allclose(decoded(variant, x), answers(data, x), atol=1e-3)


def test_what_is_no_map_of_integers_is_named() -> None:
    data = graph("a = MatMul(x, w) s = Sin(a) y = Relu(s)", VECTOR, {"w": [6, 6]})
    with pytest.raises(CannotLower, match="Sin"):
        lower(data, BitWidths(input=6, weights=(6,)), BOUND)


def test_comparisons_are_exact_on_the_rounded_input() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4] x) => (float y)
    <float[4] t = {0.375, -0.5, 0.25, -0.625}>
    { a = Less(x, t) b = Cast<to = 1>(a) c = GreaterOrEqual(x, t) d = Cast<to = 1>(c)
      e = Greater(x, t) f = Cast<to = 1>(e) h = LessOrEqual(x, t) i = Cast<to = 1>(h)
      y = Concat<axis = 1>(b, d, f, i) }"""
    data = rewrite(parser.parse_model(text).SerializeToString()).onnx
    # Inputs and thresholds are multiples of the quantum: nothing is lost by rounding.
    x = np.round(inputs_of(data, 200) * 8).astype(np.float32) / 8
    variant = lower(data, BitWidths(input=3, weights=()), BOUND)
    np.testing.assert_array_equal(decoded(variant, x), answers(data, x))


def test_chosen_bits_keep_the_tolerance_and_the_cheap_choice_is_shorter() -> None:
    data = MODELS["conv, norm, max pool"]
    samples = [{"x": s} for s in inputs_of(data, 16)]
    choices = choose_bits(data, samples, BOUND, max_error=0.02, agreement=0.9)
    assert len(choices) == 2
    errors = [error(data, bits) for bits in choices]
    assert errors[1] < errors[0] < 0.03
    sizes = [lower(data, bits, BOUND).value_bounds.decomposed for bits in choices]
    assert sizes[0] < sizes[1]


def test_a_decision_is_as_exact_as_its_score_may_be_close() -> None:
    """A class alone agrees on every sample long before the score that decides it is exact."""
    rng = np.random.default_rng(0)
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 300] x) => (float[1, 1] y)'
        " <float zero = {0}> { s = MatMul(x, w) d = Greater(s, zero) y = Cast<to = 1>(d) }"
    )
    weights = rng.normal(0, 1, (300, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    data = rewrite(model.SerializeToString()).onnx
    draws = rng.uniform(0, 0.06, (400, 1, 300)).astype(np.float32)
    samples = [{"x": x} for x in draws[:40]]
    (coarse, *_) = choose_bits(data, samples, {"x": (0.0, 0.06)}, 0.01, 0.99)
    variant = lower(data, coarse, {"x": (0.0, 0.06)})
    got = run_integers(variant, {"x": quantised(draws, variant.input_scales[0])})[0]
    scores = (draws.reshape(400, 300) @ weights).reshape(-1)
    clear = np.abs(scores) > 0.01 * (scores.max() - scores.min())
    assert clear.sum() > 380
    np.testing.assert_array_equal(got.reshape(-1)[clear], scores[clear] > 0)


def test_an_output_without_elements_says_nothing_of_bits() -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 3] x)'
        " => (float[1, 3] y, float[1, 0] z) <int64[1] zero = {0}, int64[1] one = {1}>"
        " { y = Relu(x) z = Slice(y, zero, zero, one) }"
    )
    draws = np.random.default_rng(0).uniform(-1, 1, (8, 1, 3)).astype(np.float32)
    samples = [{"x": x} for x in draws]
    assert choose_bits(rewrite(model.SerializeToString()).onnx, samples, BOUND, 0.01, 0.99)


def test_an_input_that_is_itself_compared_is_no_hindrance() -> None:
    """Integers as the model takes them: nothing between an input and its comparison."""
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 3] x, float[1, 3] z)'
        " => (float[1, 3] y) <float two = {2}> { e = Greater(z, two)"
        " c = Cast<to = 1>(e) y = Mul(x, c) }"
    )
    rng = np.random.default_rng(0)
    samples = [
        {"x": rng.uniform(-1, 1, (1, 3)).astype(np.float32), "z": np.array([[1, 2, 3]], np.float32)}
        for _ in range(8)
    ]
    assert choose_bits(model.SerializeToString(), samples, BOUND | {"z": (0.0, 4.0)}, 0.01, 0.99)


TWICE = {
    "a ReLU and a magnitude": "r = Relu(a) m = Abs(a) y = Sub(m, r)",
    "two leaky ReLUs": "r = LeakyRelu<alpha=0.1>(a) m = LeakyRelu<alpha=0.2>(a) y = Sub(m, r)",
    "a maximum and a minimum": "r = Max(a, c) m = Min(a, c) y = Sub(m, r)",
    "two clips from one bound": "r = Clip(a, vl, vh) m = Clip(a, vl, vt) y = Sub(m, r)",
}


@pytest.mark.parametrize("name", TWICE)
def test_what_is_done_twice_is_written_once(name: str) -> None:
    """The engine's importer merges equal operators: it would take apart fewer than were counted."""
    data = graph(
        f"a = Gemm(x, w, b) c = Gemm(x, w2, b) {TWICE[name]}",
        "float[1, 30] x",
        {"w": [30, 8], "w2": [30, 8], "b": [8], "vl": [], "vh": [], "vt": []},
    )
    found = parsed(lower(data, BitWidths(input=5, weights=(6, 7)), BOUND).onnx)
    written = [(n.op_type, n.input, str(found.attributes[n.name])) for n in found.nodes]
    assert len(set(written)) == len(written)
