"""Options of a batch."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from circuits.format.manifest import MAX_LANES
from prover.records.batch_errors import BatchFormat


class OnInexact(enum.StrEnum):
    """What happens to a row whose proved output misses the profile."""

    FAIL = "fail"  # the row fails and gets no receipt
    REPORT = "report"  # the row keeps its proof and is counted as inexact
    ISOLATE = "isolate"  # the row is proved again, alone, in a finer circuit


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a batch is to be proved.

    ``isolate``: one proof per input, so that no proof reveals another input. ``lanes``: inputs per
    proof, instead of the planner's choice. ``deadline_s``: unproved items are canceled then.
    ``context``: as for a single proof, the same for every input, except that each has its own job
    id. ``on_inexact``: what happens to rows whose output misses the profile.
    """

    isolate: bool = False
    lanes: int | None = None
    deadline_s: float | None = None
    context: dict[str, Any] | None = None
    on_inexact: OnInexact = OnInexact.REPORT
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.lanes is not None and not 1 <= self.lanes <= MAX_LANES:
            raise BatchFormat(
                f"lanes is {self.lanes}, not 1 to {MAX_LANES}", advice="Leave it out."
            )
        if self.isolate and self.lanes not in (None, 1):
            raise BatchFormat("isolate means one input per proof", advice="Leave lanes out.")
