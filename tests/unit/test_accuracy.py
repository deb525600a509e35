"""What counts as error, and what counts as the same answer."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.calibration.accuracy import compare, output_range
from circuits.format.profile import Profile


def rows(*values: list[float]) -> list[list[np.ndarray]]:
    return [[np.array([v])] for v in values]


def test_an_error_is_a_share_of_the_outputs_range() -> None:
    measured = compare(rows([0.0, 10.0], [5.0, 2.0]), rows([0.0, 10.5], [5.0, 2.0]))
    assert measured.max_error == pytest.approx(0.05)
    assert measured.samples == 2


def test_the_worst_output_counts_each_over_its_own_range() -> None:
    reference = [[np.array([0.0]), np.array([0.0])], [np.array([1000.0]), np.array([1.0])]]
    got = [[np.array([1.0]), np.array([0.0])], [np.array([1000.0]), np.array([0.9])]]
    assert compare(reference, got).max_error == pytest.approx(0.1)


def test_agreement_counts_samples_with_the_same_largest_entry() -> None:
    reference = rows([1.0, 2.0], [2.0, 1.0], [3.0, 1.0], [1.0, 5.0])
    got = rows([1.0, 2.0], [1.0, 2.0], [3.0, 1.0], [1.0, 5.0])
    assert compare(reference, got).agreement == 0.75


def test_a_tie_in_the_reference_is_agreement_with_either() -> None:
    assert compare(rows([1.0, 1.0]), rows([0.9, 1.0])).agreement == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_finite_number_is_no_small_error(value: float) -> None:
    assert compare(rows([1.0, 2.0]), rows([1.0, value])).max_error == np.inf
    assert compare(rows([1.0, value], [0.0, 2.0]), rows([1.0, 5.0], [0.0, 2.0])).max_error == np.inf
    assert compare(rows([1.0, np.inf]), rows([1.0, np.inf])).max_error == 0


def test_outputs_of_one_value_have_no_largest_entry_to_disagree_on() -> None:
    assert compare(rows([1.0], [3.0]), rows([2.0], [1.0])).agreement == 1.0


@pytest.mark.parametrize(
    ("values", "span"), [([1.0, 4.0], 3.0), ([5.0, 5.0], 5.0), ([0.0, 0.0], 1.0), ([0.01], 1.0)]
)
def test_an_output_that_never_changes_is_measured_by_its_magnitude(
    values: list[float], span: float
) -> None:
    assert output_range(np.array(values)) == span


def test_a_masked_element_does_not_widen_an_output() -> None:
    reference = rows([1.0, 3.0, -1e9], [2.0, 0.0, -1e9])
    assert output_range(np.array([r[0] for r in reference])) == 4 * 3.0
    got = rows([1.0, 0.0, -1e9], [2.0, 3.0, -1e9])
    assert compare(reference, got, decisive=0.01).agreement == 0.0
    assert compare(reference, got).max_error == pytest.approx(3 / 12)


def test_a_profile_is_met_up_to_and_including_its_bounds() -> None:
    measured = compare(rows([0.0, 100.0]), rows([0.0, 101.0]))
    assert measured.meets(Profile(max_error=0.01))
    assert not measured.meets(Profile(max_error=0.009))


def test_agreement_counts_each_row_of_an_output() -> None:
    """Logits of three tokens are three answers."""
    reference = [[np.array([[[1.0, 2.0], [2.0, 1.0], [3.0, 1.0]]])]]
    got = [[np.array([[[1.0, 2.0], [1.0, 2.0], [3.0, 1.0]]])]]
    assert compare(reference, got).agreement == pytest.approx(2 / 3)
    other = [[reference[0][0], np.array([[1.0, 0.0]])]]
    assert compare(other, [[got[0][0], np.array([[0.0, 1.0]])]]).agreement == 0.0


def test_what_float32_does_not_tell_apart_is_a_tie() -> None:
    near = float(np.nextafter(np.float32(3.0), np.float32(4.0)))
    assert compare(rows([3.0, near]), rows([3.0, 2.9])).agreement == 1.0
    assert compare(rows([3.0, 3.0001]), rows([3.0, 2.9])).agreement == 0.0
