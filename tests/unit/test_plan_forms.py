"""Which forms of an integer graph are priced."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from circuits.lower import BitWidths, GraphVariant, LoweringOptions, lower
from circuits.plan.fitting import fitted
from circuits.plan.lowering_options import within_factor, worth_pricing
from tests.cases.integers import BOUND, graph

BITS = BitWidths(input=5, weights=(6,))
CNN = graph(
    "a = Conv<strides = [2, 2]>(x, k) b = Relu(a) c = Conv<strides = [2, 2]>(b, j) d = Relu(c)"
    " f = Flatten(d) y = MatMul(f, w)",
    "float[1, 1, 15, 15] x",
    {"k": [8, 1, 3, 3], "j": [8, 8, 3, 3], "w": [72, 150]},
)
#: Nothing but one product of a single row, and nothing that is decomposed.
DENSE = graph("y = MatMul(x, w)", "float[1, 400] x", {"w": [400, 300]})


def made(data: bytes, form: LoweringOptions) -> GraphVariant:
    return lower(data, BITS, BOUND, form)


def test_wide_products_are_packed() -> None:
    wide = graph(
        "a = MatMul(x, w) r = Relu(a) y = MatMul(r, v)",
        "float[1, 600] x",
        {"w": [600, 60], "v": [60, 9]},
    )
    (best, *_) = worth_pricing(lambda form: made(wide, form), has_conv=False)
    assert best.packed_from > 0


def test_forms_that_cannot_pay_are_not_priced() -> None:
    assert within_factor([(1.5, "dear"), (1.3, "near"), (1.0, "least")]) == ["least", "near"]
    assert worth_pricing(lambda form: made(DENSE, form), has_conv=False)[0] == LoweringOptions()


def test_recipes_of_choices_that_are_no_more_are_read() -> None:
    """As long as they chose what is left."""
    old = asdict(LoweringOptions(packed_from=96)) | {"paired_from": 0, "packed_matrices": True}
    assert LoweringOptions.from_json(old) == LoweringOptions(packed_from=96)
    assert LoweringOptions.from_json(asdict(LoweringOptions(sparse=True))) == LoweringOptions(
        sparse=True
    )
    for other in ({"paired_from": 9}, {"packed_matrices": False}, {"unheard_of": 1}):
        with pytest.raises(ValueError, match="another compiler"):
            LoweringOptions.from_json(old | other)


def entries(bits: BitWidths, form: LoweringOptions) -> int:
    lookup = lower(CNN, bits, BOUND, form).value_bounds.lookup
    assert lookup is not None
    return lookup[1] - lookup[0] + 1


@pytest.mark.parametrize("weights", [6, 7, 8])
def test_a_table_that_is_a_little_too_long_is_made_to_fit(weights: int) -> None:
    one = LoweringOptions(relu_tables=1)
    bits = BitWidths(input=5, weights=(weights, 8, 8))
    before = entries(bits, one)
    room = (1 << (before.bit_length() - 1)) - 12
    assert room < before < 1.6 * room, "a table of this length is what the test is about"

    def make(bits: BitWidths, form: LoweringOptions) -> GraphVariant:
        return lower(CNN, bits, BOUND, form)

    ((shorter, tables),) = fitted(bits, make, lambda bits: True, 1)
    assert tables == 1
    assert entries(shorter, one) <= room
    assert entries(shorter, one) > 0.9 * room, "no more is given away than it takes"
    assert not list(fitted(bits, make, lambda bits: False, 1))


def test_what_a_longer_step_costs_the_layers_after_it_may_make_up_for() -> None:
    bits = BitWidths(input=5, weights=(6, 8, 8))

    def exact_enough(bits: BitWidths) -> bool:
        return bits.weights == (6, 10, 8)  # the last layer is as fine as it need be

    found = fitted(bits, lambda b, form: lower(CNN, b, BOUND, form), exact_enough, 1)
    assert [choice.weights for choice, _ in found] == [(6, 10, 8)]


def test_magnitudes_in_the_model_do_not_become_tables() -> None:
    norms = graph("a = MatMul(x, w) y = ReduceL1<axes = [1]>(a)", "float[1, 6] x", {"w": [6, 9]})
    assert lower(norms, BITS, BOUND).relus, "they are counted as what is taken apart"
    assert not list(
        fitted(BITS, lambda b, form: lower(norms, b, BOUND, form), lambda bits: True, 2)
    )
