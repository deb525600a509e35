"""A network as products of polynomials: what a circuit with committed hints proves, layer by layer.

Feature maps are channels-last, ``[height, width, channels]``; a vector is ``[1, 1, channels]``. The
same classes hold a float model as it was read and its integers as they are proved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Numbers = Floats | Integers
#: Height, width and channels.
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What a layer reads: the input (``source`` 0) or the activation of layer ``source``, counted
    from 1, in sums over blocks of ``pool`` elements that do not overlap."""

    source: int
    pool: tuple[int, int] = (1, 1)

    @property
    def area(self) -> int:
        """How many elements a block sums."""
        return self.pool[0] * self.pool[1]

    def shape(self, source: Shape) -> Shape:
        """The shape of what is read, of a source of this shape."""
        return source[0] // self.pool[0], source[1] // self.pool[1], source[2]


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


@dataclass(frozen=True, kw_only=True)
class Term:
    """A convolution: part of a layer's sum. ``weights`` are ``[outputs, channels, height, width]``,
    with zeros between the ``groups``."""

    feed: Feed
    weights: Numbers
    groups: int
    height: Axis
    width: Axis


@dataclass(frozen=True, kw_only=True)
class Span:
    """The exponents of a layer's product along one axis: ``first`` … ``last``, of which the
    ``outputs`` from ``start`` on are the layer's results; all others are its border."""

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


@dataclass(frozen=True, kw_only=True)
class Convolutional:
    """A sum of convolutions and ``bias`` (an element a channel), rescaled and rectified."""

    terms: tuple[Term, ...]
    bias: Numbers

    @property
    def shape(self) -> Shape:
        first = self.terms[0]
        return first.height.outputs, first.width.outputs, len(self.bias)

    @property
    def rows(self) -> Span:
        return _span([t.height for t in self.terms])

    @property
    def columns(self) -> Span:
        return _span([t.width for t in self.terms])


@dataclass(frozen=True, kw_only=True)
class Dense:
    """``weights`` ``[inputs, outputs]`` and ``bias``; the inputs are what the feed has, in its
    order. Rescaled and rectified, or the network's result as it is (``last``)."""

    feed: Feed
    weights: Numbers
    bias: Numbers
    last: bool = False

    @property
    def shape(self) -> Shape:
        return 1, 1, len(self.bias)


Layer = Convolutional | Dense


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers in order, the last one's activation being the result, and the input's shape."""

    input: Shape
    layers: tuple[Layer, ...]

    def shape(self, source: int) -> Shape:
        """The shape of the input or of a layer's activation."""
        return self.layers[source - 1].shape if source else self.input

    @property
    def raw(self) -> bool:
        """Whether the result is a sum as it is, not a rectified one."""
        last = self.layers[-1]
        return isinstance(last, Dense) and last.last

    @property
    def hidden(self) -> tuple[Layer, ...]:
        """The layers that are rescaled and rectified."""
        return self.layers[:-1] if self.raw else self.layers


def feeds(layer: Layer) -> list[Feed]:
    """All that a layer reads."""
    return [layer.feed] if isinstance(layer, Dense) else [t.feed for t in layer.terms]


def exponents(axis: Axis, element: int, reach: int) -> int:
    """The exponent of an input element in a layer whose terms reach so far: at least 1."""
    return axis.place(element) + reach - axis.reach + 1


def tap_exponent(axis: Axis, tap: int) -> int:
    """The exponent of a weight: at least 1."""
    return axis.reach - axis.tap(tap)[1] + 1


def reach(axes: list[Axis]) -> int:
    """How far the weights of a layer's terms reach."""
    return max(axis.reach for axis in axes)


def _span(axes: list[Axis]) -> Span:
    far, outputs = reach(axes), axes[0].outputs
    start = far + 2
    found = [start, start + outputs - 1]
    for axis in axes:
        for _, elements, taps in axis.phases:
            ends = [exponents(axis, e, far) for e in (elements[0], elements[-1])]
            steps = [tap_exponent(axis, t) for t in (taps[0], taps[-1])]
            found += [e + s for e in ends for s in steps]
    return Span(first=min(found), last=max(found), start=start, outputs=outputs)


def pooled(values: Numbers, feed: Feed) -> Numbers:
    """Activations ``[samples, height, width, channels]`` as a layer reads them."""
    if feed.area == 1:
        return values
    (high, wide), (n, height, width, channels) = feed.pool, values.shape
    cut = values[:, : height // high * high, : width // wide * wide]
    blocks = cut.reshape(n, height // high, high, width // wide, wide, channels)
    summed: Numbers = blocks.sum(axis=(2, 4))
    return summed


def product(layer: Layer, read: list[Numbers]) -> Numbers:
    """A layer's products without the bias: ``[samples, rows, columns, outputs]`` with the border
    for a convolution, ``[samples, 1, 1, outputs]`` else. ``read`` is what each feed has."""
    if isinstance(layer, Dense):
        flat = read[0].reshape(len(read[0]), -1)
        return (flat @ layer.weights)[:, None, None, :]
    rows, columns = layer.rows, layer.columns
    kind = np.result_type(*read, *(t.weights for t in layer.terms))
    full = np.zeros((len(read[0]), rows.length, columns.length, len(layer.bias)), dtype=kind)
    far = reach([t.height for t in layer.terms]), reach([t.width for t in layer.terms])
    for term, values in zip(layer.terms, read, strict=True):
        for _, high, down in term.height.phases:
            for _, wide, across in term.width.phases:
                part = values[:, high.start :: high.step, wide.start :: wide.step]
                top = exponents(term.height, high[0], far[0]) - rows.first
                left = exponents(term.width, wide[0], far[1]) - columns.first
                for t in down:
                    for u in across:
                        y = top + tap_exponent(term.height, t)
                        x = left + tap_exponent(term.width, u)
                        full[:, y : y + len(high), x : x + len(wide)] += (
                            part @ term.weights[:, :, t, u].T
                        )
    return full


def results(layer: Layer, products: Numbers) -> Numbers:
    """The layer's sums, without the border, with the bias."""
    if isinstance(layer, Dense):
        return products + layer.bias
    rows, columns = layer.rows, layer.columns
    inner = products[
        :,
        rows.before : rows.before + rows.outputs,
        columns.before : columns.before + columns.outputs,
    ]
    return inner + layer.bias


def read_by(layer: Layer, known: list[Numbers]) -> list[Numbers]:
    """What a layer's feeds have; ``known[0]`` is the input, then come activations."""
    return [pooled(known[feed.source], feed) for feed in feeds(layer)]


def weights_of(layer: Layer) -> list[Numbers]:
    """A layer's weights, an array for each of its feeds."""
    return [layer.weights] if isinstance(layer, Dense) else [t.weights for t in layer.terms]


def with_numbers(layer: Layer, weights: list[Numbers], bias: Numbers) -> Layer:
    """The same layer with other weights (one array a term) and bias."""
    if isinstance(layer, Dense):
        return replace(layer, weights=weights[0], bias=bias)
    terms = tuple(replace(t, weights=w) for t, w in zip(layer.terms, weights, strict=True))
    return replace(layer, terms=terms, bias=bias)
