"""How long samples take, learned from those of this run: the time left, and what a budget holds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from benchmarks.errors import BudgetSpent
from benchmarks.harness.rows import Key, Row, Status


class Durations:
    """Foretells a sample from its like: of the same side and model, else of the same side, else of
    the same suite."""

    def __init__(self, rows: Iterable[Row] = ()):
        self._seen: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for row in rows:
            self.note(row)

    def note(self, row: Row) -> None:
        """Learns from a row; what was not tried tells nothing."""
        if row.status is not Status.SKIPPED and row.seconds > 0:
            for kind in _kinds(row.key):
                self._seen[kind].append(row.seconds)

    def expected_s(self, key: Key) -> float | None:
        """Seconds that the sample is expected to take; None when nothing like it was seen."""
        for kind in _kinds(key):
            if kind in self._seen:
                return fmean(self._seen[kind])
        return None

    def left_s(self, keys: Iterable[Key]) -> float | None:
        """Seconds that all of them are expected to take; None while nothing was seen at all."""
        known = {key: self.expected_s(key) for key in keys}
        found = [seconds for seconds in known.values() if seconds is not None]
        if not found:
            return None if known else 0.0
        return sum(found) + fmean(found) * (len(known) - len(found))


def _kinds(key: Key) -> list[tuple[str, ...]]:
    """The most alike first."""
    return [
        (key.suite, key.model, key.side, key.step.value),
        (key.suite, key.side, key.step.value),
        (key.suite, key.step.value),
    ]


class Budget:
    """A time that the run may take, counted from when it is made."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; negative when it is spent."""
        return self._until - time.monotonic()

    def require(self, expected_s: float | None) -> None:
        """Raises ``BudgetSpent`` when a sample of so many seconds does not fit any more."""
        minutes = f"{self._seconds / 60:g} min"
        if self.left_s <= 0:
            raise BudgetSpent(f"the {minutes} that the run may take were spent")
        if expected_s is not None and expected_s > self.left_s:
            raise BudgetSpent(f"expected to take longer than was left of {minutes}")
