"""What a tenant may use: as the settings say for every tenant, or as was set for one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Limits of one tenant; 0 means without limit."""

    running: int = 0  # jobs that workers work on at a time; the others wait
    queued: int = 0  # jobs that wait
    stored_bytes: int = 0  # models, circuits, proofs and uploads that are kept
    proving_s_per_day: int = 0  # seconds of work since midnight UTC

    def with_overrides(self, overrides: dict[str, int]) -> Quota:
        """The same with some limits replaced."""
        return Quota(**{**vars(self), **overrides})


@dataclass(frozen=True, kw_only=True)
class Used:
    """How much of its quota a tenant uses."""

    running: int
    queued: int
    stored_bytes: int
    proving_s_today: float


#: A quota that allows everything.
NO_LIMITS = Quota()
#: The names of a quota's limits.
LIMITS = tuple(Quota.__dataclass_fields__)
