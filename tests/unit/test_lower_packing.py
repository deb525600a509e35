"""Two outputs in one number: taken apart rightly, whatever quotient a prover gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from circuits.format.wide_constants import exact_constants, written
from circuits.integers.interpreter import evaluate, parsed, rescaled
from circuits.lower import BitWidths, GraphVariant, LoweringOptions, lower, run_integers
from tests.cases.integers import BOUND
from tests.cases.packing import DENSE, TERMS

Array = NDArray[Any]
PLAIN, PACKED = (
    lower(DENSE, BitWidths(input=6, weights=(8, 9)), BOUND, form)
    for form in (LoweringOptions(), LoweringOptions(packed_from=TERMS))
)
CORNERS = st.lists(st.sampled_from([-64, -63, -1, 0, 1, 63, 64]), min_size=TERMS, max_size=TERMS)


def fed(values: list[int]) -> dict[str, Array]:
    return {"x": np.array(values).reshape(1, 1, TERMS)}


@settings(max_examples=60, deadline=None)
@given(CORNERS)
def test_packed_outputs_are_those_of_the_plain_product(values: list[int]) -> None:
    (expected,) = run_integers(PLAIN, fed(values))
    np.testing.assert_array_equal(run_integers(PACKED, fed(values))[0], expected)


def with_other_quotients(variant: GraphVariant, values: list[int], by: int) -> tuple[Array, bool]:
    """The outputs where a prover claims quotients that differ by ``by``, and whether the engine's
    constraint on divisions, ``|n - q·d| < d``, accepts all of them."""
    network = parsed(variant.onnx, variant.scale)
    known: dict[str, Array] = {k: v.astype(np.float64) for k, v in fed(values).items()}
    accepted = True
    for node in network.nodes:
        operands = [known.get(n, network.constants.get(n)) for n in node.input]
        if node.name in network.relabels:
            known[node.output[0]] = operands[0]  # type: ignore[assignment]
            continue
        result = evaluate(node.op_type, operands, network.attributes[node.name])  # type: ignore[arg-type]
        if (shift := network.divided.get(node.name)) is not None:
            quotient = rescaled(result, shift) + by
            accepted = accepted and bool(
                np.all(np.abs(result - quotient * 2.0**shift) < 2.0**shift)
            )
            result = quotient
        known[node.output[0]] = result
    return known[network.outputs[0]], accepted


@settings(max_examples=60, deadline=None)
@given(CORNERS)
def test_the_neighbouring_quotient_gives_the_same_outputs(values: list[int]) -> None:
    """A division alone leaves a prover the right quotient and one of its neighbours."""
    (expected,) = run_integers(PLAIN, fed(values))
    allowed = []
    for by in (-1, 1):
        outputs, accepted = with_other_quotients(PACKED, values, by)
        if accepted:
            allowed.append(by)
            np.testing.assert_array_equal(outputs, expected)
    assert len(allowed) == 1


def test_what_does_not_fit_one_number_is_left_as_it_is() -> None:
    bits = BitWidths(input=14, weights=(14, 9))
    wide, plain = (
        lower(DENSE, bits, BOUND, form)
        for form in (LoweringOptions(packed_from=1), LoweringOptions())
    )
    assert b"Greater" not in wide.onnx
    assert wide.onnx == plain.onnx


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**254), 2**254), min_size=1, max_size=9))
def test_placeholder_constants_keep_their_values(numbers: list[int]) -> None:
    values = np.array(numbers, dtype=object)
    stand_ins, exact = written(values, 7)
    assert len(np.unique(stand_ins)) == values.size
    assert exact_constants({"c": stand_ins, "c.exact": exact})["c"].tolist() == numbers


def test_more_bits_than_the_field_has_are_refused() -> None:
    with pytest.raises(ValueError, match="outgrows the field"):
        written(np.array([1 << 255], dtype=object), 0)


def test_placeholders_are_never_reused() -> None:
    with pytest.raises(ValueError, match="more exact constants"):
        written(np.zeros(2), (1 << 23) - 2)
