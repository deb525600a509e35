"""Integers for a network: how many steps its numbers are cut into."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from circuits.committed.arithmetic import (
    LARGEST_SUM,
    InputSteps,
    Steps,
    SumSteps,
    all_largest,
    entries,
)
from circuits.committed.network import Function, FunctionTable, Kind, Local, Network, Sum
from circuits.lower.committed.quantising.functions import BENDS
from circuits.lower.committed.quantising.integers import (
    MOST_SHIFT,
    IntegerSteps,
    sources,
)
from circuits.lower.committed.quantising.tables import form_of, is_exact
from circuits.lower.committed.reading.network import Read
from circuits.lower.committed.reading.responses import SLACK, Extent
from circuits.lower.errors import CannotLower

#: By how much an input is finer that is rounded: then few values lie so near the middle between two
#: steps that they go to the other one.
FINER_BITS = 10
#: And one that is only compared with constants, which are told apart as data and thresholds are.
MOST_FINER = 40
#: All of an input's steps are no more than doubles have integers.
EXACT = 1 << 53
#: Into how many parts a range is cut where its steps shall tell little.
_SHARES = 32
#: The mantissa of a power of two.
_HALF = 0.5
#: A function takes more pieces as the root of what they may miss falls: all of them together take
#: the fewest where each may miss as much as its elements to this power.
_FEWER = 2 / 3
#: Cells that a result's quotient and remainder take, more than a result by itself.
_SPLIT_CELLS = 7


def choose_steps(
    read: Read,
    extents: Sequence[Extent],
    *,
    base: int,
    logrows: int,
    inputs: Sequence[InputSteps],
    margin: float,
    bend: int = BENDS[0],
    function: str | None = None,
    packs: bool = True,
    largest_weight: int | None = None,
) -> Steps:
    """Steps under which sums that reach ``margin`` times as far as ``extents`` (of ``responses``)
    still have entries in the table. ``bend``: one of ``BENDS``. ``function``: the operator of a
    second table, whose steps follow from what is looked up in it. ``packs``: whether outputs of
    bounded sums share powers. ``largest_weight``: what no weight may be larger than in integers,
    where they are bounded: where they are private. Manifests show the steps, so that these then
    tell little of the weights: no more of a sum than a power of two."""
    network = read.network
    steps = Steps(base=base, logrows=logrows, inputs=tuple(inputs), sums=())
    shown = {row for output in network.outputs for row in output.rows}
    asking = {} if function is None else _asking(read, function, sources(network, shown))
    if function is not None and largest_weight is not None:
        raise CannotLower("a table's steps would tell of private weights")
    if function is not None:
        steps = replace(steps, function=_table(read, extents, steps, margin, function, asking))
    chooser = _Chooser(read, steps, margin, shown, asking, packs, largest_weight)
    made = chooser.made
    most = max((step.size for _, step in network.sums if _bends(step)), default=1)
    for (row, step), extent in zip(network.sums, extents, strict=True):
        while len(made.lengths) < row:
            made.local()
        own = chooser.of(row, step, extent)
        span = float(extent.high.max() - extent.low.min())
        # The fewer elements a function is of, the less its pieces cost.
        made.add(step, own, span * own.scale / 2**bend * (step.size / most) ** _FEWER)
    return replace(steps, sums=tuple(made.sums))


class _Chooser:
    """The steps of each sum. ``shown``: rows that are given out; ``asking``: those whose elements
    are looked up in a table of functions; else as in ``choose_steps``."""

    def __init__(
        self,
        read: Read,
        steps: Steps,
        margin: float,
        shown: set[int],
        asking: Mapping[int, float],
        packs: bool,
        largest_weight: int | None,
    ) -> None:
        self.read, self.steps, self.margin, self.shown = read, steps, margin, shown
        self.asking, self.packs, self.largest_weight = asking, packs, largest_weight
        self.made = IntegerSteps(read.network, steps)

    def of(self, row: int, step: Sum, extent: Extent) -> SumSteps:
        """The steps of the next sum."""
        made = self.made
        if len(made.sums) < len(self.steps.of_columns):
            return self.steps.of_columns[len(made.sums)]
        if step.kind is Kind.DECIDED:
            return made.deciding(step)[0]
        if step.rounded or row in self.read.ones:
            return self._rounded(step, extent) if step.rounded else made.in_ones(step)
        whole = step.kind is Kind.RESULT or made.whole(row, self.shown)
        bare = made.looked_up(step)
        if bare is not None and not (whole and math.frexp(bare.scale)[0] != _HALF):
            return bare
        if step.kind is Kind.RESULT and not (self.packs and _pays(step)):
            return self._lighter(step, made.result_steps(step))
        return self._with_remainder(row, step, extent, whole=whole)

    def _with_remainder(self, row: int, step: Sum, extent: Extent, *, whole: bool) -> SumSteps:
        made = self.made
        own = self._fitting(step, extent, alike=row in self.read.alike, whole=whole)
        if row in self.asking and self.steps.function is not None:
            scale = self.asking[row] * 2.0**self.steps.function.scale
            own = replace(own, scale=scale, shifts=(0,) * len(own.shifts))
        if self.largest_weight is None:
            own = made.keeping_weights(step, own)
        return made.adjusted(step, self._lighter(step, own), fixed=whole or row in self.asking)

    def _fitting(self, step: Sum, extent: Extent, *, alike: bool, whole: bool) -> SumSteps:
        coarse = self.largest_weight is not None
        return _fitting(
            step, extent, self.steps, self.margin, alike=alike, whole=whole, coarse=coarse
        )

    def _rounded(self, step: Sum, extent: Extent) -> SumSteps:
        own = _fitting(step, extent, self.steps, self.margin, alike=True, whole=False, coarse=False)
        own = replace(own, scale=1.0, digits=self.made.rounded_digits(step))
        if self._lighter(step, own) != own:
            raise CannotLower("a weight before a rounding has more bits than the table")
        return own

    def _lighter(self, step: Sum, own: SumSteps) -> SumSteps:
        most = self.largest_weight
        return own if most is None else self.made.lighter(step, own, most)


def _asking(read: Read, op: str, shown: Collection[int]) -> dict[int, float]:
    """The sums whose elements a table is asked for, and the least that they are multiplied by
    before. ``shown``: rows whose steps have to be powers of two."""
    network = read.network
    found: dict[int, float] = {}
    for _, step in network.sums:
        for term in step.terms:
            form = form_of(term) if isinstance(term, Function) else None
            if form is None or form.op != op:
                continue
            for row in sources(network, {*term.views[0].rows}):
                least = min(abs(form.stretch), found.get(row, math.inf))
                if row not in shown or math.frexp(least)[0] == _HALF:
                    found[row] = least
    return {row: found[row] for row, step in network.sums if row in found and row not in read.ones}


def _table(
    read: Read,
    extents: Sequence[Extent],
    steps: Steps,
    margin: float,
    op: str,
    asking: Mapping[int, float],
) -> FunctionTable:
    """The table whose steps are as fine as all that it is asked for allows.

    Raises ``CannotLower`` where it would have entries that are not known to the last bit.
    """
    scales = [
        math.log2(own.scale / asking[row])
        for (row, step), extent in zip(read.network.sums, extents, strict=True)
        if row in asking
        for own in [_fitting(step, extent, steps, margin, alike=True, whole=False, coarse=False)]
    ]
    found = FunctionTable(op=op, scale=math.floor(min(scales, default=0.0)))
    if not is_exact(found, steps.base):
        raise CannotLower("a table of functions would have steps that are too long or too short")
    return found


def _fitting(
    step: Sum,
    extent: Extent,
    steps: Steps,
    margin: float,
    *,
    alike: bool,
    whole: bool,
    coarse: bool,
) -> SumSteps:
    """Steps as fine as the table allows for what a sum was seen to hold. ``coarse``: they say no
    more of it than a power of two, and in 32 parts how much of it lies below zero."""
    low, high = margin * np.minimum(extent.low, 0), margin * np.maximum(extent.high, 0)
    top = steps.base - 1
    if step.kind is Kind.RECTIFIED:
        below = top / max(1, entries(steps.logrows) - steps.base)
        each, reach, offset = np.maximum(high, -low * below), top, 0
    else:
        share = float(-low.min() / max(float(high.max() - low.min()), 1e-30))
        if coarse:
            share = math.ceil(share * _SHARES) / _SHARES
        slack = steps.base >> SLACK
        offset = min(top - 1 - slack, math.ceil(share * top) + slack)
        room = max(1, top - offset)
        each, reach = np.maximum(high, -low * (room / offset if offset else 0.0)), room
    largest = float(each.max()) or 1.0
    finer = np.floor(np.log2(largest / np.maximum(each, largest * 2.0**-MOST_SHIFT)))
    scale = reach / largest
    if whole or coarse:
        scale = 2.0 ** math.floor(math.log2(scale))
    shifts = tuple(0 if alike or whole or coarse else int(n) for n in finer)
    return SumSteps(scale=scale, offset=offset, digits=1, shifts=shifts)


def _bends(step: Sum) -> bool:
    return any(isinstance(term, Function) for term in step.terms)


def _pays(step: Sum) -> bool:
    """Whether a result is cheaper with quotient and remainder, which the table bounds: then a
    weight is a tenth of a cell."""
    weights = sum(t.weights.size for t in step.convolutions)
    return not step.bordered and weights > _SPLIT_CELLS * step.size


def integer_network(read: Read, steps: Steps) -> Network:
    """The network in integers (int64).

    Raises ``CannotLower`` where a sum could outgrow them.
    """
    network = read.network
    if len(steps.sums) != len(network.sums) or len(steps.inputs) != len(network.inputs):
        raise CannotLower("the steps are those of another network")
    made = IntegerSteps(network, steps)
    for step in network.steps:
        if isinstance(step, Local):
            made.local()
        else:
            made.add(step, steps.sums[len(made.sums)])
    found = Network(inputs=network.inputs, steps=tuple(made.steps), outputs=network.outputs)
    if max(all_largest(found, steps), default=0) >= LARGEST_SUM:
        raise CannotLower("a sum of this network outgrows 60 bits")
    return found
