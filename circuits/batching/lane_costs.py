"""Predicts what a circuit of many lanes costs, from layouts with two and with four lanes.

From two lanes on, every count of a layout grows by the same amount with each lane, so two measured
layouts determine all others. (With one lane, products are laid out differently.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from circuits.cost.model import CostModel, Prediction
from circuits.engine.port import Engine, LayoutStats, Limits, RunArgs
from circuits.errors import EngineError, ModelTooLarge
from circuits.format.commitments import columns, salted_pieces
from circuits.format.manifest import MAX_LANES
from circuits.format.profile import Target
from circuits.plan.layouts import (
    MAX_LOGROWS,
    at_smallest,
    base_for,
    fill_table,
    minimal_logrows,
    sizes,
)

#: More legs pay for small circuits, whose rows a table would fill; batched ones have rows enough.
_LEGS = (2, 3, 4, 6)
#: Inner columns. Three cost as much as four, a larger domain for the quotient, and hold less:
#: measured, 64 lanes of a dense network in 2^16 rows of three took as long as in 2^17 of two.
_MEASURED_COLUMNS = 2
_FOLDED_COLUMNS = (1, 4)
#: Lanes of the graphs that are measured.
DRAFT_LANES = (2, 4)
#: Lanes that are predicted to fit by less may not, for the engine's counts are right to some rows.
_SURE = 1.01
#: Shapes layout again at their own size.
_FINALISTS = 4
_DRAFT_LOGROWS = 17  # any: the layout's length hardly depends on it
_MAX_DIGIT_BITS = 20
#: Rows of a column that are left free where k is given: a few more than the engine keeps.
_SPARE_ROWS = 32
_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One shape with two numbers of ``lanes``. They are laid out in multiples of ``whole``; where
    k is ``given``, the shape has that one or is none. ``elements``: those of a committed tensor,
    without its columns' salt."""

    near: LayoutStats
    far: LayoutStats
    lanes: tuple[int, int] = DRAFT_LANES
    whole: int = 1
    given: bool = False
    elements: tuple[int, int] = (0, 0)

    def shapes(self, lanes: int) -> list[LayoutStats]:
        """The shape with so many lanes, at each k that may pay; none where none holds it."""
        first, second = self.lanes
        lanes = math.ceil(lanes / self.whole) * self.whole

        def grown(low: int, high: int) -> int:
            return low + math.ceil((high - low) * (lanes - first) / (second - first))

        near, far = self.near, self.far
        layout = replace(
            near,
            rows=grown(near.rows, far.rows),
            assignments=grown(near.assignments, far.assignments),
            constants=grown(near.constants, far.constants),
            dynamic_size=grown(near.dynamic_size, far.dynamic_size),
            committed=near.committed + self._committed(grown(*self.elements)),
            instance_shapes=((grown(_public(near), _public(far)),),),
        )
        if self.given:
            return [layout] if layout.rows + _SPARE_ROWS <= 1 << layout.args.logrows else []
        smallest = at_smallest(layout)
        return [] if smallest is None else [replace(smallest, args=a) for a in sizes(smallest)]

    def _committed(self, elements: int) -> int:
        """The columns of so many committed elements."""
        logrows = self.near.args.logrows
        return columns(salted_pieces(elements, logrows)[-1][1], logrows) if elements else 0

    def in_columns(self, columns: int) -> Growth:
        """The same layout in another number of columns."""
        return replace(self, near=_folded(self.near, columns), far=_folded(self.far, columns))


@dataclass(frozen=True, kw_only=True)
class LaneCosts:
    """What any number of lanes costs, out of ``growths``."""

    growths: tuple[Growth, ...]
    costs: CostModel
    target: Target
    limits: Limits

    def at(self, lanes: int) -> Prediction | None:
        """The cheapest shape's costs with so many lanes; None when none fits memory."""
        found = self.best(lanes)
        return None if found is None else found[1]

    def best(self, lanes: int) -> tuple[LayoutStats, Prediction] | None:
        """The cheapest shape that fits memory."""
        return min(filter(self._fits, self._all(lanes)), key=self.rank, default=None)

    def most(self, lanes: int) -> int:
        """How many lanes, at least ``lanes`` and fewer than twice as many, cost no more than these:
        a circuit's rows are a power of two, and the lanes seldom fill them."""
        found = self.at(lanes)
        if found is None:
            return lanes
        low, high = lanes, min(2 * lanes, MAX_LANES + 1)
        while high - low > 1:
            middle = (low + high) // 2
            beyond = self.at(middle if self.growths[0].given else math.ceil(middle * _SURE))
            if beyond is None or beyond.prove_s > found.prove_s:
                high = middle
            else:
                low = middle
        return low

    def sizes(self, lanes: int) -> list[RunArgs]:
        """The most promising shapes with so many lanes: those that fit memory first, then
        the cheapest. Of those of the same rows and columns the one with the fewest assignments."""
        found: dict[tuple[int, int], RunArgs] = {}
        ranked = sorted(self._all(lanes), key=lambda f: (not self._fits(f), *self.rank(f)))
        for layout, _ in ranked:
            size = layout.args.logrows, layout.args.num_inner_cols
            found.setdefault(size, fill_table(layout.args))
        return list(found.values())[:_FINALISTS]

    def _all(self, lanes: int) -> list[tuple[LayoutStats, Prediction]]:
        shapes = [shape for growth in self.growths for shape in growth.shapes(lanes)]
        return [(shape, self.costs.predict(shape)) for shape in shapes]

    def _fits(self, found: tuple[LayoutStats, Prediction]) -> bool:
        return found[1].peak_bytes <= self.limits.memory_bytes

    def rank(self, found: tuple[LayoutStats, Prediction]) -> tuple[float, float, int]:
        """By what the cheapest is least."""
        layout, predicted = found
        return predicted.of(self.target), predicted.prove_s, layout.assignments


def growths(
    engine: Engine, graphs: Mapping[int, bytes], args: RunArgs, bits: int, limits: Limits
) -> tuple[Growth, ...]:
    """How a graph grows in the shapes that hold its ``bits``, from what the engine says of it with
    each of ``DRAFT_LANES``.

    Each number of legs is measured in ``_MEASURED_COLUMNS``; in ``_FOLDED_COLUMNS`` the same
    cells are so many times fewer rows. Raises ``EngineError`` when the engine refuses them all.
    """
    drafts = _drafts(args, bits)
    near, far = (engine.measure_layout(graphs[n], drafts, limits) for n in DRAFT_LANES)
    found = [
        Growth(near=a, far=b)
        for a, b in zip(near, far, strict=True)
        if isinstance(a, LayoutStats) and isinstance(b, LayoutStats)
    ]
    if not found:
        raise next(p for p in (*near, *far) if isinstance(p, EngineError))
    return tuple(
        shape for growth in found for shape in (growth, *map(growth.in_columns, _FOLDED_COLUMNS))
    )


def choose_layout(
    engine: Engine, graph: bytes, lane_costs: LaneCosts, lanes: int
) -> tuple[LayoutStats, Prediction]:
    """The cheapest shape of a batched graph that fits memory, measured at its own size. Raises
    ``ModelTooLarge`` when none fits."""
    limits = lane_costs.limits
    layout = _measured_layout(engine, graph, lane_costs.sizes(lanes), limits)
    # A shape that is longer than was predicted, by its last rows, is looked at in its real size.
    longer = [
        replace(p.args, logrows=k)
        for p in layout
        if p.args.logrows < (k := minimal_logrows(p)) <= MAX_LOGROWS
    ]
    layout += _measured_layout(engine, graph, longer, limits)
    held = [p for p in layout if minimal_logrows(p) <= p.args.logrows]
    ranked = sorted(((p, lane_costs.costs.predict(p)) for p in held), key=lane_costs.rank)
    fitting = [found for found in ranked if found[1].peak_bytes <= limits.memory_bytes]
    if not fitting:
        raise too_many(ranked, limits)
    return fitting[0]


def too_many(ranked: Sequence[tuple[LayoutStats, Prediction]], limits: Limits) -> ModelTooLarge:
    """None of the shapes of so many lanes fits memory."""
    if not ranked:
        return ModelTooLarge("there is no shape that holds this many lanes and fits memory")
    least = min(predicted.peak_bytes for _, predicted in ranked)
    return ModelTooLarge(
        f"this many lanes need about {least / _GIB:.1f} GiB; the limit is"
        f" {limits.memory_bytes / _GIB:.1f} GiB",
        advice="Use fewer lanes, or raise ZKML_ENGINE_MEMORY_MB on a larger machine.",
    )


def _measured_layout(
    engine: Engine, graph: bytes, shapes: Sequence[RunArgs], limits: Limits
) -> list[LayoutStats]:
    found = engine.measure_layout(graph, shapes, limits) if shapes else []
    return [p for p in found if isinstance(p, LayoutStats)]


def _drafts(args: RunArgs, bits: int) -> list[RunArgs]:
    """Each number of legs with the least base that holds the bits."""
    bases: dict[int, int] = {}
    for legs in _LEGS:
        base = base_for(bits, legs)
        if base is not None and base <= 1 << _MAX_DIGIT_BITS:
            bases.setdefault(base, legs)
    return [
        replace(
            args,
            decomp_base=base,
            decomp_legs=legs,
            num_inner_cols=_MEASURED_COLUMNS,
            logrows=_DRAFT_LOGROWS,
        )
        for base, legs in bases.items()
    ]


def _public(layout: LayoutStats) -> int:
    return sum(math.prod(shape) for shape in layout.instance_shapes)


def _folded(layout: LayoutStats, columns: int) -> LayoutStats:
    """The same layout in another number of columns."""
    rows = math.ceil(layout.rows * layout.args.num_inner_cols / columns)
    return replace(layout, args=replace(layout.args, num_inner_cols=columns), rows=rows)
