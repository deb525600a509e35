"""Where what a model makes of a single input element jumps, whatever scales, clips or bends it
before it is compared.

All that the rest of a model knows of an element are functions of it alone: a bit, a code, a curve.
A comparison may make such a function jump where its sides change places. These numbers are found
on the float network by halving, for all elements at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import (
    ZERO,
    Floats,
    Function,
    Integers,
    Kind,
    Local,
    Op,
    Pointwise,
    Step,
    View,
    gathered,
)
from circuits.lower.committed.reading.draft import Draft, leading
from circuits.lower.committed.reading.network import bare_draft
from circuits.lower.committed.reading.responses import float_rows
from circuits.lower.committed.reading.simplifying import network_of
from circuits.lower.committed.reading.sources import MANY, Sources, both
from circuits.lower.committed.reading.values import ROW, raw, rows_of

#: Numbers that are tried at first, and their negatives.
_GRID = np.exp2(np.arange(-32.0, 65.0))
#: Elements of a network at a time; turns after which no two numbers of 32 bits have one between
#: them.
_CHUNK, _TURNS = 1 << 19, 64
#: Turns of which each finds what bends or jumps behind what the one before it found.
_DEEPEST = 8
#: Numbers so near each other, of their size, are one; one so small is 0.
_ALIKE, _TINY = 2.0**-20, 2.0**-100
#: By how much of a number its surroundings reach, and the share of a function's change in these by
#: which it jumps.
_FAR, _JUMP = 2.0**-14, 0.25


@lru_cache(maxsize=2)
def jumps(data: bytes) -> dict[str, list[Floats]]:
    """The numbers, ascending, at which functions of each element of an input of a rewritten model
    jump, by the input's name."""
    draft, names, given = bare_draft(data)
    sources = _sources(draft)
    ends = _ends(draft, given, sources)
    found = _Jumps(draft, sources, ends).found() if ends else [np.empty(0)] * sum(draft.inputs)
    sizes = zip(names, draft.inputs, np.cumsum(draft.inputs), strict=True)
    return {name: found[end - size : end] for name, size, end in sizes}


def _sources(draft: Draft) -> Sources:
    inputs = {row: row * ROW + np.arange(size) for row, size in enumerate(draft.inputs)}
    sources = Sources(inputs)
    for row, step in enumerate(draft.steps, len(draft.inputs)):
        if any(not sources.known.keys().isdisjoint(rows_of(v.places)) for v in step.views):
            own = sources.of_step(step).reshape(-1)
            if np.any(own != MANY):
                sources.known[row] = own
    return sources


def _ends(draft: Draft, given: frozenset[int], sources: Sources) -> list[int]:
    """Rows of functions of single elements that follow from comparisons, where these are given out
    or what is made of several elements reads them."""
    after, mixed = set[int](), set(given)
    for row, step in enumerate(draft.steps, len(draft.inputs)):
        read = {r for view in step.views for r in rows_of(view.places)}
        if _decides(step) or not read.isdisjoint(after):
            after.add(row)
        if row not in sources.known or np.any(sources.known[row] == MANY):
            mixed |= read
    return sorted(after & mixed & sources.known.keys())


class _Jumps:
    """The functions of single elements that end in some rows of a draft, and the differences that
    decide them or at which they bend."""

    def __init__(self, draft: Draft, sources: Sources, ends: list[int]) -> None:
        self._starts = np.cumsum([0, *draft.inputs])
        functions = np.concatenate([row * ROW + np.arange(len(sources.known[row])) for row in ends])
        sides, less, decides = [], [], []
        for row in leading(draft, ends):
            step = draft.steps[row - len(draft.inputs)]
            if draft.ones.issuperset(r for view in step.views for r in rows_of(view.places)):
                continue  # counts of bits change only where other comparisons do
            for left, right, number in _differences(step):
                places = left.places.reshape(-1)
                other = np.full_like(places, ZERO) if right is None else right.places.reshape(-1)
                sides.append((places, other))
                less.append(np.broadcast_to(number, left.shape).reshape(-1))
                decides.append(np.full(len(places), _decides(step)))
        first, second = (np.concatenate(own) for own in zip(*sides, strict=True))
        between = both(sources.of(raw(first)), sources.of(raw(second)))
        of = sources.of(raw(functions))
        one, kept = of >= 0, between >= 0
        every = np.concatenate([of[one], between[kept]])
        addresses, numbers = np.unique(every, return_inverse=True)
        #: Places of the elements among those of all inputs; which of them each function is of, and
        #: each difference.
        self._elements = self._starts[addresses // ROW] + addresses % ROW
        self._of, self._between = np.split(numbers, [np.count_nonzero(one)])
        self._less, self._decides = np.concatenate(less)[kept], np.concatenate(decides)[kept]
        self._network, _, _ = network_of(draft, [functions[one], first[kept], second[kept]])

    def found(self) -> list[Floats]:
        """The numbers of each element, of all inputs behind one another."""
        grid = [np.concatenate([-_GRID[::-1], [0.0], _GRID])] * len(self._elements)
        ties: list[Floats] = [np.empty(0)] * len(grid)
        for _ in range(_DEEPEST if grid else 0):
            elements, numbers, decides = self._crossings(grid)
            new = False
            for element in np.unique(elements):
                own = elements == element
                fresh = np.setdiff1d(numbers[own], grid[element])
                new |= len(fresh) > 0
                grid[element] = np.union1d(grid[element], _around(fresh))
                ties[element] = np.union1d(ties[element], numbers[own & decides])
            if not new:
                break
        found: list[Floats] = [np.empty(0)] * int(self._starts[-1])
        if any(len(own) for own in ties):
            for place, own in zip(self._elements, self._jumping(ties), strict=True):
                found[place] = _apart(own)
        return found

    def _crossings(self, grid: list[Floats]) -> tuple[Integers, Floats, NDArray[np.bool_]]:
        """Elements and numbers at which a difference of theirs changes its sign or becomes zero,
        and whether it decides something."""
        x = _side_by_side(grid)
        signs = np.concatenate([np.sign(gaps) for gaps, _ in self._at(x)])
        place, number = np.nonzero(signs[:-1] != signs[1:])
        element = self._between[number]
        low, high = x[place, element], x[place + 1, element]
        new = high - low > 4 * _ALIKE * np.maximum(np.abs(low), np.abs(high))
        place, number, element = place[new], number[new], element[new]
        low, high = low[new], high[new]
        under, over = signs[place, number], signs[place + 1, number]
        row = _ranks(element)
        open_ = np.arange(len(number))
        for _ in range(_TURNS):
            middle = ((low[open_] + high[open_]) / 2).astype(np.float32).astype(np.float64)
            inside = (low[open_] < middle) & (middle < high[open_])
            open_, middle = open_[inside], middle[inside]
            if not len(open_):
                break
            x = np.zeros((row[open_].max() + 1, len(grid)))
            x[row[open_], element[open_]] = middle
            there = np.concatenate([np.sign(gaps) for gaps, _ in self._at(x)])
            same = there[row[open_], number[open_]] == under[open_]
            low[open_[same]], high[open_[~same]] = middle[same], middle[~same]
        return element, np.where((under == 0) & (over != 0), low, high), self._decides[number]

    def _jumping(self, ties: list[Floats]) -> list[Floats]:
        """Those of the numbers at which a function jumps: the nearer its arguments are to it, the
        nearer are its values elsewhere."""
        wide, close = (self._threes(ties, far) for far in (_FAR, _ALIKE))
        least = _ALIKE * np.abs(close).max(axis=(0, 1), initial=0.0)
        moved = np.ptp(close, axis=1)
        jumps = (moved > least) & (moved > _JUMP * np.ptp(wide, axis=1))
        return [
            own[np.any(jumps[: len(own), self._of == element], axis=1)]
            for element, own in enumerate(ties)
        ]

    def _threes(self, numbers: list[Floats], far: float) -> Floats:
        """The functions around numbers, ``[numbers, 3, functions]``."""
        x = _side_by_side([_around(own, far) for own in numbers])
        values = np.concatenate([values for _, values in self._at(x, threes=True)])
        return values.reshape(-1, 3, len(self._of))

    def _at(self, x: Floats, *, threes: bool = False) -> Iterator[tuple[Floats, Floats]]:
        """Differences and functions, ``[numbers, …]``, some rows of numbers ``[numbers, elements]``
        at a time. ``threes``: see ``float_rows``."""
        size = int(self._starts[-1])
        chunk = 3 * max(1, _CHUNK // sum(self._network.sizes))
        for start in range(0, len(x), chunk):
            part = np.zeros((len(x[start : start + chunk]), size))
            part[:, self._elements] = x[start : start + chunk]
            inputs = np.split(part, self._starts[1:-1], axis=1)
            with np.errstate(all="ignore"):
                rows = float_rows(self._network, inputs, threes=threes)
                values, left, right = (gathered(own, rows) for own in self._network.outputs)
                gaps = np.nan_to_num(left - right - self._less)
            yield gaps, np.nan_to_num(values, posinf=0.0, neginf=0.0)


def _decides(step: Step) -> bool:
    return step.in_ones if isinstance(step, Local) else step.kind is Kind.DECIDED


def _differences(step: Step) -> Iterator[tuple[View, View | None, Floats]]:
    """What decides a step's values, or bends them, where it changes its sign: a view, less another,
    less numbers."""
    if isinstance(step, Local):
        if step.op not in (Op.TOTAL, Op.CHOSEN):
            if isinstance(step.right, View):
                yield step.left, step.right, np.zeros(())
            else:
                yield step.left, None, np.array(float(step.right))
        return
    for term in step.terms:
        if step.kind is Kind.DECIDED:
            yield term.views[0], None, -step.bias
        elif isinstance(term, Function | Pointwise):
            yield from ((view, None, np.zeros(())) for view in term.views)


def _around(numbers: Floats, far: float = _ALIKE) -> Floats:
    """Each number between two others."""
    beside = far * np.maximum(np.abs(numbers), _TINY)
    return np.stack([numbers - beside, numbers, numbers + beside], axis=1).reshape(-1)


def _apart(numbers: Floats) -> Floats:
    """Ascending numbers, each once."""
    own = np.where(np.abs(numbers) <= _TINY, 0.0, numbers)
    apart = np.diff(own, prepend=-np.inf) > 2 * _ALIKE * np.abs(own)
    return np.asarray(own[apart])


def _ranks(of: Integers) -> Integers:
    """The how manieth each is of those that are like it."""
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], of[order])
    found = np.empty_like(of)
    found[order] = np.arange(len(of)) - starts
    return found


def _side_by_side(columns: list[Floats]) -> Floats:
    """Columns as long as the longest: the last number of each again."""
    found = np.zeros((max(map(len, columns)), len(columns)))
    for column, own in enumerate(columns):
        found[: len(own), column] = own
        found[len(own) :, column] = own[-1] if len(own) else 0.0
    return found
