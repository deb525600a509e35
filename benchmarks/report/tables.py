"""Sections of the report that sum up: figures over models, planner, batches, what the run took."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.harness.metrics import METRICS, counted, duration, readable
from benchmarks.harness.rows import Results, Step
from benchmarks.harness.statistics import Ratio
from benchmarks.report import aggregates
from benchmarks.report.aggregates import Batched, Compared, Planned, Sweep
from benchmarks.report.run_summary import BASELINE, OURS, RunSummary, measures
from benchmarks.suites import evm, planning
from benchmarks.systems import circom
from benchmarks.zoo.zoo import ZOO

#: Fewer samples have no spread worth the name.
_SPREAD_OF = 3


def sums(summary: RunSummary) -> str:
    """Geometric means and extremes over models; empty when nothing is compared."""
    small, moderate = aggregates.small_models(summary), aggregates.moderate_models(summary)
    everything = summary.models
    lines = [
        line
        for what, found in (
            ("prove time, all models", aggregates.compared(summary, "prove_s", everything)),
            (
                "prove time, models whose default has k ≤ 17",
                aggregates.compared(summary, "prove_s", moderate),
            ),
            (
                f"prove time, models under {aggregates.SMALL:,} multiplications",
                aggregates.compared(summary, "prove_s", small),
            ),
            (
                f"proving key, models under {aggregates.SMALL:,} multiplications",
                aggregates.compared(summary, "pk_bytes", small, Step.SETUP),
            ),
            ("peak memory of a proof", aggregates.compared(summary, "peak_rss_bytes", everything)),
        )
        if (line := _compared(what, found)) is not None
    ]
    if not lines:
        return ""
    head = [
        "## Over all models\n",
        "How many times EZKL's default flow takes what ours takes. Models on which a side misses"
        " the accuracy constraint, or gave a wrong answer, are not in it.\n",
        "| figure | geometric mean | models | least |",
        "|---|---:|---:|---|",
    ]
    planning_line = _planning(aggregates.compared(summary, "build_s", everything, Step.SETUP))
    said = [planning_line, _against_peer(summary)]
    return "\n\n".join(["\n".join([*head, *lines]), *filter(None, said)])


def _against_peer(summary: RunSummary) -> str:
    """By whole processes, the only times that both tell."""
    found = {
        model: gain.value
        for model in summary.models
        if (gain := summary.speed_up(model, "total_s", over=circom.NAME)) is not None
    }
    if not found:
        return ""
    each = ", ".join(f"{_title(model)} {value:.3g}×" for model, value in found.items())
    return (
        "How many times circom + snarkjs takes what ours takes, from an input to a verified proof,"
        f" whole processes: {each}. Groth16 needs a trusted set-up for each circuit; ours does not."
    )


def _compared(what: str, found: Compared | None) -> str | None:
    if found is None:
        return None
    model, least = found.least
    return (
        f"| {what} | **{found.geometric_mean:.3g}×** | {len(found.ratios)}"
        f" | {least:.3g}× ({_title(model)}) |"
    )


def _planning(found: Compared | None) -> str:
    """The other way round than the table: how much more we spend."""
    if found is None:
        return ""
    model, least = found.least
    return (
        f"Planning and set-up took {1 / found.geometric_mean:.3g} times EZKL's calibration and"
        f" set-up (geometric mean over {len(found.ratios)} models; most: {1 / least:.3g} times,"
        f" {_title(model)})."
    )


# --- profiles -------------------------------------------------------------------------------

#: What is divided by what, and what that says.
_PROFILES = (
    ("ours-private", OURS, "private input over public, weights sealed"),
    ("ours-private-shown", "ours-shown", "private input over public, weights shown"),
    (OURS, "ours-shown", "weights sealed over shown, input public"),
)


def profiles(summary: RunSummary) -> str:
    """What hiding costs: medians of one profile's proofs over another's; empty without the suite
    ``profiles``."""
    lines = []
    for hiding, other, what in _PROFILES:
        found = {
            model: gain.value
            for model in summary.models
            if (gain := summary.speed_up(model, over=hiding, side=other)) is not None
        }
        each = ", ".join(f"{_title(model)} {value:.3g}" for model, value in found.items())
        lines += [f"* {what}: {each}"] if found else []
    return "\n".join(["## What hiding costs\n", *lines]) if lines else ""


# --- planner --------------------------------------------------------------------------------


def planner(results: Results) -> str:
    """Regret and prediction, model by model and over all; empty without the suite."""
    found = aggregates.planned(results)
    if not found:
        return ""
    efforts = planning.EFFORTS
    lines = [
        "## Planner\n",
        "*Regret*: how much slower the choice is than the fastest candidate, all plausible ones set"
        " up and proved in turn. *Prediction error*: median over the candidates of the distance"
        " from what was measured.\n",
        "| model | timed of plausible | fastest | "
        + " | ".join(f"regret, {e} | plan, {e}" for e in efforts)
        + " | error, time | error, memory |",
        "|---|---:|---:|" + "---:|---:|" * len(efforts) + "---:|---:|",
        *(_planned(p) for p in found),
        "",
        *(_regrets(found, effort) for effort in efforts if aggregates.regrets(found, effort)),
        _errors(found),
    ]
    return "\n".join(lines)


def _planned(p: Planned) -> str:
    cells = [_title(p.model), f"{p.timed} of {p.plausible}", readable(p.fastest_s, "s")]
    for effort in planning.EFFORTS:
        regret, plan_s = p.regrets.get(effort), p.plan_s.get(effort)
        cells.append("not timed" if regret is None else f"{regret:.0%}")
        cells.append("–" if plan_s is None else readable(plan_s, "s"))
    cells += [f"{median(p.time_errors):.0%}", f"{median(p.memory_errors):.0%}"]
    return "| " + " | ".join(cells) + " |"


def _regrets(found: Sequence[Planned], effort: str) -> str:
    values = list(aggregates.regrets(found, effort).values())
    good = sum(value <= aggregates.GOOD_REGRET for value in values)
    return (
        f"At effort *{effort}*, the choice was within {aggregates.GOOD_REGRET:.0%} of the fastest"
        f" on {good} of {len(values)} models; median regret {median(values):.1%}, largest"
        f" {max(values):.1%}.\n"
    )


def _errors(found: Sequence[Planned]) -> str:
    times = [error for p in found for error in p.time_errors]
    memories = [error for p in found for error in p.memory_errors]
    by_model = (
        median(median(p.time_errors) for p in found),
        median(median(p.memory_errors) for p in found),
    )
    return (
        f"Prediction over {len(times)} candidates of {counted(len(found), 'model')}: median error"
        f" {median(times):.1%} of time and {median(memories):.1%} of peak memory (median of the"
        f" models' own medians: {by_model[0]:.1%} and {by_model[1]:.1%})."
    )


# --- batches --------------------------------------------------------------------------------


def batches(results: Results) -> str:
    """Throughput of batches and the sweep over lanes; empty without the suite."""
    found, swept = aggregates.batched(results), aggregates.sweeps(results)
    if not found and not swept:
        return ""
    lines = ["## Batches\n"]
    if found:
        lines += [
            "Seconds per input: the whole of `zkml batch` with its circuits there (rows, proofs,"
            " verification, receipts, one process from start to end) against witness and proof of"
            " EZKL's default flow, one input after another. *First run* is the same batch when the"
            " circuits of several lanes had still to be built.\n",
            "| model | inputs | proofs × lanes | ours, an input | EZKL's default, an input | faster"
            " | memory, ours | theirs | accuracy, ours | theirs | verify an item | first run |",
            "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
            *(_batched(b) for b in found),
            "",
            "*Verify an item*: beyond the proof that it shares, whose verification is made once.",
        ]
    if swept:
        lines += ["\n### An input's cost by lanes\n", *(_swept(s) for s in swept)]
    return "\n".join(lines)


def _batched(b: Batched) -> str:
    mark = " †" if b.misses[0] else ""
    theirs, their_peak = b.base, b.peak_bytes[1]
    cells = [
        _title(b.model) + mark,
        str(b.inputs),
        b.packs,
        readable(b.ours.median, "s"),
        "–" if theirs is None else readable(theirs.median, "s") + (" †" if b.misses[1] else ""),
        _faster(b.faster),
        readable(b.peak_bytes[0], "B"),
        "–" if their_peak is None else readable(their_peak, "B"),
        _accuracy(b.accuracy[0]),
        _accuracy(b.accuracy[1]),
        "–" if b.item_verify_s is None else readable(b.item_verify_s, "s"),
        "–" if b.first_s is None else readable(b.first_s, "s"),
    ]
    return "| " + " | ".join(cells) + " |"


def _swept(s: Sweep) -> str:
    measured = ", ".join(f"{n}: {readable(v, 's')}" for n, v in s.seconds.items())
    base = "" if s.base_s is None else f"; EZKL's default {readable(s.base_s, 's')}"
    ended = f" It ended here: {s.ended}." if s.ended else ""
    memory = (
        f" Memory is predicted to end it at {s.memory_ends_at} lanes." if s.memory_ends_at else ""
    )
    return (
        f"* {_title(s.model)}, witness and proof by lanes: {measured}{base}.{ended}{memory}".rstrip(
            "."
        )
        + "."
    )


def _accuracy(metrics: dict[str, float]) -> str:
    if "accuracy" in metrics:
        return f"{metrics['accuracy']:.1%} ({metrics['reference_accuracy']:.1%})"
    return f"error {metrics['max_error']:.2%}" if "max_error" in metrics else "–"


def _faster(found: Ratio | None) -> str:
    if found is None:
        return "not compared"
    if found.upper == float("inf"):
        return f"{found.value:.3g}×"
    return f"**{found.value:.3g}×** ({found.lower:.3g}–{found.upper:.3g})"


# --- contracts ------------------------------------------------------------------------------


def contracts(results: Results) -> str:
    """Size and gas of verifier contracts, ours over EZKL's default; empty without the suite."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for m in measures(results):
        if m.suite == evm.SUITE:
            sides = found.setdefault(m.model, {})
            sides.setdefault(m.what, {})[m.metric] = m.summary.median
    if not found:
        return ""
    guard, shifted, through = _GUARDED if _guarded(results) else ("", "", "")
    lines = [
        "## Verifier contracts\n",
        f"On an EVM in process: each contract here{guard} accepted its proofs and reverted when an"
        f" instance was changed{shifted}; others are under *What did not go well*. Gas is of whole"
        f" transactions{through}. *Of the default's*: verification, ours over EZKL's.\n",
        "| model | side | contract | deployment | verification | of the default's | proof |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for model, sides in found.items():
        for side, medians in sides.items():
            cells = [
                readable(medians[name], METRICS[name].unit) if name in medians else "–"
                for name in ("contract_bytes", "deploy_gas", "gas")
            ]
            mine, theirs = medians.get("gas"), sides.get(BASELINE, {}).get("gas")
            share = f"{mine / theirs:.0%}" if side == OURS and mine and theirs else ""
            proof = readable(medians["proof_bytes"], "B") if "proof_bytes" in medians else "–"
            lines.append(f"| {_title(model)} | {side} | {' | '.join([*cells, share, proof])} |")
    return "\n".join(lines)


_GUARDED = (
    ", behind its guard,",
    " or an offset in the calldata shifted",
    ": deployment of contract and guard, verification through the guard",
)


def _guarded(results: Results) -> bool:
    """Whether proofs went through a guard: earlier results are of calls to the contract itself."""
    return any("shifted" in row.facts for row in results.rows if row.key.suite == evm.SUITE)


# --- the run --------------------------------------------------------------------------------


def spent(results: Results) -> str:
    """What the samples of each suite took, what of it the harness, and how far repeated proofs were
    apart; empty for results that do not tell."""
    suites = dict.fromkeys(row.key.suite for row in results.rows)
    seconds = {s: [row.seconds for row in results.rows if row.key.suite == s] for s in suites}
    if not any(map(sum, seconds.values())):
        return ""
    shown = [f"{s} {duration(sum(v))} ({counted(len(v), 'sample')})" for s, v in seconds.items()]
    total = duration(sum(map(sum, seconds.values())))
    lines = [f"The samples took {total} in total: {', '.join(shown)}.", *_harness(results)]
    return "## The run itself\n\n" + "\n".join(f"* {line}" for line in lines)


def _harness(results: Results) -> list[str]:
    """Of proofs of the sides: only these tell the time of the processes in them."""
    proofs = [
        row for row in results.counted if row.key.step is Step.PROVE and "total_s" in row.metrics
    ]
    if not proofs:
        return []
    beside = [row.seconds - row.metrics["total_s"] for row in proofs]
    share = sum(beside) / sum(row.seconds for row in proofs)
    said = [
        f"Beside the processes that a proof's sample is made of, the harness took"
        f" {readable(median(beside), 's')} (median of {counted(len(beside), 'sample')}):"
        f" {share:.1%} of the time of all of them, and in none of the aggregates."
    ]
    system_results = RunSummary.of(results).system_results.values()
    spreads = [
        found.spread
        for system_result in system_results
        if (found := system_result.median("prove_s")) is not None and found.count >= _SPREAD_OF
    ]
    if spreads:
        said.append(
            f"Repeated proofs were ± {median(spreads):.1%} apart (half the distance between the"
            f" quartiles; median over {counted(len(spreads), 'pair')} of side and model; at most"
            f" {max(spreads):.1%})."
        )
    else:
        said.append(f"How far repeated proofs are apart, {_SPREAD_OF} samples of each would tell.")
    return said


def _title(model: str) -> str:
    return ZOO[model].title if model in ZOO else model
