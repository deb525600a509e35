"""report.md and its plots from a results file, and the excerpt for the README."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.harness.metrics import METRICS, counted, readable
from benchmarks.harness.rows import Results, Row, Status, Step
from benchmarks.harness.statistics import Ratio, Summary
from benchmarks.report import published, tables
from benchmarks.report.run_summary import BASELINE, OURS, RunSummary, SystemResult, measures
from benchmarks.suites import batch, evm, planning
from benchmarks.zoo.zoo import ZOO

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
#: Suites with systems, and suites with their own tables.
_SIDED = ("models", "baseline", "peers", "profiles")
_WITH_TABLES = (batch.SUITE, planning.SUITE, evm.SUITE)
_STAGES = (
    (Step.SETUP, ("plan_s", "compile_s", "setup_s", "pk_bytes", "vk_bytes")),
    (Step.PROVE, ("witness_s", "prove_s", "verify_s", "total_s", "peak_rss_bytes", "proof_bytes")),
)


def write(results: Results, folder: Path) -> Path:
    """Writes ``report.md`` and, with matplotlib, ``plots/``; returns the report's path."""
    summary = RunSummary.of(results)
    plots = "\n\n".join(
        f"![{title}](plots/{name}.svg)" for name, title in _draw(results, folder / "plots")
    )
    parts = ["# Benchmark report", _machine(results)]
    if not summary.empty:
        parts += ["## Prove: time, memory, accuracy", table(summary), _LEGEND]
        parts += [tables.sums(summary), tables.profiles(summary)]
    parts += [tables.batches(results), tables.planner(results), plots]
    parts += [tables.contracts(results), _measured(results)]
    if not summary.empty:
        parts += ["## Every stage", _stages(summary), "## What bounds each model", _bounds(summary)]
    parts += [
        _misfortunes(summary, results.rows),
        "## Published figures of other systems",
        "Not measured here, on other machines, and not to be mixed with the tables above.",
        published.markdown(),
        tables.spent(results),
    ]
    path = folder / "report.md"
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return path


_LEGEND = (
    "Medians of fresh processes, half the distance between the quartiles as ± per cent. *Faster* is"
    " the median of EZKL's default flow over ours, with a 95 % bootstrap interval. Accuracy is"
    " taken on the same held-out inputs for every side, with the model's own under onnxruntime in"
    " brackets; without labels, the largest error over the output's range. A side that misses the"
    " accuracy constraint is marked † and not compared. *Verified* counts proofs that verified and"
    " whose output is the model's. Steps of circom + snarkjs are whole processes: it tells no other"
    " times; compare it by *whole processes* below."
)


def table(summary: RunSummary) -> str:
    """One line per model and system."""
    lines = [
        "| model | side | k | prove | faster | memory | proof | accuracy | verified |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for model in summary.models:
        for system_result in summary.of_model(model):
            ours = system_result.side.startswith(OURS)
            faster = _ratio(summary.speed_up(model, side=system_result.side)) if ours else ""
            lines.append("| " + " | ".join(_cells(system_result, faster)) + " |")
    return "\n".join(lines)


def summary(results: Results) -> dict[str, Any]:
    """The table as JSON."""
    summary = RunSummary.of(results)
    rows = []
    for (model, side), system_result in summary.system_results.items():
        speed_up = summary.speed_up(model, side=side) if side.startswith(OURS) else None
        rows.append(
            {
                "model": model,
                "side": side,
                "medians": {
                    name: found.median
                    for step, names in _STAGES
                    for name in names
                    if (found := system_result.median(name, step)) is not None
                },
                "accuracy": {
                    name: found.median
                    for name in ("accuracy", "reference_accuracy", "agreement", "max_error")
                    if (found := system_result.median(name, Step.ACCURACY)) is not None
                },
                "facts": {name: system_result.fact(name) for name in ("logrows", "assignments")},
                "comparable": system_result.comparable,
                "verified": system_result.verified,
                "faster_than_baseline": None if speed_up is None else speed_up.value,
                "reasons": [row.reason for row in system_result.bad],
            }
        )
    measured = [
        {
            "suite": m.suite,
            "model": m.model,
            "what": m.what,
            "metric": m.metric,
            "median": m.summary.median,
            "samples": m.summary.count,
        }
        for m in measures(results)
    ]
    return {"schema": results.header.schema, "standings": rows, "measures": measured}


def inserted(text: str, part: str) -> str:
    """``text`` with the part between its two markers replaced by ``part``.

    Raises ``ValueError`` unless each marker occurs exactly once.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"expected {BEGIN} and {END} once each")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n\n{part}\n\n{END}", text)


#: The models of the README: small and large, of every family, including the smallest gain.
_SHOWN = (
    "logistic-regression",
    "gradient-boosting",
    "mlp-784-128-10",
    "lstm",
    "attention",
    "lenet5-padded",
)


def excerpt(results: Results) -> str:
    """The excerpt for the README: six models, and the machine."""
    summary = RunSummary.of(results)
    lines = [
        "| model | ours | EZKL | faster | memory, ours | memory, EZKL |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for model in [m for m in _SHOWN if m in summary.models] or summary.models:
        found = [summary.system_results.get((model, side)) for side in (OURS, BASELINE)]
        entry = ZOO.get(model)
        cells = [
            entry.title if entry else model,
            *(_plain(side.median("prove_s") if side else None, "s") for side in found),
            _ratio(summary.speed_up(model)),
            *(_plain(side.median("peak_rss_bytes") if side else None, "B") for side in found),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n" + _machine(results)


def _draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    try:
        from benchmarks.report import plots
    except ModuleNotFoundError:  # matplotlib is a development dependency
        return []
    return plots.draw(results, folder)


def _machine(results: Results) -> str:
    machine, options = results.header.machine, results.header.options
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    threads = ", ".join(f"{k}={v}" for k, v in machine["environment"].items()) or "defaults"
    return (
        f"Measured {results.header.started[:10]} on {machine['processor']}, {machine['cores']}"
        f" cores, {machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}, Python"
        f" {machine['python']}; {versions}; thread settings: {threads}; commit"
        f" {machine['commit'][:12]}{'+' if machine['commit'].endswith('+') else ''}."
        f" {_samples(results)} after {counted(options['warm_ups'], 'warm-up')}."
    )


def _samples(results: Results) -> str:
    """How many proofs a model and system has: a run that its budget ended has fewer of some."""
    systems = RunSummary.of(results).system_results.values()
    counts = [n for system in systems if (n := len(system.values("prove_s")))]
    least, most = min(counts, default=0), max(counts, default=0)
    if not counts:
        least = most = results.header.options["samples"]
    return counted(most, "sample") if least == most else f"{least} to {most} samples"


def _cells(system_result: SystemResult, faster: str) -> list[str]:
    entry = ZOO.get(system_result.model)
    mark = " †" if system_result.misses else ""
    return [
        entry.title if entry else system_result.model,
        system_result.side + mark,
        str(system_result.fact("logrows") or "–"),
        _spread(system_result.median("prove_s"), "s"),
        faster,
        _plain(system_result.median("peak_rss_bytes"), "B"),
        _plain(system_result.median("proof_bytes"), "B"),
        _accuracy(system_result),
        system_result.verified,
    ]


def _accuracy(system_result: SystemResult) -> str:
    accuracy = system_result.median("accuracy", Step.ACCURACY)
    reference = system_result.median("reference_accuracy", Step.ACCURACY)
    if accuracy is not None and reference is not None:
        return f"{accuracy.median:.1%} ({reference.median:.1%})"
    error = system_result.median("max_error", Step.ACCURACY)
    return "–" if error is None else f"error {error.median:.2%}"


def _stages(summary: RunSummary) -> str:
    names = [(step, name) for step, group in _STAGES for name in group]
    lines = [
        "| model | side | " + " | ".join(METRICS[name].title for _, name in names) + " |",
        "|---|---|" + "---:|" * len(names),
    ]
    for system_result in summary.system_results.values():
        cells = [
            _plain(system_result.median(name, step), METRICS[name].unit) for step, name in names
        ]
        lines.append(
            f"| {system_result.model} | {system_result.side} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


_MEASURED_LEGEND = (
    "`zkml prove`, `zkml verify`: whole processes, interpreter start and imports included; their"
    " *overhead over the engine* is what is not one of the engine's own steps. *verify_bundle*: the"
    " same checks in a process that has loaded the engine. Service: *start* is from `zkml up` to"
    " ready, and what its first request for a circuit took; *job* a warm proof, from `POST` to the"
    " event that ends it; *POST* and *GET while proving* the time until those answer.\n"
)


def _measured(results: Results) -> str:
    """What the suites without sides measured: medians and quartiles."""
    found = [m for m in measures(results) if m.suite not in _WITH_TABLES]
    if not found:
        return ""
    lines = [
        "## Commands and service\n",
        _MEASURED_LEGEND,
        "| suite | model | what | metric | median | quartiles | samples |",
        "|---|---|---|---|---:|---|---:|",
    ]
    for m in found:
        unit, summary_ = METRICS[m.metric].unit, m.summary
        quartiles = f"{readable(summary_.lower, unit)} – {readable(summary_.upper, unit)}"
        quartiles = quartiles if summary_.count > 1 else "–"
        lines.append(
            f"| {m.suite} | {m.model} | {m.what} | {METRICS[m.metric].title}"
            f" | {readable(summary_.median, unit)} | {quartiles} | {summary_.count} |"
        )
    return "\n".join(lines)


def _bounds(summary: RunSummary) -> str:
    lines = [
        "| model | multiplications | activations | tables | assignments, ours"
        " | its circuit is bound by |",
        "|---|---:|---:|---|---:|---|",
    ]
    for model in summary.models:
        entry, ours = ZOO.get(model), summary.system_results.get((model, "ours"))
        if entry is not None:
            assignments = ours.fact("assignments") if ours else None
            lines.append(
                f"| {entry.title} | {_count(entry.multiplications)} | {_count(entry.activations)}"
                f" | {entry.tables}"
                f" | {assignments or '–'} | {entry.bound_by} |"
            )
    return "\n".join(lines)


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _misfortunes(summary: RunSummary, rows: Iterable[Row]) -> str:
    lines = [
        f"| {s.model} | {s.side} | † | {s.misses} |"
        for s in summary.system_results.values()
        if s.misses
    ]
    for row in rows:
        if row.status is not Status.OK:
            parts = [(row.reason or {}).get(name) or "" for name in ("detail", "advice")]
            parts[0] = parts[0].rstrip(".")
            detail = " ".join(". ".join(filter(None, parts)).split()).replace("|", "/")
            side = row.key.side if row.key.suite in _SIDED else f"{row.key.suite}: {row.key.side}"
            lines.append(f"| {row.key.model} | {side} | {row.status} | {detail} |")
    if not lines:
        return ""
    head = "## What did not go well\n\n| model | side | how | why |\n|---|---|---|---|\n"
    return head + "\n".join(dict.fromkeys(lines))


def _plain(found: Summary | None, unit: str) -> str:
    return "–" if found is None else readable(found.median, unit)


def _spread(found: Summary | None, unit: str) -> str:
    if found is None:
        return "–"
    shown = readable(found.median, unit)
    return shown if found.count < 3 else f"{shown} ± {found.spread:.0%}"


def _ratio(found: Ratio | None) -> str:
    if found is None:
        return "not compared"
    if found.upper == float("inf"):
        return f"{found.value:.3g}×"
    return f"**{found.value:.3g}×** ({found.lower:.3g}–{found.upper:.3g})"
