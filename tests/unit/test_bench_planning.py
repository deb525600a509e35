"""What the planner suite says of a choice."""

from __future__ import annotations

import pytest

from benchmarks.planning import quality


def candidate(predicted: float, measured: float | None) -> dict[str, object]:
    return {
        "predicted": {"prove_s": predicted},
        "measured": None if measured is None else {"prove_s": measured},
    }


def test_regret_is_what_trusting_the_prediction_would_have_cost() -> None:
    found = quality([candidate(2.0, 1.0), candidate(1.0, 1.5), candidate(0.1, None)])
    assert found["regret"] == pytest.approx(0.5)
    assert found["timed"] == 2


def test_a_choice_that_is_the_fastest_has_no_regret() -> None:
    assert quality([candidate(1.0, 0.9), candidate(2.0, 2.2)])["regret"] == 0


def test_one_timed_candidate_tells_nothing_of_regret() -> None:
    assert quality([candidate(1.0, 1.0), candidate(2.0, None)]) == {}
