"""How a batch is asked for."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from circuits.format.manifest import MAX_LANES
from prover.records.batch_errors import BatchFormat


class OnInexact(enum.StrEnum):
    """What becomes of a row whose proved answer misses the profile."""

    FAIL = "fail"  # the row fails: it gets no receipt
    REPORT = "report"  # the row keeps its proof, and everything that counts rows says so
    ISOLATE = "isolate"  # the row is proved again, by itself, in a finer circuit


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a batch is to be proved.

    ``isolate``: one proof per input, so that none shows another's. ``lanes``: so many inputs a
    proof instead of what the planner finds best. ``deadline_s``: what is not proved by then is
    given up. ``context``: as for a single proof, the same for every input; each has a job id of
    its own beside it. ``on_inexact``: what becomes of rows whose answer misses the profile.
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
            raise BatchFormat("isolate means one input a proof", advice="Leave lanes out.")
