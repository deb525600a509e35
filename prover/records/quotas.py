"""Quotas of tenants: the settings' defaults, or a tenant's own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Limits of one tenant; 0 means unlimited."""

    running: int = 0  # running jobs; the others wait
    queued: int = 0  # waiting jobs
    stored_bytes: int = 0  # stored models, circuits, proofs and uploads
    proving_s_per_day: int = 0  # seconds of work since midnight UTC

    def with_overrides(self, overrides: dict[str, int]) -> Quota:
        """A copy with some limits replaced."""
        return Quota(**{**vars(self), **overrides})


@dataclass(frozen=True, kw_only=True)
class Used:
    """A tenant's usage against its quota."""

    running: int
    queued: int
    stored_bytes: int
    proving_s_today: float


#: No limits.
NO_LIMITS = Quota()
#: The names of a quota's limits.
LIMITS = tuple(Quota.__dataclass_fields__)
