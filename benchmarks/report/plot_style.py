"""How every plot looks: canvas, heading, colours, units, and labels that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.harness.metrics import readable
from benchmarks.harness.rows import Header
from benchmarks.report.run_summary import BASELINE, OURS
from benchmarks.zoo.zoo import ZOO

#: Distinguishable without colour vision (Okabe and Ito), ours the strongest.
COLOURS = {OURS: "#0072B2", BASELINE: "#E69F00"}
OTHER_COLOURS = ("#009E73", "#CC79A7", "#56B4E9", "#D55E00")
TITLES = {OURS: "zkml-prover", BASELINE: "EZKL, default flow", "circom": "circom + snarkjs"}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "svg.hashsalt": "zkml-prover",  # equal results, equal files
    "legend.frameon": False,
}
_WIDTH = 8.6  # inches
_HEADING = 1.12  # inches: title, what is shown, where it was measured, legend
_GREY = "#666666"
_SHORT = 50  # the largest value over the smallest
#: Where a label may stand about its point: offset in points and which end of the text is there.
_PLACES = tuple(
    (dx, dy, align)
    for dy in (5, -12, 16, -23, 28, -35, 40, -47)
    for dx, align in ((-8, "right"), (8, "left"))
)
#: How much worse a label is outside the axes than over another one.
_OUTSIDE = 4.0


def canvas(height: float) -> tuple[Figure, Axes]:
    """A figure whose axes take ``height`` inches or a little more, below its heading."""
    whole = max(height, 1.6) + _HEADING
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - _HEADING / whole))
    figure = Figure(figsize=(_WIDTH, whole), layout=layout)
    return figure, figure.add_subplot()


def heading(axes: Axes, title: str, subtitle: str, header: Header) -> None:
    """Title, what is shown, where it was measured, and the legend of what is labelled."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    whole = figure.get_figheight()

    def line(inches: float, text: str, **font: Any) -> None:
        figure.text(0.012, 1 - inches / whole, text, va="top", **font)

    line(0.10, title, fontsize=13, weight="bold")
    line(0.38, subtitle, fontsize=9, color=_GREY)
    line(0.56, measured_on(header), fontsize=9, color=_GREY)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        figure.legend(
            unique.values(),
            unique.keys(),
            loc="upper left",
            bbox_to_anchor=(0.004, 1 - 0.72 / whole),
            ncols=len(unique),
            fontsize=9,
            handlelength=1.2,
            columnspacing=1.4,
        )


def measured_on(header: Header) -> str:
    """The machine in a line."""
    machine = header.machine
    engine = machine["versions"].get("ezkl")
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {memory}",
        *([f"ezkl {engine}"] if engine else []),
        f"commit {machine['commit'][:8]}",
        header.started[:10],
    ]
    return " · ".join(parts)


def unit_axis(axes: Axes, unit: str, which: str = "x") -> None:
    """Ticks of a logarithmic axis with their unit: at powers of ten, and between them where the
    axis is short. Call it when the limits are final."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    if high / low < _SHORT:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: readable(value, unit)))
    axis.set_minor_formatter(NullFormatter())


def label_points(
    axes: Axes, points: Sequence[tuple[float, float]], labels: Sequence[str], *, size: float = 8
) -> None:
    """Labels the first ``len(labels)`` of the points, each where it covers no point and no label.

    Call it when scales and limits are final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = figure.dpi / 72
    inside = tuple(axes.bbox.extents)
    at = [tuple(axes.transData.transform(point)) for point in points]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    for (x, y), label, point in zip(at, labels, points, strict=False):
        width, height = 0.56 * size * scale * len(label), 1.25 * size * scale
        best: tuple[float, Any, Any] | None = None
        for dx, dy, align in _PLACES:
            left = x + dx * scale - (width if align == "right" else 0)
            bottom = y + dy * scale - 2
            box = (left, bottom, left + width, bottom + height)
            covered = sum(_overlap(box, other) for other in taken)
            covered += _OUTSIDE * (width * height - _overlap(box, inside))
            if best is None or covered < best[0]:
                best = (covered, (dx, dy, align), box)
        assert best is not None
        _, (dx, dy, align), box = best
        taken.append(box)
        leader = {"arrowstyle": "-", "color": "#AAAAAA", "lw": 0.6}
        end = {"relpos": (1.0 if align == "right" else 0.0, 0.5)}
        axes.annotate(
            label,
            point,
            (dx, dy),
            textcoords="offset points",
            ha=align,
            fontsize=size,
            arrowprops=leader | end if abs(dy) > 14 else None,
        )


def model_title(name: str) -> str:
    """A model's name for people."""
    return ZOO[name].title if name in ZOO else name


def side_title(side: str) -> str:
    """A side's name for people."""
    return TITLES.get(side, side)


def side_colour(side: str) -> str:
    """A side's colour, the same in every plot."""
    if side in COLOURS:
        return COLOURS[side]
    return OTHER_COLOURS[sum(map(ord, side)) % len(OTHER_COLOURS)]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The area that two boxes (left, bottom, right, top) share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
