"""Curves: functions of one input element that a model writes in many steps.

A function of a function has the error of both, and a comparison of an input with a constant has no
form in a network at all. But powers by the sign of their base, splines and interpolations between
quantiles only combine what is made of one and the same element. So they are a function of that
element, which the table has in straight pieces like any other. What is only decided by comparisons,
a class or a code, stays without a form: it takes steps at thresholds alone, and the integers of
``circuits.lower`` are exact at these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from circuits.committed.network import (
    ZERO,
    Convolution,
    Floats,
    Function,
    Integers,
    Kind,
    Local,
    Op,
    Step,
    Sum,
    Term,
    View,
    alone,
    gathered,
)
from circuits.lower.committed.reading.draft import Compared, Draft, leading
from circuits.lower.committed.reading.responses import float_rows
from circuits.lower.committed.reading.simplifying import network_of, viewed
from circuits.lower.committed.reading.sources import MANY, Sources
from circuits.lower.committed.reading.values import ROW, Value, raw, rows_of
from circuits.lower.errors import CannotLower

#: Elements of a row of curves at most: each is a sum of its own.
_WIDEST = 64
#: Numbers that are put in at a time, and turns after which two of 32 bits are mostly neighbours.
_CHUNK, _TURNS = 512, 48


class Curves:
    """The rows of a draft each of whose elements has one input element as its source. ``follow``
    after each node, ``replaced`` at the end."""

    def __init__(self, draft: Draft) -> None:
        self.draft, self.first, self._next = draft, len(draft.inputs), 0
        #: Sources, as addresses; and how many steps that are not linear follow one another.
        self._sources: dict[int, Integers] = {
            row: row * ROW + np.arange(size) for row, size in enumerate(draft.inputs)
        }
        self._sources_of = Sources(self._sources)
        self._bends: dict[int, int] = dict.fromkeys(self._sources, 0)
        #: Rows that are curves where something else reads them.
        self._curves: set[int] = set()
        #: What follows from comparisons of inputs with constants; of that, what only they and
        #: constants decide; and what follows from such as have no form alone, with a refusal.
        self._compared: set[int] = set()
        self._decided: set[int] = set()
        self._refused = draft.elsewhere

    def follow(self) -> None:
        """Looks at the steps that are new.

        Raises the refusal of a comparison that decides about other elements than its own.
        """
        for at in range(self._next, len(self.draft.steps)):
            self._look_at(self.first + at, self.draft.steps[at])
        self._next = len(self.draft.steps)

    def _look_at(self, row: int, step: Step) -> None:
        refused = self.draft.elsewhere
        last = {int(view.places.max()) // ROW for view in step.views} - {ZERO}
        if not refused and not last <= self._sources.keys():
            return  # most steps: which rows they read takes longer
        read = {r for view in step.views for r in rows_of(view.places)}
        sources = np.full(1, MANY)
        if read <= self._sources.keys():
            sources = self._sources_of.of_step(step).reshape(-1)
        if np.any(sources == MANY):
            self._refuse({row, *read})
            return
        self._sources[row] = sources
        self._bends[row] = before = max((self._bends[r] for r in read), default=0)
        if isinstance(step, Sum):
            self._bends[row] += len(step.convolutions) < len(step.terms)
        elif step.op is not Op.TOTAL:
            self._bends[row] = max(before, 1)
        tests = isinstance(step, Sum) and step.kind is Kind.DECIDED
        if tests or row in refused or not read.isdisjoint(self._compared):
            self._compared.add(row)
            if tests or row in self.draft.bits or read <= self._decided:
                self._decided.add(row)
        bent = isinstance(step, Sum) and self._bends[row] > max(before, 1)
        bent = bent or self._of_columns(step, sources)
        small = len(sources) <= _WIDEST and row not in self.draft.bits
        if row in self._compared:
            if row not in self._decided:
                self._curves.add(row)
        elif small and (bent or not read.isdisjoint(self._curves)):
            self._curves.add(row)
        for cause in sorted({row, *read}.intersection(self._refused)):
            self._refused[row] = self._refused[cause]

    def _of_columns(self, step: Step, sources: Integers) -> bool:
        """Whether a step has functions of columns that count in steps of their own."""
        if not self.draft.groups or isinstance(step, Local):
            return False
        of = {
            (row, int(group))
            for row in rows_of(sources[sources >= 0])
            if row in self.draft.groups
            for group in np.unique(self.draft.groups[row][sources[sources // ROW == row] % ROW])
        }
        return len(of) > 1 and any(isinstance(term, Function) for term in step.terms)

    def _refuse(self, rows: set[int]) -> None:
        """Raises where one of these is decided by comparisons that have no form alone."""
        for row in sorted(rows):
            if row in self._refused and (row in self._decided or row not in self._sources):
                raise self._refused[row]

    def whole(self, value: Value) -> Value:
        """A value, as one row where several parts make a curve: what mixes it with others would
        read each part."""
        rows = {row for part in value.parts for row in rows_of(part.addresses)}
        if len(value.parts) > 1 and rows <= self._sources.keys() and rows & self._curves:
            return self.draft.materialize(value)
        return value

    def replaced(self, outputs: Sequence[Integers]) -> tuple[Draft, list[Integers]]:
        """A draft in which curves are functions, and the outputs' addresses in it.

        Raises the refusal of a comparison of which no curve is made.
        """
        self.follow()
        if not self._curves and not self._refused:
            return self.draft, list(outputs)
        read: dict[int, set[int]] = {}
        kept: set[int] = set()
        waiting = [output.reshape(-1) for output in outputs]
        while waiting:
            places = waiting.pop()
            for row in rows_of(places):
                if row in self._curves:
                    mine = places[(places != ZERO) & (places // ROW == row)]
                    read.setdefault(row, set()).update((mine % ROW).tolist())
                elif row >= self.first and row not in kept:
                    kept.add(row)
                    views = self.draft.steps[row - self.first].views
                    waiting += [view.places.reshape(-1) for view in views]
        self._refuse(kept)
        if any(len(elements) > _WIDEST for elements in read.values()):
            raise CannotLower(f"more than {_WIDEST} inputs have functions of their own")
        return _Replacing(self.draft, self._sources, kept, read).run(outputs)


class _Replacing:
    """A draft being rewritten: rows that are ``kept``, and curves, of which other steps ``read``
    some elements."""

    def __init__(
        self,
        draft: Draft,
        sources: dict[int, Integers],
        kept: set[int],
        read: dict[int, set[int]],
    ) -> None:
        self.old, self.sources, self.kept, self.read = draft, sources, kept, read
        self.first = len(draft.inputs)
        self.new = Draft(inputs=draft.inputs, groups=draft.groups)
        self.new.alike |= {*range(self.first)} - draft.groups.keys()
        #: Where the elements of each old row are now.
        self.moved = {row: sources[row] for row in range(self.first)}

    def run(self, outputs: Sequence[Integers]) -> tuple[Draft, list[Integers]]:
        for at, step in enumerate(self.old.steps):
            row = self.first + at
            if row in self.read:
                self._curve(row, step)
            elif row in self.kept:
                self.moved[row] = self._kept(row, viewed(step, self._view))
        for name, row in self.old.decided.items():
            if row in self.sources:
                traced = _Traced(self.old, row, self.sources)
                sources = np.maximum(traced.sources, 0)
                step = self.old.steps[row - self.first]
                self.new.compared[name] = Compared(
                    row=int(sources.max(initial=0) // ROW),
                    gaps=traced.gaps,
                    sources=sources % ROW,
                    shape=step.views[0].shape,
                )
            if row in self.moved:
                self.new.decided[name] = int(self.moved[row].reshape(-1)[0] // ROW)
        return self.new, [self._places(output) for output in outputs]

    def _kept(self, row: int, step: Step) -> Integers:
        """The addresses of what is the old row, of other elements."""
        found = self._added(step)
        for new, old in ((self.new.alike, self.old.alike), (self.new.ones, self.old.ones)):
            if row in old:
                new.add(int(found[0] // ROW))
        return found

    def _added(self, step: Step) -> Integers:
        self.new.steps.append(step)
        return ROW * (self.first + len(self.new.steps) - 1) + np.arange(step.size)

    def _places(self, places: Integers) -> Integers:
        found = np.full(places.shape, ZERO)
        for row in rows_of(places):
            mine = (places != ZERO) & (places // ROW == row)
            found[mine] = self.moved[row][places[mine] % ROW]
        return found

    def _view(self, places: Integers) -> View:
        return raw(self._places(places))

    def _curve(self, row: int, step: Step) -> None:
        """Functions of the elements that are read, and their values in steps of one length."""
        used, traced = sorted(self.read[row]), _Traced(self.old, row, self.sources)
        found = []
        for place in used:
            source = max(0, int(self.sources[row][place]))
            curve = Curve(traced, place, source)
            view = raw(np.full((1, 1, 1), source))
            found.append(self._summed((1, 1, 1), Function(view=view, exact=curve, ties=curve.ties)))
        addresses = np.concatenate(found)
        if len(used) > 1:
            together = Convolution(
                view=raw(addresses.reshape(1, 1, -1)),
                weights=np.ones((len(used), 1, 1, 1)),
                height=alone(1),
                width=alone(1),
            )
            addresses = self._summed((1, 1, len(used)), together)
        self.moved[row] = np.full(step.size, ZERO)
        self.moved[row][used] = addresses

    def _summed(self, shape: tuple[int, int, int], term: Term) -> Integers:
        step = Sum(kind=Kind.SIGNED, shape=shape, terms=(term,), bias=np.zeros(shape[2]))
        found = self._added(step)
        self.new.alike.add(int(found[0] // ROW))
        return found


class _Traced:
    """The elements of a row, and by how much the sides of comparisons that lead to it differ, where
    every input element is one number."""

    def __init__(self, draft: Draft, row: int, sources: dict[int, Integers]) -> None:
        step, first = draft.steps[row - len(draft.inputs)], len(draft.inputs)
        #: Numbers that were asked for, ascending, and what was found for each.
        self._known, self._values, self._gaps = np.empty(0), np.empty((0, 0)), np.empty((0, 0))
        #: What the sides of comparisons are, or what is compared with.
        self._levels: list[Floats | None] = []
        wanted, of = [row * ROW + np.arange(step.size)], [np.empty(0, dtype=np.int64)]
        for at in leading(draft, [row]):
            compared = draft.steps[at - first]
            # Counts of bits change only where other comparisons do.
            counts = draft.ones.issuperset(r for v in compared.views for r in rows_of(v.places))
            if at not in draft.bits or (counts and at != row):
                continue
            if isinstance(compared, Sum):
                level: Floats | None = -compared.bias
            elif not compared.in_ones:
                continue
            else:
                right = compared.right
                level = None if isinstance(right, View) else np.array(float(right))
            wanted += [view.places.reshape(-1) for view in compared.views]
            self._levels.append(level)
            of.append(sources[at])
        #: The source of each comparison.
        self.sources: Integers = np.concatenate(of)
        self._network, _, _ = network_of(draft, wanted)

    def values(self, x: Floats) -> Floats:
        """``[numbers, elements]``."""
        at = self._at(x)
        return self._values[at]

    def gaps(self, x: Floats) -> Floats:
        """``[numbers, comparisons]``."""
        at = self._at(x)
        return self._gaps[at]

    def _at(self, x: Floats) -> Integers:
        """Where numbers stand among the known ones."""
        new = np.setdiff1d(x, self._known)
        if len(new):
            parts = [self._part(new[n : n + _CHUNK, None]) for n in range(0, len(new), _CHUNK)]
            values, gaps = (np.concatenate(own) for own in zip(*parts, strict=True))
            if len(self._known):
                values = np.concatenate([self._values, values])
                gaps = np.concatenate([self._gaps, gaps])
            every = np.concatenate([self._known, new])
            order = np.argsort(every)
            self._known, self._values, self._gaps = every[order], values[order], gaps[order]
        return np.searchsorted(self._known, x)

    def _part(self, x: Floats) -> tuple[Floats, Floats]:
        network = self._network
        with np.errstate(all="ignore"):
            rows = float_rows(network, [np.repeat(x, size, axis=1) for size in network.inputs])
            values, *rest = (gathered(output, rows) for output in network.outputs)
            sides = iter(rest)
            gaps = [
                next(sides) - (next(sides) if level is None else level) for level in self._levels
            ]
        return values, np.concatenate([np.empty((len(x), 0)), *gaps], axis=1)


class Curve:
    """An element of a traced row as a function of the input element that it is made of."""

    def __init__(self, traced: _Traced, place: int, source: int) -> None:
        self._traced, self._place = traced, place
        self._own = np.flatnonzero(traced.sources == source)

    def __call__(self, x: Floats) -> Floats:
        flat = np.asarray(x, dtype=np.float64).reshape(-1)
        return self._traced.values(flat)[:, self._place].reshape(np.shape(x))

    def ties(self, x: Floats) -> Floats:
        """The numbers between some, ascending, at which what a comparison compares is equal."""
        gaps = self._traced.gaps(x)[:, self._own]
        place, number = np.nonzero(np.sign(gaps[:-1]) * np.sign(gaps[1:]) < 0)
        low, high = x[place], x[place + 1]
        under, over = gaps[place, number], gaps[place + 1, number]
        found = []
        for turn in range(_TURNS):
            # Straight to where a line is zero, else halfway.
            share = under / (under - over) if turn % 2 == 0 else 0.5
            middle = (low + (high - low) * share).astype(np.float32).astype(np.float64)
            there = self._traced.gaps(middle)[:, self._own][np.arange(len(number)), number]
            found.append(middle[there == 0])
            left = (there != 0) & (low < middle) & (middle < high)
            same = np.sign(there) == np.sign(under)
            low, high = np.where(same, middle, low)[left], np.where(same, high, middle)[left]
            under, over = np.where(same, there, under)[left], np.where(same, over, there)[left]
            number = number[left]
            if not len(number):
                break
        return np.unique(np.concatenate(found))
