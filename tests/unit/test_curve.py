"""The pairing's last step, against py_ecc's own."""

from __future__ import annotations

from typing import Any

import pytest

from circuits.format.field import P
from circuits.srs.curve import bn128 as curve
from circuits.srs.curve import is_one
from circuits.srs.g2 import Q

pytestmark = pytest.mark.slow  # pairings in Python


def miller(a: int, b: int) -> Any:
    """Of a·G1 and b·G2."""
    return curve.pairing(
        curve.multiply(curve.G2, b % P), curve.multiply(curve.G1, a % P), final_exponentiate=False
    )


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(6, 35), (-21, 10)], True),
        ([(6, 35), (-21, 10), (1, 1), (-1, 1)], True),
        ([(6, 35), (-21, 11)], False),
        ([(6, 35)], False),
        ([(P // 2, 2), (1, 1)], True),  # an odd order: P // 2 · 2 = −1
    ],
)
def test_pairings_multiply_to_one_where_exponents_cancel(
    pairs: list[tuple[int, int]], expected: bool
) -> None:
    product = curve.FQ12.one()
    for pair in pairs:
        product = product * miller(*pair)
    assert (curve.final_exponentiate(product) == curve.FQ12.one()) is expected
    assert is_one(product) is expected


def test_what_is_no_pairing_is_judged_as_py_ecc_does() -> None:
    """Zero; elements of the subfields, whose last power is one; and any element."""
    generator = curve.FQ12([0, 1, *[0] * 10])
    of_order_p = miller(2, 3) ** ((Q**12 - 1) // P)
    some = curve.FQ12(list(range(1, 13)))
    even = curve.FQ12([5, 0, 7, 0, 1, 0, 2, 0, 3, 0, 4, 0])
    for element in (
        curve.FQ12.zero(),
        curve.FQ12.one(),
        curve.FQ12([Q - 1, *[0] * 11]),
        generator,
        even,
        some,
        of_order_p,
        some**P,
    ):
        assert is_one(element) is (curve.final_exponentiate(element) == curve.FQ12.one())
