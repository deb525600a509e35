"""The results of each system on each model, for report and plots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.harness.rows import Results, Row, Status, Step
from benchmarks.harness.statistics import Ratio, Summary, ratio

OURS, BASELINE = "ours", "ezkl-default"


@dataclass(frozen=True, kw_only=True)
class SystemResult:
    """One system on one model.

    ``bad`` are the failed rows; ``misses`` says why the accuracy constraint is missed (None: met,
    or not measured, see ``judged``).
    """

    model: str
    side: str
    rows: tuple[Row, ...]

    def values(self, metric: str, step: Step = Step.PROVE) -> list[float]:
        return [
            row.metrics[metric]
            for row in self._good()
            if row.key.step is step and metric in row.metrics
        ]

    def median(self, metric: str, step: Step = Step.PROVE) -> Summary | None:
        found = self.values(metric, step)
        return Summary.of(found) if found else None

    def fact(self, name: str) -> object:
        facts = (row.facts.get(name) for row in self._good() if row.key.step is Step.SETUP)
        return next((fact for fact in facts if fact is not None), None)

    @property
    def bad(self) -> list[Row]:
        return [row for row in self.rows if row.status is not Status.OK]

    @property
    def verified(self) -> str:
        """Verified proofs over attempted ones."""
        untried = (Status.SKIPPED, Status.REFUSED)
        proofs = [row for row in self.rows if row.key.step is Step.PROVE]
        tried = [row for row in proofs if row.status not in untried]
        return f"{sum(row.status is Status.OK for row in tried)}/{len(tried)}"

    @property
    def judged(self) -> bool:
        return any(row.key.step is Step.ACCURACY for row in self._good())

    @property
    def misses(self) -> str | None:
        reasons = (row.facts.get("misses") for row in self._good() if row.key.step is Step.ACCURACY)
        return next((str(reason) for reason in reasons if reason), None)

    @property
    def comparable(self) -> bool:
        """Whether all proofs are good, and the accuracy is known and sufficient."""
        wrong = any(row.status is Status.WRONG for row in self.rows)
        return bool(self.values("prove_s")) and self.judged and self.misses is None and not wrong

    def _good(self) -> Iterable[Row]:
        return (row for row in self.rows if row.status is Status.OK and not row.warm_up)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """All system results; models and systems in the order of the run."""

    models: tuple[str, ...]
    sides: tuple[str, ...]
    system_results: dict[tuple[str, str], SystemResult]

    @classmethod
    def of(cls, results: Results) -> RunSummary:
        grouped: dict[tuple[str, str], list[Row]] = {}
        for row in results.rows:
            if row.key.step not in (Step.PREPARE, Step.MEASURE):
                grouped.setdefault((row.key.model, row.key.side), []).append(row)
        return cls(
            models=tuple(dict.fromkeys(model for model, _ in grouped)),
            sides=tuple(dict.fromkeys(side for _, side in grouped)),
            system_results={
                (model, side): SystemResult(model=model, side=side, rows=tuple(rows))
                for (model, side), rows in grouped.items()
            },
        )

    @property
    def empty(self) -> bool:
        return not self.system_results

    def of_model(self, model: str) -> list[SystemResult]:
        return [
            self.system_results[model, side]
            for side in self.sides
            if (model, side) in self.system_results
        ]

    def speed_up(
        self, model: str, metric: str = "prove_s", over: str = BASELINE, side: str = OURS
    ) -> Ratio | None:
        """How many times the side's figure goes into the other's; None where they are not
        comparable."""
        ours, theirs = (
            self.system_results.get((model, side)),
            self.system_results.get((model, over)),
        )
        if ours is None or theirs is None or not (ours.comparable and theirs.comparable):
            return None
        return ratio(theirs.values(metric), ours.values(metric))


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric of a suite without systems: ``what`` is the row's side."""

    suite: str
    model: str
    what: str
    metric: str
    values: tuple[float, ...]

    @property
    def summary(self) -> Summary:
        return Summary.of(self.values)


def measures(results: Results) -> list[Measure]:
    """All of them, in the order of the run."""
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for row in results.counted:
        if row.key.step in (Step.PREPARE, Step.MEASURE):
            for metric, value in row.metrics.items():
                name = (row.key.suite, row.key.model, row.key.side, metric)
                found.setdefault(name, []).append(value)
    return [
        Measure(suite=suite, model=model, what=what, metric=metric, values=tuple(values))
        for (suite, model, what, metric), values in found.items()
    ]
