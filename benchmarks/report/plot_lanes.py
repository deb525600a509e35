"""The plot of what an input costs by the lanes that it shares a proof with."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.harness.rows import Results
from benchmarks.report import plot_style as style
from benchmarks.report.aggregates import Sweep, sweeps
from benchmarks.report.run_summary import OURS

_COLOURS = (style.COLOURS[OURS], "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "os^Dvp"


def lanes(results: Results, title: str) -> Figure | None:
    """A line per model: measured, then as predicted to where memory ends it; dashed, the same
    model's EZKL default, one input after another."""
    found = sweeps(results)
    if not found:
        return None
    figure, axes = style.canvas(4.6)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for at, sweep in enumerate(found):
        _line(axes, sweep, _COLOURS[at % len(_COLOURS)], _MARKERS[at % len(_MARKERS)])
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 1.15)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("lanes: inputs that share a proof")
    style.unit_axis(axes, "s", "y")
    axes.set_ylabel("witness and proof, per input")
    ending = "; × memory ends" if any(s.memory_ends_at for s in found) else ""
    style.heading(
        axes,
        title,
        f"solid: measured; dotted: predicted{ending}; dashed: EZKL's default flow, one by one",
        results.header,
    )
    return figure


def _line(axes: Axes, sweep: Sweep, colour: str, marker: str) -> None:
    counts = list(sweep.seconds)
    axes.plot(
        counts,
        list(sweep.seconds.values()),
        color=colour,
        marker=marker,
        lw=2,
        ms=6,
        label=style.model_title(sweep.model),
        zorder=3,
    )
    if sweep.base_s is not None:
        axes.axhline(sweep.base_s, color=colour, ls="--", lw=1.1, alpha=0.8, zorder=1)
    ahead = [n for n in sorted(sweep.predicted_s) if n > counts[-1]]
    if not ahead:
        return
    # The prediction is drawn on from what was measured last, by its own proportions; as it is where
    # that many lanes were not predicted (one lane never is).
    last = sweep.seconds[counts[-1]]
    scale = last / sweep.predicted_s.get(counts[-1], last)
    xs = [counts[-1], *ahead]
    ys = [last, *(sweep.predicted_s[n] * scale for n in ahead)]
    axes.plot(xs, ys, color=colour, ls=":", lw=1.6, zorder=2)
    if sweep.memory_ends_at is not None:
        axes.scatter(xs[-1], ys[-1], marker="x", s=70, color=colour, lw=2.2, zorder=4)
        axes.annotate(
            f"{sweep.memory_ends_at} do not fit",
            (xs[-1], ys[-1]),
            (0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=colour,
        )
