"""Compares two results: ratios with confidence intervals, verdicts only for significant ones."""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import BudgetSpent
from benchmarks.harness.metrics import METRICS, counted, readable
from benchmarks.harness.rows import Results, Step
from benchmarks.harness.statistics import Ratio, Summary, ratio

#: The smallest change that gets a verdict.
SMALLEST_CHANGE = 0.03

#: suite, model, side, step, metric
Cell = tuple[str, str, str, Step, str]


class Verdict(enum.StrEnum):
    """The verdict on new against old."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference seen"
    UNKNOWN = "too few samples"


#: The order of display.
_ORDER = (Verdict.WORSE, Verdict.BETTER, Verdict.SAME, Verdict.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric of one system on one model; ``ratio`` is new over old."""

    cell: Cell
    old: Summary
    new: Summary
    ratio: Ratio | None
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        names = ("suite", "model", "side", "step", "metric")
        interval = None if self.ratio is None else [self.ratio.lower, self.ratio.upper]
        if interval is not None and interval[1] == float("inf"):
            interval = None  # JSON has no infinity (too few samples for an interval)
        return {
            **dict(zip(names, self.cell, strict=True)),
            "old": self.old.median,
            "new": self.new.median,
            "ratio": None if self.ratio is None else self.ratio.value,
            "interval": interval,
            "verdict": self.verdict.value,
        }


def compare(old: Results, new: Results) -> list[Comparison]:
    """All judged metrics with good samples in both, in the order of the new results."""
    before, after = samples(old), samples(new)
    found = []
    for cell, values in after.items():
        metric = METRICS.get(cell[-1])
        if metric is None or not metric.judged or cell not in before:
            continue
        change = ratio(values, before[cell])
        found.append(
            Comparison(
                cell=cell,
                old=Summary.of(before[cell]),
                new=Summary.of(values),
                ratio=change,
                verdict=_verdict(change, metric.higher_is_better),
            )
        )
    return found


def lost(old: Results, new: Results) -> list[str]:
    """Samples that succeeded in ``old`` and failed in ``new``."""
    good = {row.key for row in new.counted}
    tried = {row.key for row in new.rows if (row.reason or {}).get("code") != BudgetSpent.code}
    return [str(row.key) for row in old.counted if row.key in tried and row.key not in good]


def samples(results: Results) -> dict[Cell, list[float]]:
    """The counted samples of each metric."""
    found: defaultdict[Cell, list[float]] = defaultdict(list)
    for row in results.counted:
        key = row.key
        for metric, value in row.metrics.items():
            found[key.suite, key.model, key.side, key.step, metric].append(value)
    return dict(found)


def different_machines(old: Results, new: Results) -> list[str]:
    """The differences between the machines, besides the commit and this project's version."""

    def compared(results: Results) -> dict[str, Any]:
        machine = dict(results.header.machine)
        machine.pop("commit", None)
        versions = {k: v for k, v in machine.pop("versions", {}).items() if k != "zkml-prover"}
        return {**machine, **versions}

    before, after = compared(old), compared(new)
    return sorted(name for name in before | after if before.get(name) != after.get(name))


def markdown(comparisons: Sequence[Comparison], *, everything: bool = False) -> str:
    """A table, changes first, with the number of each verdict. Omits comparisons with too few
    samples unless ``everything``."""
    wanted = [c for c in comparisons if everything or c.verdict is not Verdict.UNKNOWN]
    shown = sorted(wanted, key=lambda c: _ORDER.index(c.verdict))
    counts = Counter(c.verdict for c in comparisons)
    text = ", ".join(f"{counts[v]} {v.value}" for v in _ORDER if counts[v])
    lines = [f"{counted(len(comparisons), 'figure')} compared" + (f": {text}." if text else ".")]
    if shown:
        head = ("model", "side", "step", "figure", "old", "new", "new / old", "95 %", "verdict")
        rows = [head, *map(_cells, shown)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
            for row in rows
        ]
        table.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        lines += ["", *table]
    return "\n".join(lines)


def _cells(c: Comparison) -> tuple[str, ...]:
    _, model, side, step, name = c.cell
    metric = METRICS[name]
    change, interval = "–", "–"
    if c.ratio is not None:
        change = f"{c.ratio.value:.3f}"
        if c.verdict is not Verdict.UNKNOWN:
            interval = f"{c.ratio.lower:.3f} … {c.ratio.upper:.3f}"
    figures = (readable(found.median, metric.unit) for found in (c.old, c.new))
    return (model, side, step.value, metric.title, *figures, change, interval, c.verdict.value)


def _verdict(change: Ratio | None, higher_is_better: bool) -> Verdict:
    if change is None or change.upper == float("inf"):
        return Verdict.UNKNOWN
    if not change.parts_from(1.0) or abs(change.value - 1) < SMALLEST_CHANGE:
        return Verdict.SAME
    return Verdict.BETTER if (change.value > 1) == higher_is_better else Verdict.WORSE
