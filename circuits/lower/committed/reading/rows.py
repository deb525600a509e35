"""Steps of a network that is being read, and what is known of their rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import (
    ZERO,
    Convolution,
    Function,
    Integers,
    Kind,
    Local,
    Op,
    Step,
    Sum,
    View,
)
from circuits.lower.committed.reading.values import ROW, rows_of

#: In the place of a length: that of what counts in ones.
_ONES = 1 << 62
#: Sums of so many bits are in no table; they are rounded as others are.
_MOST_COUNT = 1 << 15


@dataclass(kw_only=True)
class Rows:
    """``alike``: rows all of whose elements count in steps of one length; ``origins``: for each
    element of a local step's row the one in whose steps it counts; ``ones``: rows of integers that
    count in ones, exactly, ``bits`` those of them that are 0 or 1."""

    inputs: list[int]
    steps: list[Step] = field(default_factory=list)
    alike: set[int] = field(default_factory=set)
    origins: dict[int, Integers] = field(default_factory=dict)
    ones: set[int] = field(default_factory=set)
    bits: set[int] = field(default_factory=set)
    #: Of which group of columns each element of an input is, where these have steps of their own.
    groups: dict[int, Integers] = field(default_factory=dict)

    def add(self, step: Step) -> int:
        """A step's row."""
        self.steps.append(step)
        row = len(self.inputs) + len(self.steps) - 1
        if self._in_ones(step):
            self.ones.add(row)
        if isinstance(step, Sum) and (row in self.ones or not self._by_channel(step)):
            self.alike.add(row)
        if self._decides(step):
            self.bits.add(row)
        elif isinstance(step, Local):
            left = step.left.places
            if self._of_truths(step):
                self.bits.add(row)
            first = left.max(axis=-1) if step.op is Op.TOTAL else left
            self.origins[row] = self._roots(first.reshape(-1))
        return row

    def _in_ones(self, step: Step) -> bool:
        """Whether a row holds integers that count in ones: made of such by integers alone."""
        if self._decides(step):
            return True
        if not self.ones:
            return False
        numbers: list[NDArray[Any]] = []
        if isinstance(step, Local):
            numbers = [] if isinstance(step.right, View) else [np.array(step.right)]
        else:
            for term in step.terms:
                if isinstance(term, Function):
                    return False
                numbers.append(
                    term.weights if isinstance(term, Convolution) else np.array(term.factor)
                )
            numbers.append(step.bias)
        if any(n.ndim == 4 and np.abs(n).sum(axis=(1, 2, 3)).max() >= _MOST_COUNT for n in numbers):
            return False
        rows = [row for view in step.views for row in rows_of(view.places)]
        return self.ones.issuperset(rows) and all(np.all(n == np.rint(n)) for n in numbers)

    def _decides(self, step: Step) -> bool:
        return step.in_ones if isinstance(step, Local) else step.kind is Kind.DECIDED

    def _of_truths(self, step: Local) -> bool:
        """Whether a step of the circuit's own makes bits of bits."""
        keeps = step.op in (Op.CHOSEN, Op.RECTIFY, Op.MAXIMUM)
        views = step.views[:1] if step.op is Op.CHOSEN else step.views
        bounded = step.op is Op.CHOSEN or isinstance(step.right, View)
        return (
            keeps and bounded and all(self.bits.issuperset(rows_of(view.places)) for view in views)
        )

    def _by_channel(self, step: Sum) -> bool:
        """Whether the channels of a sum may count in steps of different lengths: those of a
        convolution, and those that such are added to."""
        if not step.convolutions or len(step.convolutions) < len(step.terms):
            return False
        for term in step.convolutions:
            if not term.plain:
                return True
            flat = term.view.places[term.view.places != ZERO]
            if term.depthwise and any(
                int(row) not in self.alike for row in np.unique(self._roots(flat) // ROW)
            ):
                return True
        return False

    def _roots(self, addresses: Integers) -> Integers:
        found = addresses.copy()
        for row in np.unique(addresses[addresses != ZERO] // ROW):
            if int(row) in self.origins:
                mine = (addresses != ZERO) & (addresses // ROW == row)
                found[mine] = self.origins[int(row)][addresses[mine] % ROW]
        return found

    def lengths(self, addresses: Integers) -> Integers:
        """A number for each element, equal where steps are of one length; ``ZERO`` for zeros."""
        roots = self._roots(addresses.reshape(-1))
        found = roots.copy()
        for row in np.unique(roots[roots != ZERO] // ROW):
            mine = (roots != ZERO) & (roots // ROW == row)
            if int(row) in self.ones:
                found[mine] = _ONES
                continue
            if int(row) in self.groups:
                found[mine] = row * ROW + self.groups[int(row)][roots[mine] % ROW]
                continue
            step = self.steps[int(row) - len(self.inputs)] if row >= len(self.inputs) else None
            one = int(row) in self.alike or not isinstance(step, Sum)
            channels = 1 if one or not isinstance(step, Sum) else step.shape[2]
            found[mine] = row * ROW + roots[mine] % ROW % channels
        return found.reshape(addresses.shape)

    def is_rounded(self, addresses: Integers) -> bool:
        """Whether these are elements of one sum that is rounded."""
        rows = np.unique(addresses // ROW)
        at = int(rows[0]) - len(self.inputs)
        step = self.steps[at] if len(rows) == 1 and at >= 0 else None
        return isinstance(step, Sum) and step.rounded

    def wide(self, addresses: Integers) -> bool:
        """Whether an element of these may outgrow the table: totals may."""
        rows = rows_of(addresses)
        own = [self.steps[r - len(self.inputs)] for r in rows if r >= len(self.inputs)]
        return any(isinstance(s, Local) and s.op is Op.TOTAL for s in own)


def whole_row(addresses: Integers, draft: Rows) -> Integers | None:
    """The order in which elements are all those of one row, if they are."""
    flat = addresses.reshape(-1)
    if not len(flat) or flat.min() == ZERO or flat[0] // ROW != flat.max() // ROW:
        return None
    row = int(flat[0] // ROW)
    at = row - len(draft.inputs)
    size = draft.inputs[row] if at < 0 else draft.steps[at].size
    if size != len(flat):
        return None
    order = np.argsort(flat, kind="stable")
    if not np.array_equal(flat[order] % ROW, np.arange(size)):
        return None
    return order
