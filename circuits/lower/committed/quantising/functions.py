"""Functions in integers: as straight pieces, or as what a table has of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from circuits.committed.arithmetic import nearest
from circuits.committed.network import Floats, Function, FunctionTable, Lookup
from circuits.lower.committed.quantising.tables import Form
from circuits.lower.committed.reading.functions import balanced, pieces
from circuits.lower.errors import CannotLower

#: By how much a function's straight pieces may miss it: bits below what its values differ by on
#: samples, the fewest that do, and steps at least.
BENDS, _BEND = (8, 9, 11, 13), 0.5


@dataclass(frozen=True, kw_only=True)
class Values:
    """A function of the integers ``low`` … ``high``, each ``one`` times what it means, in steps of
    a sum: ``scale`` times what they mean, and no further than ``far``."""

    term: Function
    low: int
    high: int
    one: float
    scale: float
    far: float

    def at(self, integers: Floats) -> Floats:
        """The function's values."""
        term, means = self.term, integers / self.one
        assert term.exact is not None
        with np.errstate(over="ignore"):
            exact = np.array(term.exact(means))
            if term.ties is not None:
                ties = term.ties(means)
                exact[[nearest(tie * self.one) - self.low for tie in ties]] = term.exact(ties)
            # What is no number has no entry in a table.
            values = np.nan_to_num(term.factor * exact * self.scale, nan=self.far)
        return np.clip(values, -self.far, self.far)

    @property
    def reach(self) -> float:
        """The largest of them in magnitude."""
        return float(np.abs(self.at(np.arange(self.low, self.high + 1.0))).max())


@dataclass(frozen=True, kw_only=True)
class Made:
    """A function in integers, what its sum's bias has of it, by how many steps it misses what it
    stands for, but for the slopes of pieces being integers, and what its values differ by."""

    term: Function
    started: float
    off: float
    span: float


def looked_up(
    values: Values,
    lookup: tuple[Form, FunctionTable, int],
    lowest: int,
    highest: int,
    divisor: float,
) -> Made:
    """A function by a table with these ends."""
    term, (form, table, times) = values.term, lookup
    whole = term.factor * values.scale * divisor
    start, height, tilt = (round(whole * n) for n in multipliers(lookup, values.one))
    own = Lookup(table=table, times=times, height=height, tilt=tilt)
    every = np.arange(values.low, values.high + 1, dtype=np.float64)
    span = float(np.ptp(values.at(every)))
    every = every[(times * every >= lowest) & (times * every <= highest)]
    found = (own.of(every) + start * every + whole * form.level) / divisor
    off = np.abs(np.clip(found, -values.far, values.far) - values.at(every))
    # What rounding entries and what they are multiplied by explains.
    size, entry = np.abs(every), np.abs(table.entries(times * every))
    rounded = 0.5 * (np.abs(height + tilt * every) + size + entry + size * entry) / divisor
    if float((off - rounded).max(initial=0.0)) > 1:
        raise CannotLower("a table has other values than the function")
    return Made(
        term=replace(
            term,
            exact=None,
            factor=1.0,
            start=start,
            lookup=own if own.height or own.tilt else None,
        ),
        started=whole * form.level,
        off=float(off.max(initial=0.0)),
        span=span,
    )


def multipliers(lookup: tuple[Form, FunctionTable, int], one: float) -> tuple[float, float, float]:
    """What an element, an entry of the table and their product are multiplied by, for elements that
    are ``one`` times what they mean."""
    form, table, _ = lookup
    entry = 2.0**table.scale
    return form.slope / one, form.height / entry, form.tilt / (one * entry)


def in_pieces(values: Values, divisor: float, given: tuple[int, ...] | None, miss: float) -> Made:
    """A function in straight pieces: those that begin at the ``given`` kinks, or as few as miss it
    by no more than ``miss`` steps. What it is at the least integer goes to the bias."""
    term, low, high = values.term, values.low, values.high
    exact = values.at(np.arange(low, high + 1, dtype=np.float64))
    if given is None:
        least = max(_BEND, miss / math.sqrt(term.added))  # of what is small, more is added up
        near = np.clip(np.abs(exact) * (miss / np.abs(exact).max(initial=1.0)), least, None)
        ends = pieces(exact, 2 * (near if term.added > 1 else max(_BEND, miss)))
    else:
        ends = [0, *(k - low for k in given), high - low]
        if ends != sorted({*ends}):
            raise CannotLower("a function's pieces are out of order")
    reached = [int(np.rint(n * divisor)) for n in balanced(exact, ends)]
    total, slopes = reached[0], []
    for n in range(len(ends) - 1):
        width = ends[n + 1] - ends[n]
        slope = round((reached[n + 1] - total) / width)
        slopes.append(slope)
        total += slope * width
    joints = np.array([reached[0], *np.cumsum(np.array(slopes) * np.diff(ends)) + reached[0]])
    joined = np.interp(np.arange(len(exact)), ends, joints / divisor)
    changes = [slopes[0], *(b - a for a, b in pairwise(slopes))]
    return Made(
        term=replace(
            term,
            exact=None,
            factor=1.0,
            ties=None,
            start=changes[0],
            kinks=tuple(low + end for end in ends[1:-1]),
            slopes=tuple(changes[1:]),
        ),
        started=reached[0] - changes[0] * low,
        off=float(np.abs(joined - exact).max()) - float(np.diff(ends).max()) / divisor,
        span=float(np.ptp(exact)),
    )
