"""Hints: right ones leave no residue, and wrong ones always do."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from circuits.format.field import P, from_felt, to_felt
from circuits.format.hints import MOST_TABLED_LOGROWS, Hints, challenge
from circuits.format.profile import Argument, Profile, Soundness, Target, Visibility
from circuits.integers.hint_values import results_for
from circuits.integers.interpreter import Graph, run_graph
from circuits.lower import BitWidths, LoweringOptions, lower, run_integers
from circuits.lower.hinting.backward_bounds import BackwardBounds
from circuits.lower.variant import Hinted
from tests.cases.hints import (
    BITS,
    DENSE,
    GIVEN,
    IMAGE,
    WINDOWS,
    apart_of,
    hinted,
    packings,
)
from tests.cases.integers import BOUND, MODELS, graph

Array = NDArray[Any]


def answers(made: Hinted, x: Array, hints: list[Array]) -> list[Array]:
    """All outputs of the graph that the engine gets, in integers."""
    parsed = Graph(made.onnx)
    feeds = dict(zip(parsed.inputs, [x, *hints], strict=True))
    return run_graph(parsed, feeds, object)


def right_hints(made: Hinted, x: Array) -> list[Array]:
    felts = [to_felt(int(n)) for n in x.reshape(-1)]
    shapes = list(Graph(made.onnx).shapes.values())[1:]
    found = results_for(made.hints, [felts, [to_felt(9)]])
    hints = [
        np.array([from_felt(f) for f in felts], dtype=object).reshape(-1, *shape)
        for felts, shape in zip(found, shapes, strict=True)
    ]
    if made.challenged:  # one for all samples
        hints[-1] = hints[-1].repeat(len(x), axis=0)
    return hints


def inputs(data: bytes, seed: int, samples: int = 3) -> Array:
    (value,) = onnx.load_model_from_string(data).graph.input
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    return np.random.default_rng(seed).integers(-32, 33, (samples, *shape))


@pytest.mark.parametrize("name", GIVEN)
def test_right_hints_give_the_same_outputs_and_no_residue(name: str) -> None:
    data, count = GIVEN[name]
    variant, made = hinted(data)
    x = inputs(data, 1)
    hints = right_hints(made, x)
    assert len(hints) == count + made.challenged
    output, residues = answers(made, x, hints)
    assert [h.size // 3 for h in hints[:count]] == list(made.results)
    np.testing.assert_array_equal(output, run_integers(variant, {"x": x})[0])
    assert residues.shape == (3, 1, made.residues)
    assert not np.any(residues)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_the_same_with_results_given(name: str) -> None:
    variant = lower(MODELS[name], BITS, BOUND, LoweringOptions(hints=True))
    plain = lower(MODELS[name], BITS, BOUND)
    assert variant.onnx == plain.onnx
    if variant.hinted is None:
        return
    x = inputs(MODELS[name], 2)
    found = answers(variant.hinted, x, right_hints(variant.hinted, x))
    expected = run_integers(plain, {"x": x})
    for got, want in zip(found[: len(expected)], expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert not np.any(found[len(expected)])


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
    _, residues = answers(made, x, wrong)
    assert any(int(r) % P for r in residues.reshape(-1))


def test_what_would_leave_no_residue_is_larger_than_digits_hold() -> None:
    """A carry from one result to its neighbour cancels out: it is the bounds that forbid it."""
    variant, made = hinted(DENSE)
    x = inputs(DENSE, 5, 1)
    hints = right_hints(made, x)
    carry = apart_of(made)
    wrong = [h.copy() for h in hints]
    first = wrong[0].reshape(-1)
    first[0] += 1 << carry
    first[1] -= 1
    _, residues = answers(made, x, wrong)
    assert residues.reshape(-1)[0] % P == 0, "the carry is that of the packing"
    true = variant.value_bounds.decomposed
    assert (1 << carry) > true + (1 << made.most_bits) - 1
    assert first[0] > (1 << made.most_bits) - 1 + true


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_other_result_passes_a_challenge_that_came_after_it(data: Any) -> None:
    """However large it is."""
    _, made = hinted(WINDOWS)
    assert made.challenged
    x = inputs(WINDOWS, 6, 1)
    hints = right_hints(made, x)
    place = data.draw(st.integers(0, hints[0].size - 1))
    off = data.draw(st.integers(-P, P).filter(lambda n: n % P != 0))
    hints[0].reshape(-1)[place] += off
    hints[-1][...] = _challenge(x, hints[:-1])
    _, residues = answers(made, x, hints)
    assert any(int(r) % P for r in residues.reshape(-1))


def test_a_challenge_known_in_advance_allows_wrong_hints() -> None:
    """Which is why it is a hash of them: errors of two groups that cancel out under one
    challenge."""
    _, made = hinted(WINDOWS)
    x = inputs(WINDOWS, 7, 1)
    hints = right_hints(made, x)
    known = int(hints[-1].reshape(-1)[0])
    row = hints[0].reshape(36, 20)
    second = packings(made, "Mul")[0].index(1, 1)
    row[0, 0] += known
    row[0, second] -= 1
    _, residues = answers(made, x, hints)
    assert not np.any(residues.reshape(-1)[:36] % P)
    hints[-1][...] = _challenge(x, hints[:-1])
    _, residues = answers(made, x, hints)
    assert np.any(residues.reshape(-1)[:36] % P)


def test_within_a_challenged_group_it_is_bounds_that_forbid_a_carry() -> None:
    variant, made = hinted(WINDOWS)
    x = inputs(WINDOWS, 7, 1)
    hints = right_hints(made, x)
    powers = packings(made, "Mul")[0]
    assert len(powers) == 20
    row = hints[0].reshape(36, 20)
    row[0, 0] += powers[1]
    row[0, 1] -= 1
    hints[-1][...] = _challenge(x, hints[:-1])
    _, residues = answers(made, x, hints)
    assert not np.any(residues.reshape(-1)[:36] % P), "the carry is that of the packing"
    assert powers[1] > variant.value_bounds.decomposed + (1 << made.most_bits) - 1


def test_what_nothing_bounds_is_challenged_by_itself() -> None:
    """The first of two products in a row, when no output bounds tell of it: groups of one."""
    data = graph(
        "a = Conv<pads = [1, 1, 1, 1], strides = [1, 1]>(x, w)"
        " c = Conv<pads = [0, 0, 0, 0], strides = [1, 1]>(a, k)"
        " f = Flatten(c) r = Relu(f) y = MatMul(r, z)",
        "float[1, 2, 6, 6] x",
        {"w": [20, 2, 3, 3], "k": [9, 20, 2, 2], "z": [225, 4]},
    )
    _, made = hinted(data)
    assert made.challenged
    assert made.results[0] == 36 * 20
    assert all(len(powers) < 20 for powers in packings(made, "Mul"))


def test_a_challenge_depends_on_the_key_the_input_and_every_result() -> None:
    felts = [[to_felt(1)], [to_felt(2), to_felt(3)]]
    others = [[to_felt(1)], [to_felt(3), to_felt(2)]]
    found = {
        challenge(key, shown) for key in (b"key", b"other") for shown in (felts, others, felts[:1])
    }
    assert len(found) == 6


def _challenge(x: Array, results: list[Array]) -> int:
    shown = [[to_felt(int(n)) for n in a.reshape(-1)] for a in (x, *results)]
    return from_felt(challenge(b"", shown))


def test_a_table_counts_up_to_the_end_of_its_last_column() -> None:
    """The engine fills columns: a table of two thousand entries may have 2^18 rows."""
    variant = lower(DENSE, BITS, BOUND, LoweringOptions(hints=True, relu_tables=1))
    made, bounds = variant.hinted, variant.value_bounds
    assert made is not None
    assert bounds.lookup is not None
    assert made.lookup == (bounds.lookup[0], bounds.lookup[1] + (1 << MOST_TABLED_LOGROWS))
    assert (1 << apart_of(made)) > made.lookup[1] + bounds.lookup[1]
    claim = Hints(
        residues=made.residues,
        results=made.results,
        challenged=made.challenged,
        output_bounds=made.output_bounds,
        most_bits=made.most_bits,
        lookup=made.lookup,
    )
    assert claim.bind(4, 2, bounds.lookup, MOST_TABLED_LOGROWS)
    assert not claim.bind(4, 2, bounds.lookup, MOST_TABLED_LOGROWS + 1)
    assert not claim.bind(4, 2, (bounds.lookup[0], bounds.lookup[1] + 1), MOST_TABLED_LOGROWS)
    assert not claim.bind(1 << made.most_bits, 2, bounds.lookup, 10)


def test_what_rounding_hides_is_no_bound() -> None:
    """Numbers that cancel out leave what floating point was off, and not less."""
    far = 1.5 * 2.0**60
    shifted = graph(
        "a = MatMul(x, w) p = Add(a, c) m = Sub(p, c) r = Relu(m) y = MatMul(r, z)",
        "float[1, 30] x",
        {"w": [30, 17], "z": [17, 5], "c": [1]},
    )
    model = onnx.load_model_from_string(lower(shifted, BITS, BOUND).onnx)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.size == 1 and values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(np.full_like(values, far), tensor.name))
    parsed = Graph(model.SerializeToString())
    (product,) = [n for n in parsed.nodes if n.op_type == "MatMul"][:1]
    shape = (1, 1, 1, 17)
    intervals = {n.output[0]: (np.full(shape, -100.0), np.full(shape, 100.0)) for n in parsed.nodes}
    reach = BackwardBounds(
        parsed,
        intervals,
        results=[product.output[0]],
        digits=100.0,
        lookup=None,
        outputs={},
    )
    bound = reach.of(0)
    assert bound is None or bound.largest >= 100.0


@pytest.mark.parametrize(
    "profile",
    [
        Profile(visibility=Visibility.PRIVATE_INPUT),
        Profile(visibility=Visibility.PRIVATE_WEIGHTS),
        Profile(soundness=Soundness.CONSERVATIVE),
        Profile(target=Target.EVM),
    ],
)
def test_profiles_without_verifier_checks_have_no_hints(profile: Profile) -> None:
    assert Profile().allows_hints
    assert not Profile().shows_hidden_layers
    assert Profile(argument=Argument.PLAIN).shows_hidden_layers
    assert not profile.allows_hints


def test_weights_larger_than_any_result_still_fit_the_field() -> None:
    """Of a unit that never fires: what meets its weights is zero, and results are small."""
    weights = np.full((8, 28), 0.0001, dtype=np.float32)
    weights[7] = 0.9
    model = onnx.load_model_from_string(
        graph(
            "a = Gemm(x, w, b) r = Relu(a) y = MatMul(r, z)",
            "float[1, 8] x",
            {"w": [8, 8], "b": [8], "z": [8, 28]},
        )
    )
    bias = np.array([0, 0, 0, 0, 0, 0, 0, -5], dtype=np.float32)
    for tensor in model.graph.initializer:
        values = {"w": np.eye(8, dtype=np.float32), "b": bias, "z": weights}[tensor.name].reshape(
            tuple(tensor.dims)
        )
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    bits = BitWidths(input=2, weights=(2, 13))
    variant = lower(model.SerializeToString(), bits, BOUND, LoweringOptions(hints=True, lanes=256))
    made = variant.hinted
    assert made is not None
    numbers = [n for c in Graph(made.onnx).constants.values() for n in c.reshape(-1)]
    assert max(abs(int(n)) for n in numbers).bit_length() <= 254
    x = np.random.default_rng(3).integers(-4, 5, (3, 1, 8))
    output, residues = answers(made, x, right_hints(made, x))
    np.testing.assert_array_equal(output, run_integers(variant, {"x": x})[0])
    assert not np.any(residues)


def test_sums_stay_below_the_modulus() -> None:
    for data, _ in GIVEN.values():
        _, made = hinted(data)
        for powers in (*packings(made, "MatMul"), *packings(made, "Mul")):
            apart, members = powers[1].bit_length() - 1, len(set(powers))
            assert apart * members <= 253 < P.bit_length()


def test_pooled_results_are_bounded_by_their_maximum_and_their_distances() -> None:
    """Four values under a maximum: each at most one span of digits above it, three below."""
    variant, made = hinted(IMAGE)
    digits = (1 << made.most_bits) - 1
    apart = apart_of(made)
    assert (1 << apart) > 3 * digits + variant.value_bounds.decomposed > (1 << (apart - 2))


def test_a_bias_is_part_of_the_hints() -> None:
    """Results carry the bias: it is added to each equation, and not to each of them."""
    _, made = hinted(DENSE)
    parsed = Graph(made.onnx)
    (added,) = [
        parsed.constants[n.input[1]]
        for n in parsed.nodes
        if n.op_type == "Add" and n.input[1] in parsed.constants
    ]
    assert added.size < 17


def test_equal_calls_give_equal_bytes() -> None:
    assert hinted(IMAGE)[1] == hinted(IMAGE)[1]


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
    parsed = Graph(lower(data, BITS, BOUND, LoweringOptions(hints=True)).laid_out)
    written = [(n.op_type, tuple(n.input), str(n.attribute)) for n in parsed.nodes]
    assert len(set(written)) == len(written)
