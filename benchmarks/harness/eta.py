"""Predicted durations of samples, learned during the run: remaining time and time budget."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from benchmarks.errors import BudgetSpent
from benchmarks.harness.rows import Key, Row, Status


class Durations:
    """Predicts a sample's duration from similar ones: the same system and model, else the same
    system, else the same suite."""

    def __init__(self, rows: Iterable[Row] = ()):
        self._seen: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for row in rows:
            self.note(row)

    def note(self, row: Row) -> None:
        """Learns from a row; skipped samples are ignored."""
        if row.status is not Status.SKIPPED and row.seconds > 0:
            for kind in _kinds(row.key):
                self._seen[kind].append(row.seconds)

    def expected_s(self, key: Key) -> float | None:
        """Expected seconds of the sample; None without a similar one."""
        for kind in _kinds(key):
            if kind in self._seen:
                return fmean(self._seen[kind])
        return None

    def left_s(self, keys: Iterable[Key]) -> float | None:
        """Expected seconds of all of them; None without any sample so far."""
        known = {key: self.expected_s(key) for key in keys}
        found = [seconds for seconds in known.values() if seconds is not None]
        if not found:
            return None if known else 0.0
        return sum(found) + fmean(found) * (len(known) - len(found))


def _kinds(key: Key) -> list[tuple[str, ...]]:
    """The most similar first."""
    return [
        (key.suite, key.model, key.side, key.step.value),
        (key.suite, key.side, key.step.value),
        (key.suite, key.step.value),
    ]


class Budget:
    """The time limit of a run, counted from the object's creation."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Remaining seconds; negative after the limit."""
        return self._until - time.monotonic()

    def require(self, expected_s: float | None) -> None:
        """Raises ``BudgetSpent`` if a sample of ``expected_s`` does not fit."""
        minutes = f"{self._seconds / 60:g} min"
        if self.left_s <= 0:
            raise BudgetSpent(f"the time limit of {minutes} is spent")
        if expected_s is not None and expected_s > self.left_s:
            raise BudgetSpent(f"expected to exceed the rest of the {minutes} limit")
