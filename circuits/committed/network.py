"""A network as a program of rows: what a circuit with committed hints proves, step by step.

A row is a flat tensor. The inputs are the first rows, each step makes one more, of elements of
earlier ones in any order (``View``): moving elements about costs nothing. A ``Sum`` is what hints
are given for, a ``Local`` step is computed in the circuit. The same classes hold a float model as
it was read and its integers as they are proved.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.format.function_tables import entries

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Numbers = NDArray[Any]
#: Height, width and channels.
Shape = tuple[int, int, int]
#: In a view: no element of any row, but a zero.
ZERO = -1
_LARGEST_ENTRY = 2.0**60
#: What an element is multiplied by at most where a table is asked, and how fine that may be.
MOST_TIMES, MOST_SCALE = 16, 20


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Elements of ``rows`` (numbers of rows, ascending) by their ``places`` in these rows behind
    one another, in a shape of its own."""

    rows: tuple[int, ...]
    places: Integers

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.places.shape)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a convolution: ``size`` elements behind ``before`` zeros, under ``taps`` weights
    ``dilation`` apart, at ``outputs`` places ``stride`` apart.

    Split by remainders mod the stride (*phases*), it is a sum of products of polynomials: input
    element i, at ``place(i)``, and weight t of its phase meet in the output ``place - place of t``.
    """

    size: int
    taps: int
    stride: int
    dilation: int
    before: int
    outputs: int

    def elements(self, phase: int) -> range:
        """The elements of one phase, whose places follow one another."""
        return range((phase - self.before) % self.stride, self.size, self.stride)

    def place(self, element: int) -> int:
        """Where an element stands among those of its phase."""
        return (element + self.before) // self.stride

    def tap(self, number: int) -> tuple[int, int]:
        """The phase of a weight, and its place."""
        return (number * self.dilation) % self.stride, (number * self.dilation) // self.stride

    @property
    def reach(self) -> int:
        """The place of the last weight."""
        return (self.taps - 1) * self.dilation // self.stride

    @property
    def phases(self) -> Iterator[tuple[int, range, list[int]]]:
        """Each phase that has elements and weights, with both."""
        for phase in range(self.stride):
            elements = self.elements(phase)
            taps = [t for t in range(self.taps) if self.tap(t)[0] == phase]
            if elements and taps:
                yield phase, elements, taps

    @property
    def plain(self) -> bool:
        """Whether every output is its element, times one weight."""
        return (self.taps, self.stride, self.before) == (1, 1, 0) and self.outputs == self.size


def alone(size: int) -> Axis:
    """An axis along which every element stays by itself."""
    return Axis(size=size, taps=1, stride=1, dilation=1, before=0, outputs=size)


@dataclass(frozen=True, kw_only=True)
class Span:
    """The exponents of a sum along one axis: ``first`` … ``last``, of which the ``outputs`` from
    ``start`` on are the results; all others are its border."""

    first: int
    last: int
    start: int
    outputs: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    @property
    def before(self) -> int:
        """Exponents of the border below the results."""
        return self.start - self.first

    @property
    def border(self) -> list[int]:
        """The border's exponents along this axis."""
        end = self.start + self.outputs
        return [*range(self.first, self.start), *range(end, self.last + 1)]

    @property
    def results(self) -> range:
        """The results' exponents."""
        return range(self.start, self.start + self.outputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """A convolution of a feature map ``[height, width, channels]``; a dense layer is one of a
    single weight. ``weights`` are ``[outputs, channels of a group, height, width]``."""

    view: View
    weights: Numbers
    height: Axis
    width: Axis

    @property
    def groups(self) -> int:
        return self.view.shape[2] // int(self.weights.shape[1])

    @property
    def plain(self) -> bool:
        """Whether it mixes channels only."""
        return self.height.plain and self.width.plain

    @property
    def depthwise(self) -> bool:
        """Whether each output is one channel's."""
        return bool(self.weights.shape[:2] == (self.view.shape[2], 1))

    @property
    def views(self) -> tuple[View, ...]:
        return (self.view,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """Matrices of values, ``[h, w, k] · [h, k, c]``, times ``factor``."""

    left: View
    right: View
    factor: float

    @property
    def views(self) -> tuple[View, ...]:
        return self.left, self.right


@dataclass(frozen=True, kw_only=True, eq=False)
class Pointwise:
    """Products of two elements each, of two feature maps of one shape, times ``factor``."""

    left: View
    right: View
    factor: float

    @property
    def views(self) -> tuple[View, ...]:
        return self.left, self.right


@dataclass(frozen=True, kw_only=True)
class FunctionTable:
    """A table of the engine's beside the one that rectifies: an operator's, whose entry for an
    integer n is what ``circuits.format.function_tables`` has for it, in steps of 2^-scale."""

    op: str
    scale: int

    def entries(self, numbers: Numbers) -> Numbers:
        """The table's entries for integers, in their number type; none beyond ``_LARGEST_ENTRY``,
        which no sum may reach."""
        exact = np.minimum(entries(self.op, numbers, self.scale), _LARGEST_ENTRY)
        found: Numbers = exact.astype(numbers.dtype)
        return found


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """What a function adds of a table: ``height · table(times · x)`` and ``tilt · x ·
    table(times · x)``."""

    table: FunctionTable
    times: int
    height: int = 0
    tilt: int = 0

    def of(self, values: Numbers) -> Numbers:
        entry = self.table.entries(self.times * values)
        found: Numbers = entry * (self.height + self.tilt * values)
        return found

    def largest(self, low: int, high: int) -> int:
        """The largest entry, in magnitude, for elements between two: tables only rise."""
        ends = self.table.entries(self.times * np.array([low, high], dtype=np.float64))
        return int(np.abs(ends).max())


@dataclass(frozen=True, kw_only=True, eq=False)
class Function:
    """A function of each element of a feature map. The model's own (``exact``, times ``factor``)
    where it was read; in integers ``start · x + Σ slope · max(x - kink, 0)`` and what is looked up,
    and the bias of its sum has the rest. ``added``: how many of its values, most of them small, are
    added up. ``ties``, of a function that the model writes in many steps: the numbers between some,
    ascending, that it compares x with. An integer that stands for one of these has the function's
    value there, and not beside it."""

    view: View
    factor: float = 1.0
    exact: Callable[[Floats], Floats] | None = None
    added: int = 1
    ties: Callable[[Floats], Floats] | None = None
    start: int = 0
    kinks: tuple[int, ...] = ()
    slopes: tuple[int, ...] = ()
    lookup: Lookup | None = None

    @property
    def views(self) -> tuple[View, ...]:
        return (self.view,)


Term = Convolution | Product | Pointwise | Function


class Kind(enum.StrEnum):
    """What is read of a sum."""

    RECTIFIED = "rectified"  # its quotient where that is positive, else 0
    SIGNED = "signed"  # its quotient
    RESULT = "result"  # itself: it is given out, and no step reads it
    DECIDED = "decided"  # 1 where it is above zero, else 0: in integers its quotient


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum:
    """Terms and ``bias`` added up, rescaled: a row of hints. ``bias`` has an element a channel, or
    one for each of ``shape``. ``rounded``: the model itself rounds it to integers. ``inclusive``:
    what decides is whether it is at least zero."""

    kind: Kind
    shape: Shape
    terms: tuple[Term, ...]
    bias: Numbers
    rounded: bool = False
    inclusive: bool = False

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def views(self) -> list[View]:
        return [view for term in self.terms for view in term.views]

    @property
    def convolutions(self) -> list[Convolution]:
        return [t for t in self.terms if isinstance(t, Convolution)]

    @cached_property
    def rows(self) -> Span:
        return _span(self.shape[0], [t.height for t in self.convolutions])

    @cached_property
    def columns(self) -> Span:
        return _span(self.shape[1], [t.width for t in self.convolutions])

    @property
    def bordered(self) -> bool:
        """Whether its polynomials have more coefficients than its results."""
        return bool(self.rows.border or self.columns.border)


class Op(enum.StrEnum):
    """What a local step does, element by element."""

    RECTIFY = "rectify"  # max(a - b, 0)
    MAXIMUM = "maximum"  # b + max(a - b, 0)
    MINIMUM = "minimum"  # a - max(a - b, 0)
    TOTAL = "total"  # the sums of a's last axis
    ABOVE = "above"  # 1 where a is larger than b, else 0
    BELOW = "below"  # 1 where a is smaller than b, else 0
    CHOSEN = "chosen"  # a times b: a where b is 1, 0 where it is 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Local:
    """A step of the circuit's own, on elements that count in steps of one length (those of
    ``CHOSEN`` may differ). ``right`` is a view of the same shape, or a constant; zero for
    ``TOTAL``."""

    op: Op
    left: View
    right: View | float = 0

    @property
    def size(self) -> int:
        shape = self.left.shape[:-1] if self.op is Op.TOTAL else self.left.shape
        return int(np.prod(shape))

    @property
    def views(self) -> list[View]:
        return [self.left, *([self.right] if isinstance(self.right, View) else [])]

    @property
    def in_ones(self) -> bool:
        """Whether its row counts in ones, whatever it compares counts in."""
        return self.op in (Op.ABOVE, Op.BELOW)


Step = Sum | Local


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """``inputs``: how many elements each has. ``outputs``: each is a view of one row."""

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    outputs: tuple[View, ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Every row's length."""
        return (*self.inputs, *(step.size for step in self.steps))

    @property
    def sums(self) -> list[tuple[int, Sum]]:
        """The steps that have hints, each with its row's number."""
        first = len(self.inputs)
        return [(first + n, s) for n, s in enumerate(self.steps) if isinstance(s, Sum)]

    @property
    def function_table(self) -> FunctionTable | None:
        """The table that its functions are looked up in: there is one at most."""
        terms = [term for _, step in self.sums for term in step.terms]
        found = {t.lookup.table for t in terms if isinstance(t, Function) and t.lookup is not None}
        if len(found) > 1:
            raise ValueError("functions are looked up in several tables")
        return next(iter(found), None)

    def shape(self, row: int) -> Shape:
        """A row's shape: that of a sum, or a single pixel."""
        step = self.steps[row - len(self.inputs)] if row >= len(self.inputs) else None
        return step.shape if isinstance(step, Sum) else (1, 1, self.sizes[row])


def exponents(axis: Axis, element: int, reach: int) -> int:
    """The exponent of an input element in a sum whose terms reach so far: at least 1."""
    return axis.place(element) + reach - axis.reach + 1


def tap_exponent(axis: Axis, tap: int) -> int:
    """The exponent of a weight: at least 1."""
    return axis.reach - axis.tap(tap)[1] + 1


def reach(axes: Sequence[Axis]) -> int:
    """How far the weights of a sum's convolutions reach."""
    return max((axis.reach for axis in axes), default=0)


def _span(outputs: int, axes: Sequence[Axis]) -> Span:
    far = reach(axes)
    start = far + 2
    found = [start, start + outputs - 1]
    for axis in axes:
        for _, elements, taps in axis.phases:
            ends = [exponents(axis, e, far) for e in (elements[0], elements[-1])]
            steps = [tap_exponent(axis, t) for t in (taps[0], taps[-1])]
            found += [e + s for e in ends for s in steps]
    return Span(first=min(found), last=max(found), start=start, outputs=outputs)


def gathered(view: View, known: Sequence[Numbers]) -> Numbers:
    """A view's elements, ``[samples, …]``, of rows ``[samples, elements]``."""
    rows = [known[row] for row in view.rows]
    joined = rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)
    found: Numbers = joined[:, view.places]
    if np.any(view.places == ZERO):
        found = np.where(view.places == ZERO, 0, found)
    return found


def local(step: Local, known: Sequence[Numbers]) -> Numbers:
    """A local step's row, ``[samples, elements]``."""
    left = gathered(step.left, known)
    if step.op is Op.TOTAL:
        total: Numbers = left.sum(axis=-1)
        return total.reshape(len(left), -1)
    right = gathered(step.right, known) if isinstance(step.right, View) else step.right
    found = _BY_ELEMENT[step.op](left, right)
    row: Numbers = np.asarray(found, dtype=left.dtype).reshape(len(left), -1)
    return row


_BY_ELEMENT: dict[Op, Callable[[Any, Any], Any]] = {
    Op.RECTIFY: lambda a, b: np.maximum(a - b, 0),
    Op.MAXIMUM: np.maximum,
    Op.MINIMUM: np.minimum,
    Op.ABOVE: np.greater,
    Op.BELOW: np.less,
    Op.CHOSEN: np.multiply,
}


def summed(step: Sum, known: Sequence[Numbers]) -> Numbers:
    """A sum without its bias but with its border, ``[samples, rows, columns, outputs]``."""
    rows, columns = step.rows, step.columns
    far = reach([t.height for t in step.convolutions]), reach([t.width for t in step.convolutions])
    full = np.zeros((len(known[0]), rows.length, columns.length, step.shape[2]), known[0].dtype)
    inner = results(step, full)
    for term in step.terms:
        read = [gathered(view, known) for view in term.views]
        if isinstance(term, Convolution):
            _convolved(term, read[0], full, (rows.first, columns.first), far)
        elif isinstance(term, Product):
            inner += np.matmul(read[0], read[1]) * term.factor
        elif isinstance(term, Pointwise):
            inner += read[0] * read[1] * term.factor
        elif term.exact is not None:
            inner += term.factor * term.exact(read[0])
        else:
            inner += term.start * read[0]
            for kink, slope in zip(term.kinks, term.slopes, strict=True):
                inner += slope * np.maximum(read[0] - kink, 0)
            if term.lookup is not None:
                inner += term.lookup.of(read[0])
    return full


def _convolved(
    term: Convolution,
    values: Numbers,
    full: Numbers,
    first: tuple[int, int],
    far: tuple[int, int],
) -> None:
    for _, high, down in term.height.phases:
        for _, wide, across in term.width.phases:
            part = values[:, high.start :: high.step, wide.start :: wide.step]
            top = exponents(term.height, high[0], far[0]) - first[0]
            left = exponents(term.width, wide[0], far[1]) - first[1]
            for t in down:
                for u in across:
                    y = top + tap_exponent(term.height, t)
                    x = left + tap_exponent(term.width, u)
                    full[:, y : y + len(high), x : x + len(wide)] += _mixed(
                        part, term.weights[:, :, t, u], term.groups
                    )


def _mixed(part: Numbers, weights: Numbers, groups: int) -> Numbers:
    """Channels times the weights of one tap."""
    if groups == 1:
        return part @ weights.T
    if weights.shape == (groups, 1):
        return part * weights[:, 0]
    split = part.reshape(*part.shape[:3], groups, 1, -1)
    own = weights.reshape(groups, -1, weights.shape[1]).transpose(0, 2, 1)
    stacked: Numbers = np.matmul(split, own)
    return stacked.reshape(*part.shape[:3], -1)


def results(step: Sum, full: Numbers) -> Numbers:
    """What is no border of a sum (not a copy)."""
    rows, columns = step.rows, step.columns
    return full[
        :,
        rows.before : rows.before + rows.outputs,
        columns.before : columns.before + columns.outputs,
    ]
