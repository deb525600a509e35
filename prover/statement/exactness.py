"""Whether a proved output meets its profile, and how results report it."""

from __future__ import annotations

from typing import Any

from circuits.format.profile import Profile
from prover.statement.predicate import MeasuredError


def inexact(error: MeasuredError, profile: Profile) -> bool:
    """Whether an output misses its profile: its error exceeds the tolerance, or its largest element
    is not the model's. With an agreement of 0 only the tolerance counts."""
    beyond = error.max_relative is not None and error.max_relative > profile.max_error
    return beyond or (profile.agreement > 0 and error.same_top1 is False)


def error_json(error: MeasuredError, profile: Profile) -> dict[str, Any]:
    """The measured error of one proof, as JSON for results. ``inexact``: it misses the profile."""
    return {
        **error.model_dump(mode="json", exclude={"reference"}),
        "inexact": inexact(error, profile),
    }


def inexact_in_words(error: MeasuredError, profile: Profile) -> str:
    """Why an output misses its profile."""
    said = []
    if error.max_relative is not None and error.max_relative > profile.max_error:
        said.append(
            f"its error is {100 * error.max_relative:.3g} % of the output's range, more than the"
            f" tolerance of {100 * profile.max_error:g} %"
        )
    if profile.agreement > 0 and error.same_top1 is False:
        said.append("its largest element is not the model's")
    return " and ".join(said)
