"""Constants of more bits than float32 has: what stands for them is told apart, and read back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.format.wide_constants import exact_constants, written


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**254), 2**254), min_size=1, max_size=9))
def test_constants_that_stand_for_others_are_what_they_are(numbers: list[int]) -> None:
    values = np.array(numbers, dtype=object)
    stand_ins, exact = written(values, 7)
    assert len(np.unique(stand_ins)) == values.size
    assert exact_constants({"c": stand_ins, "c.exact": exact})["c"].tolist() == numbers


def test_more_bits_than_the_field_has_are_refused() -> None:
    with pytest.raises(ValueError, match="outgrows the field"):
        written(np.array([1 << 255], dtype=object), 0)


def test_stand_ins_do_not_begin_again() -> None:
    with pytest.raises(ValueError, match="more exact constants"):
        written(np.zeros(2), (1 << 23) - 2)
