"""What a planner that chose nothing advises: exactly what was missed."""

from __future__ import annotations

import pytest

from circuits.calibration.accuracy import Measured
from circuits.format.profile import Profile
from circuits.plan.lowered_candidates import Rejected
from circuits.plan.refusals import no_plan


@pytest.mark.parametrize(
    ("max_error", "agreement", "advised"),
    [
        (0.02, 1.0, "Allow a larger error (--tolerance 0.021)."),
        (0.004, 0.917, "Allow other top answers (--agreement 0.91, or 0 if"),
        (0.02, 0.5, "Allow a larger error (--tolerance 0.021) and other top answers"),
    ],
)
def test_the_advice_is_what_the_best_candidate_missed(
    max_error: float, agreement: float, advised: str
) -> None:
    near = Measured(max_error=max_error, agreement=agreement, samples=12)
    rejected = [Rejected(label="committed hints", reason="not exact enough", measured=near)]
    found = no_plan(rejected, Profile(), calibrated=True)
    assert found.advice is not None
    assert found.advice.startswith(advised)
