"""Aggregates of a results file: means, extremes, shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.harness.rows import Results, Row, Step
from benchmarks.harness.statistics import Ratio, Summary, ratio
from benchmarks.report.run_summary import BASELINE, OURS, RunSummary, SystemResult
from benchmarks.suites import batch, planning
from benchmarks.zoo.zoo import ZOO

#: The limit of a small model.
SMALL = 5_000  # multiplications
#: "All models" of a folder are those whose default EZKL circuit has at most this size.
LARGEST_BASELINE_LOGROWS = 17
#: A choice within this share of the fastest candidate counts as good.
GOOD_REGRET = 0.15


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The baseline's value over ours, by model: ``metric`` of ``step``."""

    metric: str
    ratios: dict[str, float]

    @property
    def geometric_mean(self) -> float:
        return math.exp(math.fsum(map(math.log, self.ratios.values())) / len(self.ratios))

    @property
    def least(self) -> tuple[str, float]:
        """The model with the smallest gain."""
        return min(self.ratios.items(), key=lambda item: item[1])


def compared(
    summary: RunSummary, metric: str, models: Iterable[str], step: Step = Step.PROVE
) -> Compared | None:
    """Medians of the baseline over ours, on the models where both are comparable."""
    found = {}
    for model in models:
        ours, theirs = (
            summary.system_results.get((model, OURS)),
            summary.system_results.get((model, BASELINE)),
        )
        if ours is None or theirs is None or not (ours.comparable and theirs.comparable):
            continue
        mine, base = ours.median(metric, step), theirs.median(metric, step)
        if mine is not None and base is not None and mine.median > 0 and base.median > 0:
            found[model] = base.median / mine.median
    return Compared(metric=metric, ratios=found) if found else None


def multiplications(system_result: SystemResult) -> int | None:
    """Multiplications of one inference; None if unknown."""
    known = system_result.fact("multiplications")
    if known is None and system_result.model in ZOO:
        known = ZOO[system_result.model].multiplications
    return None if known is None else int(str(known))


def small_models(summary: RunSummary) -> list[str]:
    """Models under ``SMALL`` multiplications."""
    ours = (s for (_, side), s in summary.system_results.items() if side == OURS)
    return [s.model for s in ours if (count := multiplications(s)) is not None and count < SMALL]


def moderate_models(summary: RunSummary) -> list[str]:
    """Models that EZKL's default proves with at most 2^17 rows."""
    base = (s for (_, side), s in summary.system_results.items() if side == BASELINE)
    return [
        s.model
        for s in base
        if (k := s.fact("logrows")) is not None and int(str(k)) <= LARGEST_BASELINE_LOGROWS
    ]


# --- planner --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One model of the planner suite. ``regrets`` by effort (None: the choice was not timed);
    ``errors`` of time and memory by candidate, relative to the measurement."""

    model: str
    timed: int
    plausible: int
    fastest_s: float
    regrets: dict[str, float | None]
    plan_s: dict[str, float]
    time_errors: tuple[float, ...]
    memory_errors: tuple[float, ...]


def planned(results: Results) -> list[Planned]:
    """All models with timed candidates, from their last round."""
    rows = [row for row in results.counted if row.key.suite == planning.SUITE]
    found = []
    for model in dict.fromkeys(row.key.model for row in rows):
        mine = [row for row in rows if row.key.model == model]
        rounds = [r for r in mine if r.key.side == planning.CANDIDATES and "candidates" in r.facts]
        if rounds:
            found.append(_planned(model, mine, max(rounds, key=lambda row: row.key.sample)))
    return found


def _planned(model: str, rows: Sequence[Row], last: Row) -> Planned:
    candidates = last.facts["candidates"]
    timed = [c for c in candidates if c["prove_s"]]
    plans = {row.key.side: row for row in rows if "choice" in row.facts}
    plausible = next((r.facts["plausible"] for r in rows if "plausible" in r.facts), len(timed))
    return Planned(
        model=model,
        timed=len(timed),
        plausible=plausible,
        fastest_s=min(median(c["prove_s"]) for c in timed),
        regrets={
            effort: planning.regret(row.facts["choice"], candidates)
            for effort, row in plans.items()
        },
        plan_s={effort: row.metrics["plan_s"] for effort, row in plans.items()},
        time_errors=tuple(abs(c["predicted_s"] / min(c["prove_s"]) - 1) for c in timed),
        memory_errors=tuple(abs(c["predicted_bytes"] / max(c["peak_bytes"]) - 1) for c in timed),
    )


def regrets(found: Sequence[Planned], effort: str) -> dict[str, float]:
    """Regrets of the timed choices of one effort, by model."""
    known = {p.model: p.regrets.get(effort) for p in found}
    return {model: regret for model, regret in known.items() if regret is not None}


# --- batches --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Batched:
    """A batch against EZKL's default flow one by one. ``faster`` is None if a system misses the
    accuracy constraint or has no sample."""

    model: str
    inputs: int
    packs: str
    ours: Summary
    base: Summary | None
    faster: Ratio | None
    item_verify_s: float | None
    peak_bytes: tuple[float, float | None]
    accuracy: tuple[dict[str, float], dict[str, float]]
    misses: tuple[str | None, str | None]
    first_s: float | None


def batched(results: Results) -> list[Batched]:
    """All measured batch sizes, in the order of the run."""
    rows = [row for row in results.counted if row.key.suite == batch.SUITE]
    sizes = dict.fromkeys(
        (row.key.model, row.key.side)
        for row in rows
        if row.key.step is Step.MEASURE and row.key.side.startswith(batch.OURS)
    )
    return [_batched(model, side, rows) for model, side in sizes]


def _batched(model: str, side: str, rows: Sequence[Row]) -> Batched:
    def of(name: str, step: Step) -> list[Row]:
        return [r for r in rows if (r.key.model, r.key.side, r.key.step) == (model, name, step)]

    def values(found: Sequence[Row], metric: str) -> list[float]:
        return [row.metrics[metric] for row in found if metric in row.metrics]

    mine, base = of(side, Step.MEASURE), of(batch.BASE, Step.MEASURE)
    base_ready, first = of(batch.BASE, Step.PREPARE), of(side, Step.PREPARE)
    misses = (
        next((str(r.facts["misses"]) for r in mine if r.facts["misses"]), None),
        next((str(r.facts["misses"]) for r in base_ready if r.facts["misses"]), None),
    )
    ours_s, base_s = values(mine, "per_input_s"), values(base, "per_input_s")
    verify_s, peaks = values(mine, "item_verify_s"), values(base, "peak_rss_bytes")
    return Batched(
        model=model,
        inputs=int(mine[0].facts["inputs"]),
        packs=_packs(mine[0].facts),
        ours=Summary.of(ours_s),
        base=Summary.of(base_s) if base_s else None,
        faster=None if any(misses) else ratio(base_s, ours_s),
        item_verify_s=median(verify_s) if verify_s else None,
        peak_bytes=(
            median(values(mine, "peak_rss_bytes")),
            median(peaks) if peaks else None,
        ),
        accuracy=(mine[0].metrics, base_ready[0].metrics if base_ready else {}),
        misses=misses,
        first_s=median(values(first, "total_s")) if first else None,
    )


def _packs(facts: dict[str, Any]) -> str:
    return ", ".join(f"{p['proofs']} × {p['lanes']}" for p in facts["packs"])


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Cost of an input by lanes. ``base_s``: EZKL's default, the same steps; ``memory_ends_at``:
    the smallest number of lanes predicted not to fit; ``predicted_s``: predictions by lanes."""

    model: str
    seconds: dict[int, float]
    base_s: float | None
    memory_ends_at: int | None
    predicted_s: dict[int, float]
    ended: str | None


def sweeps(results: Results) -> list[Sweep]:
    """One for each model of the suite ``batch`` with measurements by lanes."""
    rows = [row for row in results.rows if row.key.suite == batch.SUITE]
    found = []
    for model in dict.fromkeys(row.key.model for row in rows):
        mine = [row for row in rows if row.key.model == model]
        good = [r for r in mine if r.key.step is Step.MEASURE and "proof_per_input_s" in r.metrics]
        by_lanes = {
            int(r.facts["inputs"]): r.metrics["proof_per_input_s"]
            for r in good
            if r.key.side != batch.BASE and not r.key.side.startswith(batch.OURS)
        }
        base = [r.metrics["proof_per_input_s"] for r in good if r.key.side == batch.BASE]
        known = next((r.facts for r in mine if r.key.side == batch.PREDICTED and r.facts), {})
        ends = [r for r in mine if r.key.side.endswith(" lanes") and r.reason]
        if by_lanes:
            found.append(
                Sweep(
                    model=model,
                    seconds=dict(sorted(by_lanes.items())),
                    base_s=median(base) if base else None,
                    memory_ends_at=known.get("memory_ends_at"),
                    predicted_s={
                        int(n): p["prove_s"] / int(n)
                        for n, p in known.get("at", {}).items()
                        if p is not None
                    },
                    ended=str((ends[0].reason or {}).get("detail")) if ends else None,
                )
            )
    return found
