"""Pictures: a plan as error against time, a model's cost layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from circuits.cost.layers import CostReport, in_words
from circuits.errors import Fault, ZkmlError

_INK, _PALE, _CHOICE, _FRONTIER = "#333333", "#b8c4d0", "#c8442c", "#4477aa"


#: Layers drawn at most.
_BARS = 24


class PlotsMissing(ZkmlError):
    """Drawing needs matplotlib, which is not installed."""

    code = "plots_missing"
    fault = Fault.INPUT
    default_advice = "Install it: pip install 'zkml-prover[plots]'."


def draw_plan(document: dict[str, Any], path: Path) -> None:
    """Draws ``Plan.to_json()`` into a file, SVG or PNG by its ending. Raises ``PlotsMissing``."""
    plt = _pyplot()
    rows = [document["choice"], *document["runners_up"]]
    points = [(r["predicted"]["prove_s"], 100 * r["error"]["max_error"]) for r in rows]
    timed = [p for p, r in zip(points, rows, strict=True) if r["measured"]]
    frontier = _frontier(points)
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    axes.scatter(xs, ys, s=36, color=_PALE, label="candidates", zorder=2)
    axes.plot(
        [x for x, _ in frontier],
        [y for _, y in frontier],
        color=_FRONTIER,
        drawstyle="steps-post",
        linewidth=1.2,
        label="frontier",
        zorder=1,
    )
    if timed:
        axes.scatter(
            [x for x, _ in timed],
            [y for _, y in timed],
            s=110,
            facecolors="none",
            edgecolors=_INK,
            linewidths=0.8,
            label="timed",
            zorder=2,
        )
    axes.scatter(xs[:1], ys[:1], s=70, color=_CHOICE, label="choice", zorder=3)
    limit = 100 * document["profile"]["max_error"]
    axes.axhline(limit, color=_INK, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"allowed: {limit:g} %", (0.995, limit), xycoords=("axes fraction", "data"),
        ha="right", va="bottom", fontsize=9, color=_INK,
    )  # fmt: skip
    args = document["choice"]["args"]
    axes.set_title(
        f"{document['choice']['variant']}: k = {args['logrows']}, {args['num_inner_cols']} columns,"
        f" {args['decomp_base']}^{args['decomp_legs']}{_measured(document['choice'])}",
        fontsize=10,
        loc="left",
    )
    axes.set_xlabel("predicted proving time, seconds")
    axes.set_ylabel("largest error, % of the output's range")
    axes.set_xlim(0, 1.08 * max(xs))
    axes.set_ylim(0, 1.15 * max(limit, *(y for _, y in points)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(figure)


def draw_layers(costs: CostReport, path: Path) -> None:
    """Draws what each of the most expensive layers costs, in the graph's order: in fixed point, and
    below it in integers. Raises ``PlotsMissing``."""
    plt = _pyplot()
    costliest = sorted(costs.layers, key=lambda c: -c.fixed_point)[:_BARS]
    layers = [c for c in costs.layers if c in costliest and (c.fixed_point or c.integers)]
    figure, axes = plt.subplots(figsize=(8, 1.6 + 0.4 * len(layers)), layout="constrained")
    rows = np.arange(len(layers))
    for at, label, color, cells in (
        (-0.2, "in fixed point", _PALE, [c.fixed_point for c in layers]),
        (0.2, "in integers", _FRONTIER, [c.integers or 0 for c in layers]),
    ):
        axes.barh(rows + at, cells, 0.36, color=color, label=label)
    axes.set_yticks(rows, [f"{c.op}  {c.layer[-32:]}" for c in layers], fontsize=8)
    axes.invert_yaxis()
    axes.set_title(in_words(costs), fontsize=10, loc="left")
    axes.set_xlabel("assignments")
    axes.xaxis.set_major_formatter(lambda cells, _: f"{cells:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(figure)


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        raise PlotsMissing from None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "zkml"  # equal documents give equal files
    return plt


def _measured(row: dict[str, Any]) -> str:
    return f"; measured {row['measured']['prove_s']:.2f} s" if row["measured"] else ""


def _frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both time and error, fastest first."""
    best: list[tuple[float, float]] = []
    for seconds, error in sorted(points):
        if not best or error < best[-1][1]:
            best.append((seconds, error))
    return best
