"""A slice of the ONNX project's own node tests: accepted as expected, or refused by name."""

from __future__ import annotations

import pytest

from benchmarks.node_tests import Verdict, cases, judge, table

#: One in so many; the whole is ``make models``.
EVERY = 101
pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return [judge(case) for case in cases()[::EVERY]]


def test_none_of_them_is_an_internal_error(verdicts: list[Verdict]) -> None:
    assert not [v for v in verdicts if v.verdict == "defect"]
    assert all(v.code and v.detail for v in verdicts if v.verdict == "refused")


def test_what_is_accepted_computes_what_is_expected(verdicts: list[Verdict]) -> None:
    accepted = [v for v in verdicts if v.verdict == "accepted"]
    assert len(accepted) >= len(verdicts) / 2
    # The largest are of 16-bit floats, which round wherever a formula is written otherwise.
    assert all((v.error or 0.0) <= 2e-3 for v in accepted)


def test_its_integers_say_the_same(verdicts: list[Verdict]) -> None:
    in_integers = [v for v in verdicts if v.integers is not None]
    assert len(in_integers) >= 3
    assert all((v.integers or 0.0) <= 1e-2 for v in in_integers)


def test_the_table_counts_all_of_them(verdicts: list[Verdict]) -> None:
    first = next(iter(table(verdicts)))
    assert first.startswith(f"{len(verdicts)} tests: ")
