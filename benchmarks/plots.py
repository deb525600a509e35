"""Plots of a run, as SVG and PNG."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.digest import BASELINE, OURS, Digest, measures
from benchmarks.metrics import readable
from benchmarks.models.zoo import ZOO
from benchmarks.rows import Results, Step

#: Distinguishable without colour vision (Okabe and Ito), ours the strongest.
COLOURS = {OURS: "#0072B2", BASELINE: "#E69F00"}
OTHER_COLOURS = ("#009E73", "#CC79A7", "#56B4E9")
TITLES = {OURS: "zkml-prover", BASELINE: "EZKL, default flow", "circom": "circom + snarkjs"}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 12,
    "axes.titlepad": 26,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "svg.hashsalt": "zkml-prover",  # equal results, equal files
    "legend.frameon": False,
}


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Draws what the results have figures for; returns (file name, title) of each plot."""
    digest = Digest.of(results)
    drawn = []
    for name, title, paint in (
        ("prove-time", "Time to prove one input", partial(_prove_time, digest)),
        ("time-accuracy", "Time to prove against exactness", partial(_time_accuracy, digest)),
        ("memory", "Peak memory of one proof", partial(_memory, digest)),
        ("latency", "Latency of the service and the commands", partial(_latency, results)),
    ):
        with mpl.rc_context(_STYLE):
            figure = paint(title)
            if figure is None:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            figure.savefig(folder / f"{name}.png", dpi=160)
            drawn.append((name, title))
    return drawn


def _prove_time(digest: Digest, title: str) -> Figure | None:
    return _bars(digest, title, "prove_s", "s", speed_ups=True)


def _memory(digest: Digest, title: str) -> Figure | None:
    return _bars(digest, title, "peak_rss_bytes", "B", speed_ups=False)


def _bars(digest: Digest, title: str, metric: str, unit: str, *, speed_ups: bool) -> Figure | None:
    """A group of bars per model on a logarithmic axis, quartiles as whiskers."""
    models = [m for m in digest.models if any(s.values(metric) for s in digest.of_model(m))]
    if not models:
        return None
    models.sort(key=lambda m: max(s.median for x in digest.of_model(m) if (s := x.median(metric))))
    sides = [s for s in digest.sides if any(_has(digest, m, s, metric) for m in models)]
    height = 0.8 / len(sides)
    figure, axes = _canvas(1.9 + len(models) * (0.22 + 0.26 * len(sides)))
    missing: list[tuple[float, str]] = []
    for at, side in enumerate(sides):
        for row, model in enumerate(models):
            standing = digest.standings.get((model, side))
            found = standing.median(metric) if standing else None
            y = row + 0.4 - height * (at + 0.5)
            if standing is not None and found is None:
                missing.append(
                    (y, standing.bad[0].status.value if standing.bad else "not measured")
                )
            if standing is None or found is None:
                continue
            axes.barh(
                y,
                found.median,
                height * 0.88,
                color=_colour(side),
                alpha=0.35 if standing.misses else 1.0,
                label=_title(side),
                zorder=2,
            )
            axes.plot([found.lower, found.upper], [y, y], color="#333333", lw=1.4, zorder=3)
            text = readable(found.median, unit) + (" †" if standing.misses else "")
            if speed_ups and side == OURS and (gain := digest.speed_up(model)) is not None:
                text += f"   {gain.value:.3g}× faster"
            axes.annotate(
                text, (found.upper, y), (6, 0), textcoords="offset points", va="center", fontsize=9
            )
    axes.set_yticks(range(len(models)), [_model(m) for m in models])
    axes.set_ylim(-0.55, len(models) - 0.45)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.6, high * 6)
    for y, word in missing:
        axes.text(low / 1.5, y, word, va="center", fontsize=9, color="#888888", style="italic")
    _unit_axis(axes, unit)
    _finish(axes, title, "median of fresh processes, logarithmic; whiskers: quartiles")
    return figure


def _time_accuracy(digest: Digest, title: str) -> Figure | None:
    """One point per model and side, a line between the sides of one model."""
    points: dict[str, list[tuple[str, float, float]]] = {}
    for (model, side), standing in digest.standings.items():
        proved, judged = standing.median("prove_s"), standing.median("max_error", Step.ACCURACY)
        if proved is not None and judged is not None:
            points.setdefault(model, []).append((side, proved.median, max(judged.median, 1e-7)))
    if not points:
        return None
    figure, axes = _canvas(5.0)
    for model, found in points.items():
        axes.plot(
            [t for _, t, _ in found], [e for _, _, e in found], color="#BBBBBB", lw=1, zorder=1
        )
        for side, time, error in found:
            axes.scatter(time, error, s=46, color=_colour(side), label=_title(side), zorder=3, lw=0)
        side, time, error = min(found, key=lambda point: point[1])
        axes.annotate(
            _model(model),
            (time, error),
            (-7, 5),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 5, high * 1.3)
    _unit_axis(axes, "s")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:g} %"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axes.set_ylabel("largest error over the output's range")
    _finish(axes, title, "left is faster, down is more exact")
    return figure


def _latency(results: Results, title: str) -> Figure | None:
    """Every sample as a dot, the median as a line: spread is what latency is about."""
    wanted = {"latency_s": "", "overhead_s": ", overhead", "total_s": "", "verify_s": ""}
    found = [m for m in measures(results) if m.metric in wanted]
    if not found:
        return None
    figure, axes = _canvas(1.4 + 0.42 * len(found))
    for row, measure in enumerate(reversed(found)):
        colour = OTHER_COLOURS[0] if measure.metric == "overhead_s" else COLOURS[OURS]
        values = [max(value, 1e-4) for value in measure.values]
        axes.scatter(values, [row] * len(values), s=30, color=colour, alpha=0.45, lw=0, zorder=2)
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
    labels = [f"{_model(m.model)}: {m.what}{wanted[m.metric]}" for m in reversed(found)]
    axes.set_yticks(range(len(found)), labels)
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 2)
    _unit_axis(axes, "s")
    _finish(axes, title, "a dot per sample, a line at the median; logarithmic")
    return figure


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.6, max(height, 2.6)), layout="constrained")
    return figure, figure.add_subplot()


def _unit_axis(axes: Axes, unit: str) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: readable(value, unit)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _finish(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(title)
    axes.text(0, 1.03, subtitle, transform=axes.transAxes, fontsize=9, color="#666666")
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if len(unique) > 1:
        axes.legend(
            unique.values(),
            unique.keys(),
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=len(unique),
            fontsize=9,
            handlelength=1.1,
        )


def _has(digest: Digest, model: str, side: str, metric: str) -> bool:
    standing = digest.standings.get((model, side))
    return standing is not None and bool(standing.values(metric))


def _model(name: str) -> str:
    return ZOO[name].title if name in ZOO else name


def _title(side: str) -> str:
    return TITLES.get(side, side)


def _colour(side: str) -> str:
    if side in COLOURS:
        return COLOURS[side]
    return OTHER_COLOURS[sum(map(ord, side)) % len(OTHER_COLOURS)]
