"""Plots of a run, as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.harness.metrics import readable
from benchmarks.harness.rows import Header, Results, Step
from benchmarks.report import plot_style as style
from benchmarks.report.plot_lanes import lanes
from benchmarks.report.run_summary import BASELINE, OURS, RunSummary, measures

#: Suites whose every sample is shown as a dot.
_LATENCY_SUITES = ("service", "verify")


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Draws what the results have figures for; returns (file name, title) of each plot."""
    summary, header = RunSummary.of(results), results.header
    paints: tuple[tuple[str, str, Callable[[str], Figure | None]], ...] = (
        ("prove-time", "Time to prove one input", partial(_prove_time, summary, header)),
        ("time-accuracy", "Time to prove against exactness", partial(_accuracy, summary, header)),
        ("memory", "Peak memory of one proof", partial(_memory, summary, header)),
        ("lanes", "Cost of an input by lanes", partial(lanes, results)),
        ("latency", "Latency of the service and the commands", partial(_latency, results)),
    )
    drawn = []
    for name, title, paint in paints:
        with mpl.rc_context(style.STYLE):
            figure = paint(title)
            if figure is None:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            figure.savefig(folder / f"{name}.png", dpi=160)
            drawn.append((name, title))
    return drawn


def _prove_time(summary: RunSummary, header: Header, title: str) -> Figure | None:
    return _bars(summary, header, title, "prove_s", "s", speed_ups=True)


def _memory(summary: RunSummary, header: Header, title: str) -> Figure | None:
    return _bars(summary, header, title, "peak_rss_bytes", "B", speed_ups=False)


def _bars(
    summary: RunSummary, header: Header, title: str, metric: str, unit: str, *, speed_ups: bool
) -> Figure | None:
    """A group of bars per model on a logarithmic axis, quartiles as whiskers."""
    models = [m for m in summary.models if any(s.values(metric) for s in summary.of_model(m))]
    if not models:
        return None
    models.sort(key=lambda m: max(s.median for x in summary.of_model(m) if (s := x.median(metric))))
    slots = [
        (model, system_result) for model in models for system_result in summary.of_model(model)
    ]
    figure, axes = style.canvas(0.5 + len(slots) * 0.24 + len(models) * 0.16)
    ticks: dict[str, list[float]] = {}
    missing: list[tuple[float, str]] = []
    y = 0.0
    for (model, system_result), (before, _) in zip(slots, [slots[0], *slots], strict=False):
        y += 1.0 if model == before else 1.65
        ticks.setdefault(model, []).append(y)
        found = system_result.median(metric)
        if found is None:
            word = system_result.bad[0].status.value if system_result.bad else "not measured"
            missing.append((y, word))
            continue
        axes.barh(
            y,
            found.median,
            0.86,
            color=style.side_colour(system_result.side),
            alpha=0.35 if system_result.misses else 1.0,
            label=style.side_title(system_result.side),
            zorder=2,
        )
        axes.plot([found.lower, found.upper], [y, y], color="#333333", lw=1.4, zorder=3)
        text = readable(found.median, unit) + (" †" if system_result.misses else "")
        if speed_ups and system_result.side == OURS:
            text += _faster(summary, model)
        axes.annotate(
            text, (found.upper, y), (6, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks([fmean(at) for at in ticks.values()], [style.model_title(m) for m in ticks])
    axes.set_ylim(y + 0.7, 0.3)  # the first model on top
    axes.tick_params(axis="y", length=0)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.6, high * 5)
    for at, word in missing:
        axes.text(low / 1.5, at, word, va="center", fontsize=9, color="#888888", style="italic")
    style.unit_axis(axes, unit)
    axes.grid(visible=False, axis="y")
    text = "medians of fresh processes, logarithmic; whiskers: quartiles"
    compared = speed_ups and {OURS, BASELINE} <= {system_result.side for _, system_result in slots}
    text += "; faster: than EZKL's default flow" if compared else ""
    style.heading(axes, title, text, header)
    return figure


def _faster(summary: RunSummary, model: str) -> str:
    """What stands beside our bar; nothing where EZKL's default has none."""
    gain = summary.speed_up(model)
    if gain is not None:
        return f"   {gain.value:.3g}× faster"
    theirs = summary.system_results.get((model, BASELINE))
    return "   not compared" if theirs is not None and theirs.values("prove_s") else ""


def _accuracy(summary: RunSummary, header: Header, title: str) -> Figure | None:
    """One point per model and side, a line between the sides of one model."""
    points: dict[str, list[tuple[str, float, float]]] = {}
    for (model, side), system_result in summary.system_results.items():
        proved, judged = (
            system_result.median("prove_s"),
            system_result.median("max_error", Step.ACCURACY),
        )
        if proved is not None and judged is not None:
            points.setdefault(model, []).append((side, proved.median, max(judged.median, 1e-7)))
    if not points:
        return None
    figure, axes = style.canvas(4.8)
    for found in points.values():
        times, errors = [time for _, time, _ in found], [error for *_, error in found]
        axes.plot(times, errors, color="#C4C4C4", lw=1, zorder=1)
        for side, time, error in found:
            colour = style.side_colour(side)
            axes.scatter(
                time, error, s=46, color=colour, label=style.side_title(side), zorder=3, lw=0
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 5, high * 1.5)
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.3, high * 1.5)
    style.unit_axis(axes, "s")
    axes.set_xlabel("time to prove")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("largest error over the output's range")
    style.heading(axes, title, "left is faster, down is more exact; lines join one model's", header)
    figure.draw_without_rendering()  # labels are placed by where the points end up
    ordered = {model: sorted(found, key=lambda p: p[1]) for model, found in points.items()}
    firsts = [(found[0][1], found[0][2]) for found in ordered.values()]
    others = [(time, error) for found in ordered.values() for _, time, error in found[1:]]
    style.label_points(axes, [*firsts, *others], [style.model_title(m) for m in ordered])
    return figure


def _latency(results: Results, title: str) -> Figure | None:
    """Every sample as a dot, the median as a line: spread is what latency is about."""
    wanted = {"latency_s": "", "overhead_s": ", overhead", "total_s": "", "verify_s": ""}
    found = [m for m in measures(results) if m.suite in _LATENCY_SUITES and m.metric in wanted]
    if not found:
        return None
    figure, axes = style.canvas(0.6 + 0.36 * len(found))
    for row, measure in enumerate(reversed(found)):
        overhead = measure.metric == "overhead_s"
        colour = style.OTHER_COLOURS[0] if overhead else style.COLOURS[OURS]
        values = [max(value, 1e-4) for value in measure.values]
        label = "beyond the engine's own steps" if overhead else "the whole"
        rows = [row] * len(values)
        axes.scatter(values, rows, s=30, color=colour, alpha=0.45, lw=0, zorder=2, label=label)
        median = max(measure.summary.median, 1e-4)
        axes.plot([median, median], [row - 0.3, row + 0.3], color=colour, lw=2.4, zorder=3)
        axes.annotate(
            readable(measure.summary.median, "s"),
            (max(values), row),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    models = {style.model_title(m.model) for m in found}
    labels = [
        (f"{style.model_title(m.model)}: " if len(models) > 1 else "")
        + ("service, " if m.suite == "service" else "")
        + m.what
        + wanted[m.metric]
        for m in reversed(found)
    ]
    axes.set_yticks(range(len(found)), labels)
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 2)
    style.unit_axis(axes, "s")
    text = "a dot per sample, a line at the median; logarithmic"
    text += f"; {models.pop()}" if len(models) == 1 else ""
    style.heading(axes, title, text, results.header)
    return figure
