"""Of which single input element what a network computes is made, element by element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.committed.network import (
    ZERO,
    Convolution,
    Function,
    Integers,
    Local,
    Op,
    Product,
    Step,
    Term,
    View,
)
from circuits.lower.committed.reading.values import ROW, rows_of

#: In the place of an element's source: it has none, or several.
NONE, MANY = ZERO, -2
#: Products of a channel and an output whose sources are told apart.
_MOST = 1 << 20


@dataclass(frozen=True)
class Sources:
    """The sources of each row's elements, as addresses. A row that is not ``known`` has many."""

    known: dict[int, Integers]

    def of_step(self, step: Step) -> Integers:
        if isinstance(step, Local):
            left = self.of(step.left)
            if step.op is Op.TOTAL:
                return _all(left, -1)
            return both(left, self.of(step.right)) if isinstance(step.right, View) else left
        found = np.full(step.shape, NONE)
        for term in step.terms:
            found = both(found, np.broadcast_to(self._of_term(term), step.shape))
        return found

    def _of_term(self, term: Term) -> Integers:
        if isinstance(term, Function):
            return self.of(term.view)
        if isinstance(term, Convolution):
            return self._of_convolution(term)
        left, right = self.of(term.left), self.of(term.right)
        if isinstance(term, Product):
            return both(_all(left, -1)[:, :, None], _all(right, 1)[:, None, :])
        return both(left, right)

    def _of_convolution(self, term: Convolution) -> Integers:
        read, there = self.of(term.view), np.any(term.weights, axis=(2, 3))
        if not term.plain:
            return _all(read.reshape(-1), 0)
        if term.depthwise:
            return np.where(there[:, 0], read, NONE)
        if term.groups > 1 or read.size * len(there) > _MOST:
            return np.full(1, MANY)
        return _all(np.where(there, read[:, :, None, :], NONE), -1)

    def of(self, view: View) -> Integers:
        """The sources of a view's elements, in its shape."""
        found = np.full(view.places.shape, NONE)
        for row in rows_of(view.places):
            mine = (view.places != ZERO) & (view.places // ROW == row)
            found[mine] = self.known[row][view.places[mine] % ROW] if row in self.known else MANY
        return found


def both(a: Integers, b: Integers) -> Integers:
    """The sources of what is made of two elements."""
    one = np.where(b == NONE, a, MANY)
    return np.where((a == NONE) | (a == b), b, one)


def _all(sources: Integers, axis: int) -> Integers:
    """The same of what is made of all along an axis."""
    most = sources.max(axis=axis, keepdims=True)
    least = np.where(sources == NONE, most, sources).min(axis=axis, keepdims=True)
    return np.where(least == most, most, MANY).squeeze(axis)
