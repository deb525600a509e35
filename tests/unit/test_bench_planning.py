"""What the planner suite says of a choice."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.suites.planning import quality, regret


def candidate(
    predicted_s: float, *prove_s: float, predicted: int = 100, peak: int = 100
) -> dict[str, Any]:
    return {
        "predicted_s": predicted_s,
        "predicted_bytes": predicted,
        "prove_s": list(prove_s),
        "peak_bytes": [peak for _ in prove_s],
    }


def test_regret_is_what_a_choice_costs_over_the_fastest_candidate() -> None:
    slow, fast, untimed = candidate(1.0, 1.5, 1.7, 1.5), candidate(2.0, 1.0), candidate(3.0)
    assert regret(slow, [slow, fast, untimed]) == pytest.approx(0.5)
    assert regret(fast, [slow, fast, untimed]) == 0
    assert regret(untimed, [slow, fast, untimed]) is None


def test_a_choice_is_identified_by_its_predicted_cost() -> None:
    twin = {**candidate(1.0), "args": {"decomp_legs": 3}}
    assert regret(twin, [candidate(1.0, 1.2), candidate(1.1, 1.0)]) == pytest.approx(0.2)


def test_prediction_errors_are_medians_over_what_was_measured() -> None:
    found = quality(
        [
            candidate(1.1, 1.0, predicted=150, peak=100),
            candidate(1.0, 1.0, predicted=100, peak=100),
            candidate(2.6, 2.0, 2.1, predicted=110, peak=100),
            candidate(9.0),
        ]
    )
    assert found["timed"] == 3
    assert found["prediction_error"] == pytest.approx(0.1)
    assert found["memory_prediction_error"] == pytest.approx(0.1)
    assert quality([candidate(9.0)]) == {}
