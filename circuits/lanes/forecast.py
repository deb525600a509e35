"""What a circuit of many lanes will cost, from pricing two small ones.

From two lanes on, every count of the engine's layout grows by the same amount with each lane
(at one lane products are laid out otherwise), so two pricings tell all others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from circuits.engine.port import Engine, Limits, Priced, RunArgs
from circuits.errors import EngineError, ModelTooLarge
from circuits.plan.cost import CostModel, Prediction
from circuits.plan.shapes import COLUMNS, MAX_LOGROWS, minimal_logrows, sizes
from circuits.profile import Target

#: The two numbers of lanes that are priced.
NEAR, FAR = 2, 4
#: More legs pay for small circuits, whose rows a table would fill; wide ones have rows enough.
_LEGS = (2, 3, 4, 6)
_PRICED_COLUMNS = 2
#: Shapes priced again at their own size.
_FINALISTS = 6
_DRAFT_LOGROWS = 17  # any: the layout's length hardly depends on it
_MAX_DIGIT_BITS = 20
_WORD_BITS = 112
_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One of the graphs that may be widened: at ``NEAR`` and ``FAR`` lanes, with the settings that
    it takes and the ``bits`` that its decompositions must hold."""

    graphs: tuple[bytes, bytes]
    args: RunArgs
    bits: int


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """``pairs``: the same shape at ``NEAR`` and ``FAR`` lanes, with the number of its draft."""

    pairs: tuple[tuple[int, Priced, Priced], ...]
    costs: CostModel
    target: Target
    limits: Limits

    def at(self, lanes: int) -> Prediction | None:
        """The cheapest shape's costs with so many lanes; None when none fits memory."""
        found = self._best(lanes)
        return None if found is None else found[1]

    def draft_for(self, lanes: int) -> int:
        """The number of the draft that is cheapest with so many lanes (0 when none fits)."""
        found = self._best(lanes)
        return 0 if found is None else found[0]

    def _best(self, lanes: int) -> tuple[int, Prediction] | None:
        found = [
            (number, self.costs.predict(replace(p, args=size)))
            for number, near, far in self.pairs
            for p in (_at_least(_extrapolated(near, far, lanes)),)
            if p is not None
            for size in sizes(p)
        ]
        fitting = [f for f in found if f[1].peak_bytes <= self.limits.memory_bytes]
        return min(fitting, key=lambda f: (f[1].of(self.target), f[1].prove_s), default=None)


def forecast(
    engine: Engine,
    drafts: Sequence[Draft],
    limits: Limits,
    costs: CostModel,
    target: Target,
) -> Forecast:
    """Prices each draft's graphs in the shapes that hold its bits.

    Each number of legs is priced in ``_PRICED_COLUMNS`` columns; in others the same cells are so
    many times fewer rows. Raises ``EngineError`` when the engine refuses them all.
    """
    pairs: list[tuple[int, Priced, Priced]] = []
    refused: list[EngineError] = []
    for number, draft in enumerate(drafts):
        shapes = _drafts(draft.args, draft.bits, (_PRICED_COLUMNS,))
        near, far = (engine.price(g, shapes, limits) for g in draft.graphs)
        refused += [p for p in (*near, *far) if isinstance(p, EngineError)]
        pairs += [
            (number, _folded(a, columns), _folded(b, columns))
            for a, b in zip(near, far, strict=True)
            for columns in COLUMNS
            if isinstance(a, Priced) and isinstance(b, Priced)
        ]
    if not pairs:
        raise refused[0]
    return Forecast(pairs=tuple(pairs), costs=costs, target=target, limits=limits)


def choose_shape(
    engine: Engine,
    graph: bytes,
    args: RunArgs,
    bits: int,
    limits: Limits,
    costs: CostModel,
    target: Target,
) -> tuple[Priced, Prediction]:
    """The cheapest shape of a wide graph that fits memory, priced at its own size.

    Raises ``ModelTooLarge`` when none fits.
    """
    drafts = [
        replace(least, args=size)
        for p in engine.price(graph, _drafts(args, bits, COLUMNS), limits)
        if isinstance(p, Priced) and (least := _at_least(p)) is not None
        for size in sizes(least)
    ]
    drafts.sort(key=lambda p: costs.predict(p).of(target))
    settled = [_filled(p.args) for p in drafts[:_FINALISTS]]
    ranked = sorted(
        (
            (p, costs.predict(p))
            for p in engine.price(graph, settled, limits)
            if isinstance(p, Priced) and minimal_logrows(p) <= p.args.logrows
        ),
        key=lambda found: (found[1].of(target), found[1].prove_s, found[0].assignments),
    )
    fitting = [found for found in ranked if found[1].peak_bytes <= limits.memory_bytes]
    if not fitting:
        raise _too_large(ranked, limits)
    return fitting[0]


def _drafts(args: RunArgs, bits: int, columns: Sequence[int]) -> list[RunArgs]:
    """Each number of legs with the least base that holds the bits, in each number of columns."""
    bases: dict[int, int] = {}
    for legs in _LEGS:
        each = max(2, math.ceil(bits / legs))
        if each <= _MAX_DIGIT_BITS and each * legs <= _WORD_BITS:
            bases.setdefault(each, legs)
    return [
        replace(
            args,
            decomp_base=1 << each,
            decomp_legs=legs,
            num_inner_cols=number,
            logrows=_DRAFT_LOGROWS,
        )
        for (each, legs), number in itertools.product(bases.items(), columns)
    ]


def _at_least(priced: Priced) -> Priced | None:
    """The layout at the smallest k that holds it; None when none does."""
    logrows = minimal_logrows(priced)
    if logrows > MAX_LOGROWS:
        return None
    return replace(priced, args=replace(priced.args, logrows=logrows))


def _folded(priced: Priced, columns: int) -> Priced:
    """The same layout in another number of columns."""
    rows = math.ceil(priced.rows * priced.args.num_inner_cols / columns)
    return replace(priced, args=replace(priced.args, num_inner_cols=columns), rows=rows)


def _filled(args: RunArgs) -> RunArgs:
    """The largest base whose table still fits the rows: headroom that costs nothing."""
    free = min(args.logrows - 1, _MAX_DIGIT_BITS, _WORD_BITS // args.decomp_legs)
    return replace(args, decomp_base=max(args.decomp_base, 1 << free))


def _extrapolated(near: Priced, far: Priced, lanes: int) -> Priced:
    def at(low: int, high: int) -> int:
        return low + math.ceil((high - low) * (lanes - NEAR) / (FAR - NEAR))

    public = at(
        sum(math.prod(s) for s in near.instance_shapes),
        sum(math.prod(s) for s in far.instance_shapes),
    )
    return replace(
        near,
        rows=at(near.rows, far.rows),
        assignments=at(near.assignments, far.assignments),
        constants=at(near.constants, far.constants),
        einsum_size=at(near.einsum_size, far.einsum_size),
        dynamic_size=at(near.dynamic_size, far.dynamic_size),
        instance_shapes=((public,),),
    )


def _too_large(ranked: Sequence[tuple[Priced, Prediction]], limits: Limits) -> ModelTooLarge:
    if not ranked:
        return ModelTooLarge("the engine lays this many lanes out in no shape")
    least = min(predicted.peak_bytes for _, predicted in ranked)
    return ModelTooLarge(
        f"this many lanes need about {least / _GIB:.1f} GiB; the limit is"
        f" {limits.memory_bytes / _GIB:.1f} GiB",
        hint="Use fewer lanes, or raise ZKML_ENGINE_MEMORY_MB on a larger machine.",
    )
