"""What a circuit of many lanes will cost, from pricing small ones.

From two lanes on, every count of the engine's layout grows by the same amount with each lane
(at one lane products are laid out otherwise), so two pricings tell all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from circuits.cost.model import CostModel, Prediction
from circuits.engine.port import Engine, LayoutStats, Limits, RunArgs
from circuits.errors import EngineError, ModelTooLarge
from circuits.format.manifest import MAX_LANES
from circuits.format.profile import Target
from circuits.plan.layouts import MAX_LOGROWS, base_for, minimal_logrows, sizes

#: More legs pay for small circuits, whose rows a table would fill; wide ones have rows enough.
_LEGS = (2, 3, 4, 6)
#: Inner columns. Three cost as much as four, a larger domain for the quotient, and hold less:
#: measured, 64 lanes of a dense network in 2^16 rows of three took as long as in 2^17 of two.
_PRICED_COLUMNS = 2
_FOLDED_COLUMNS = (1, 4)
#: Lanes of the graphs that are priced.
NEAR, FAR = DRAFT_LANES = (2, 4)
#: Lanes that are predicted to fit by less may not, for the counts are right to some rows.
_SURE = 1.01
#: Shapes priced again at their own size.
_FINALISTS = 4
_DRAFT_LOGROWS = 17  # any: the layout's length hardly depends on it
_MAX_DIGIT_BITS = 20
_WORD_BITS = 112
_GIB = 1 << 30


#: The number of a draft, one of its shapes, and what that is predicted to cost.
_Found = tuple[int, LayoutStats, Prediction]


@dataclass(frozen=True, kw_only=True)
class BatchCandidate:
    """One of the graphs that may be widened: with each of ``DRAFT_LANES``, the settings that it
    takes, the ``bits`` that its decompositions must hold and the ``most_bits`` that they may, and
    the most rows that it may have."""

    graphs: Mapping[int, bytes]
    args: RunArgs
    bits: int
    most_bits: int = _WORD_BITS
    most_logrows: int = MAX_LOGROWS


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One shape of draft ``number`` at ``NEAR`` and at ``FAR`` lanes."""

    number: int
    near: LayoutStats
    far: LayoutStats
    most_bits: int
    most_logrows: int

    def at(self, lanes: int) -> LayoutStats | None:
        """The shape with so many lanes at the smallest k that holds it; None when none does."""

        def grown(low: int, high: int) -> int:
            return low + math.ceil((high - low) * (lanes - NEAR) / (FAR - NEAR))

        near, far = self.near, self.far
        public = grown(_public(near), _public(far))
        priced = replace(
            near,
            rows=grown(near.rows, far.rows),
            assignments=grown(near.assignments, far.assignments),
            constants=grown(near.constants, far.constants),
            dynamic_size=grown(near.dynamic_size, far.dynamic_size),
            instance_shapes=((public,),),
        )
        logrows = minimal_logrows(priced)
        if logrows > self.most_logrows:
            return None
        return replace(priced, args=replace(priced.args, logrows=logrows))

    def in_columns(self, columns: int) -> Pair:
        """The same layout in another number of columns."""
        return replace(self, near=_folded(self.near, columns), far=_folded(self.far, columns))


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What the drafts cost with any number of lanes, out of ``pairs``."""

    pairs: tuple[Pair, ...]
    costs: CostModel
    target: Target
    limits: Limits

    def at(self, lanes: int) -> Prediction | None:
        """The cheapest shape's costs with so many lanes; None when none fits memory."""
        found = self._best(lanes)
        return None if found is None else found[2]

    def most(self, lanes: int) -> int:
        """How many lanes, at least ``lanes`` and fewer than twice as many, cost no more than these:
        a circuit's rows are a power of two, and the lanes seldom fill them."""
        found = self.at(lanes)
        if found is None:
            return lanes
        low, high = lanes, min(2 * lanes, MAX_LANES + 1)
        while high - low > 1:
            middle = (low + high) // 2
            beyond = self.at(math.ceil(middle * _SURE))
            if beyond is None or beyond.prove_s > found.prove_s:
                high = middle
            else:
                low = middle
        return low

    def draft_for(self, lanes: int) -> int:
        """The number of the draft that is cheapest with so many lanes (0 when none fits)."""
        found = self._best(lanes)
        return 0 if found is None else found[0]

    def shapes(self, lanes: int, number: int) -> list[RunArgs]:
        """A draft's most promising shapes with so many lanes: those that fit memory first, then
        the cheapest. Of those of the same rows and columns the one with the fewest assignments."""
        found: dict[tuple[int, int], RunArgs] = {}
        most_bits = next(pair.most_bits for pair in self.pairs if pair.number == number)
        ranked = sorted(self._all(lanes, number), key=lambda f: (not self._fits(f), *self._rank(f)))
        for _, priced, _ in ranked:
            size = priced.args.logrows, priced.args.num_inner_cols
            found.setdefault(size, _filled(priced.args, most_bits))
        return list(found.values())[:_FINALISTS]

    def _best(self, lanes: int) -> _Found | None:
        fitting = [
            f
            for number in {pair.number for pair in self.pairs}
            for f in self._all(lanes, number)
            if self._fits(f)
        ]
        return min(fitting, key=self._rank, default=None)

    def _all(self, lanes: int, number: int) -> list[_Found]:
        return [
            (number, sized, self.costs.predict(sized))
            for pair in self.pairs
            if pair.number == number and (p := pair.at(lanes)) is not None
            for size in sizes(p)
            if size.logrows <= pair.most_logrows
            for sized in (replace(p, args=size),)
        ]

    def _fits(self, found: _Found) -> bool:
        return found[2].peak_bytes <= self.limits.memory_bytes

    def _rank(self, found: _Found) -> tuple[float, float, int]:
        _, priced, predicted = found
        return predicted.of(self.target), predicted.prove_s, priced.assignments


def forecast(
    engine: Engine,
    drafts: Sequence[BatchCandidate],
    limits: Limits,
    costs: CostModel,
    target: Target,
) -> Forecast:
    """Prices each draft's graphs in the shapes that hold its bits.

    Each number of legs is priced in ``_PRICED_COLUMNS``; in ``_FOLDED_COLUMNS`` the same cells are
    so many times fewer rows. Raises ``EngineError`` when the engine refuses them all.
    """
    pairs: list[Pair] = []
    refused: list[EngineError] = []
    for number, draft in enumerate(drafts):
        shapes = _drafts(draft.args, draft.bits, draft.most_bits)
        near, far = (engine.measure_layout(draft.graphs[n], shapes, limits) for n in DRAFT_LANES)
        refused += [p for p in (*near, *far) if isinstance(p, EngineError)]
        for a, b in zip(near, far, strict=True):
            if isinstance(a, LayoutStats) and isinstance(b, LayoutStats):
                pair = Pair(
                    number=number,
                    near=a,
                    far=b,
                    most_bits=draft.most_bits,
                    most_logrows=draft.most_logrows,
                )
                pairs += [pair, *map(pair.in_columns, _FOLDED_COLUMNS)]
    if not pairs:
        raise refused[0]
    return Forecast(pairs=tuple(pairs), costs=costs, target=target, limits=limits)


def choose_shape(
    engine: Engine, graph: bytes, foretold: Forecast, number: int, lanes: int
) -> tuple[LayoutStats, Prediction]:
    """The cheapest shape of a wide graph that fits memory, priced at its own size.

    ``graph`` is draft ``number`` of what was predicted, with ``lanes`` lanes. Raises
    ``ModelTooLarge`` when none fits.
    """
    limits, target = foretold.limits, foretold.target
    priced = _priced(engine, graph, foretold.shapes(lanes, number), limits)
    # A shape that is longer than was predicted, by its last rows, is looked at in its real size.
    longer = [
        replace(p.args, logrows=k)
        for p in priced
        if p.args.logrows < (k := minimal_logrows(p)) <= MAX_LOGROWS
    ]
    priced += _priced(engine, graph, longer, limits)
    ranked = sorted(
        ((p, foretold.costs.predict(p)) for p in priced if minimal_logrows(p) <= p.args.logrows),
        key=lambda found: (found[1].of(target), found[1].prove_s, found[0].assignments),
    )
    fitting = [found for found in ranked if found[1].peak_bytes <= limits.memory_bytes]
    if not fitting:
        raise _too_large(ranked, limits)
    return fitting[0]


def _priced(
    engine: Engine, graph: bytes, shapes: Sequence[RunArgs], limits: Limits
) -> list[LayoutStats]:
    found = engine.measure_layout(graph, shapes, limits) if shapes else []
    return [p for p in found if isinstance(p, LayoutStats)]


def _drafts(args: RunArgs, bits: int, most_bits: int) -> list[RunArgs]:
    """Each number of legs with the least base that holds the bits, and no more than it may."""
    bases: dict[int, int] = {}
    for legs in _LEGS:
        base = base_for(bits, legs, most_bits)
        if base is not None and base <= 1 << _MAX_DIGIT_BITS:
            bases.setdefault(base, legs)
    return [
        replace(
            args,
            decomp_base=base,
            decomp_legs=legs,
            num_inner_cols=_PRICED_COLUMNS,
            logrows=_DRAFT_LOGROWS,
        )
        for base, legs in bases.items()
    ]


def _public(priced: LayoutStats) -> int:
    return sum(math.prod(shape) for shape in priced.instance_shapes)


def _folded(priced: LayoutStats, columns: int) -> LayoutStats:
    """The same layout in another number of columns."""
    rows = math.ceil(priced.rows * priced.args.num_inner_cols / columns)
    return replace(priced, args=replace(priced.args, num_inner_cols=columns), rows=rows)


def _filled(args: RunArgs, most_bits: int) -> RunArgs:
    """The largest base whose table still fits the rows: headroom that costs nothing."""
    free = min(args.logrows - 1, _MAX_DIGIT_BITS, most_bits // args.decomp_legs)
    return replace(args, decomp_base=max(args.decomp_base, 1 << free))


def _too_large(ranked: Sequence[tuple[LayoutStats, Prediction]], limits: Limits) -> ModelTooLarge:
    if not ranked:
        return ModelTooLarge("the engine lays this many lanes out in no shape")
    least = min(predicted.peak_bytes for _, predicted in ranked)
    return ModelTooLarge(
        f"this many lanes need about {least / _GIB:.1f} GiB; the limit is"
        f" {limits.memory_bytes / _GIB:.1f} GiB",
        advice="Use fewer lanes, or raise ZKML_ENGINE_MEMORY_MB on a larger machine.",
    )
