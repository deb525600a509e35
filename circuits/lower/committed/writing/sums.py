"""The residue of one sum: hints under the challenges' powers, less what they stand for."""

from __future__ import annotations

from itertools import product as pairs
from typing import TYPE_CHECKING

import numpy as np

from circuits.committed.network import (
    Convolution,
    Function,
    Integers,
    Lookup,
    Pointwise,
    Product,
    Sum,
    Term,
    View,
    exponents,
    reach,
    tap_exponent,
)
from circuits.committed.private_weights import weight_offset
from circuits.committed.weight_folding import full_bias
from circuits.format.commitments import Weights
from circuits.lower.committed.writing.writer import Tensor

if TYPE_CHECKING:
    from circuits.lower.committed.writing.circuit import Emission


class SumResidue:
    """Polynomials with the elements of one sum as coefficients, at the challenges.

    Every method returns single elements, unless it says otherwise.
    """

    def __init__(self, emission: Emission, step: Sum, number: int, given: list[Tensor]) -> None:
        self.e, self.step, self.number = emission, step, number
        self.writer, self.powers = emission.writer, emission.powers
        self.quotients, *self.remainders = given
        self.sealed = emission.arrangement.weights is Weights.SEALED
        self.private = emission.arrangement.weights is Weights.PRIVATE
        self.own, self.pack = emission.steps.sums[number], emission.packs[number]
        self.high = self.powers.rows(step.rows, step.rows.results)
        self.wide = self.powers.columns(step.columns, step.columns.results)
        self.far = (
            reach([t.height for t in step.convolutions]),
            reach([t.width for t in step.convolutions]),
        )

    def residue(self) -> Tensor:
        """What is given less what is true: zero."""
        writer = self.writer
        true: Tensor | None = None
        for term in self.step.terms:
            for part in self._term(term):
                true = part if true is None else writer.add(true, part)
        biased = self._bias()
        true = biased if true is None else writer.add(true, biased)
        return writer.subtract(self._given(), true)

    # --- what is given ------------------------------------------------------------------------

    def _given(self) -> Tensor:
        """Quotients and remainders as the sums that they make, with the border."""
        writer, step, base = self.writer, self.step, self.e.steps.base
        given = self._times(self._separated(self._fold(self.quotients)), base**self.own.digits)
        for n, found in enumerate(self.remainders):
            row = self._fold(found)
            if n == 0:
                row = self._with_border(row)
            given = writer.add(given, self._times(self._separated(row), base**n))
        if self.own.digits == 0 and step.bordered:
            empty = self._border(None)
            assert empty is not None
            given = writer.add(given, self._separated(empty))
        return given

    def _with_border(self, row: Tensor) -> Tensor:
        found = self._border(row)
        return row if found is None else found

    def _border(self, row: Tensor | None) -> Tensor | None:
        """A row of outputs, and added to it the coefficients that are no results."""
        writer, rows, columns = self.writer, self.step.rows, self.step.columns
        outputs = self.step.shape[2]
        if rows.border:
            every = self.powers.columns(columns, range(columns.first, columns.last + 1))
            edge = self.powers.rows(rows, rows.border)
            given = self.powers.join_lanes(self.e.parts[f"rows-{self.number}"])
            shape = (len(rows.border), columns.length, outputs)
            found = self.powers.fold(given, shape, edge, every)
            row = found if row is None else writer.add(row, found)
        if columns.border:
            edge = self.powers.columns(columns, columns.border)
            given = self.powers.join_lanes(self.e.parts[f"columns-{self.number}"])
            shape = (rows.outputs, len(columns.border), outputs)
            found = self.powers.fold(given, shape, self.high, edge)
            row = found if row is None else writer.add(row, found)
        return row

    def _fold(self, values: Tensor) -> Tensor:
        """A row of outputs, of values in the sum's shape."""
        return self.powers.fold(values, self.step.shape, self.high, self.wide)

    def _separated(self, row: Tensor) -> Tensor:
        """A row of outputs, each under its own power."""
        separators = self.powers.separators(self.pack)
        return self.writer.matmul(row, self.writer.reshape(separators, (row.size, 1)))

    def _grouped(self, row: Tensor) -> Tensor:
        """A row of groups of outputs, each under its own power."""
        return self.writer.matmul(row, self.powers.groups(self.pack))

    def _times(self, value: Tensor, factor: int) -> Tensor:
        if factor == 1:
            return value
        return self.writer.multiply(value, self.writer.constant(np.array([[factor]])))

    def _bias(self) -> Tensor:
        """All constants at all places."""
        writer = self.writer
        if (folded := self.e.next_folded(1)) is not None:
            return self.powers.in_each_lane(folded)
        bias = full_bias(self.e.arrangement, self.number, self.step)
        private = self.e.private_constants(self.number, bias.size) if self.private else None
        if bias.ndim > 1:
            values = private or writer.constant(bias.reshape(1, -1))
            return self.powers.in_each_lane(self._separated(self._fold(values)))
        found = self._grouped(private or writer.constant(self.pack.packed(bias[None])))
        places = self.powers.totals(self.high, self.wide)
        found = found if places is None else writer.multiply(found, places)
        return self.powers.in_each_lane(found)

    # --- what is true -------------------------------------------------------------------------

    def _term(self, term: Term) -> list[Tensor]:
        if isinstance(term, Convolution):
            return self._convolution(term)
        if isinstance(term, Function):
            return self._function(term)
        found = self._product(term) if isinstance(term, Product) else self._pointwise(term)
        return [self._times(found, int(term.factor))]

    def _convolution(self, term: Convolution) -> list[Tensor]:
        """Feature maps times weights, a product of polynomials for each phase."""
        writer, offsets = self.writer, self.e.offsets(term.view)
        if term.plain:  # the bias has them
            offsets = np.zeros_like(offsets)
        values, channels = self.e.view(term.view), term.view.shape[2]
        single = self.step.rows.length == self.step.columns.length == term.groups == 1
        if single and self.sealed:
            matrix = term.weights[:, :, 0, 0].T.astype(np.int64)
            each = writer.matmul(values, writer.constant(self.pack.packed(matrix)))
            return [self._grouped(each)]
        weights = self._weights(term) if self.e.folded is None else None
        found = []
        for (_, high, down), (_, wide, across) in pairs(term.height.phases, term.width.phases):
            folded = self._phase(term, values, offsets, (high, wide))
            own = self.e.next_folded(channels)
            if weights is not None:
                own = self._of_phase(term, weights, down, across)
            assert own is not None
            found.append(writer.matmul(folded, writer.reshape(own, (channels, 1))))
        return found

    def _of_phase(
        self, term: Convolution, weights: Tensor, down: list[int], across: list[int]
    ) -> Tensor:
        """A phase's weights under the challenges' powers: a column of channels."""
        channels, taps = term.view.shape[2], term.height.taps * term.width.taps
        places = [
            c * taps + t * term.width.taps + u
            for c in range(channels)
            for t, u in pairs(down, across)
        ]
        rows = self.powers.rows(
            self.step.rows, [tap_exponent(term.height, t) for t, _ in pairs(down, across)]
        )
        columns = self.powers.columns(
            self.step.columns, [tap_exponent(term.width, u) for _, u in pairs(down, across)]
        )
        count = len(places) // channels
        own = self.writer.reshape(self.e.gather([weights], np.array(places)), (channels, count))
        both = self.powers.both(rows, columns)
        if both is None:
            return own
        return self.writer.matmul(own, self.writer.reshape(both, (count, 1)))

    def _phase(
        self, term: Convolution, values: Tensor, offsets: Integers, ranges: tuple[range, range]
    ) -> Tensor:
        """One phase of a feature map under the challenges' powers: a row of channels."""
        height, width, channels = term.view.shape
        places = np.arange(height * width * channels).reshape(height, width, channels)
        index = np.ix_(ranges[0], ranges[1])
        rows = self.powers.rows(
            self.step.rows, [exponents(term.height, e, self.far[0]) for e in ranges[0]]
        )
        columns = self.powers.columns(
            self.step.columns, [exponents(term.width, e, self.far[1]) for e in ranges[1]]
        )
        own = places[index]
        read = self.e.gather([values], own.reshape(-1))
        more = offsets[index]
        if np.any(more):
            flat = more.reshape(-1)
            row = self.writer.constant(flat[None])
            read = self.writer.subtract(read, self.powers.in_each_lane(row))
        return self.powers.fold(read, own.shape, rows, columns)

    def _weights(self, term: Convolution) -> Tensor:
        """Weights under the powers of their outputs: a row of channels and, in each, taps."""
        if self.private:
            return self._private_weights(term)
        outputs = len(term.weights)
        writer, separators = self.writer, self.powers.separators(self.pack)
        weights = term.weights.astype(np.int64)
        if term.groups == 1:
            matrix = weights.transpose(1, 2, 3, 0).reshape(-1, outputs)
            under = writer.matmul(
                writer.constant(self.pack.packed(matrix)), self.powers.groups(self.pack)
            )
            return writer.reshape(under, (1, len(matrix)))
        if term.depthwise:
            taps = weights.size // outputs
            each = self.e.gather([separators], np.repeat(np.arange(outputs), taps))
            if np.all(weights == 1):
                return each
            return writer.multiply(each, writer.constant(weights.reshape(1, -1)))
        found, ours = [], outputs // term.groups
        for g in range(term.groups):
            part = weights[g * ours : (g + 1) * ours]
            matrix = part.transpose(1, 2, 3, 0).reshape(-1, ours)
            powers = writer.take(separators, range(g * ours, (g + 1) * ours))
            under = writer.matmul(writer.constant(matrix), writer.reshape(powers, (ours, 1)))
            found.append(writer.reshape(under, (1, len(matrix))))
        return writer.join(found)

    def _private_weights(self, term: Convolution) -> Tensor:
        """The same of weights that are committed to, less the offset that these have."""
        writer, separators = self.writer, self.powers.separators(self.pack)
        places = np.arange(term.weights.size).reshape(term.weights.shape)
        if term.groups > 1 and term.depthwise:
            taps = places.size // len(places)
            each = self.e.gather([separators], np.repeat(np.arange(len(places)), taps))
            own = self.e.private_weights(term, places.reshape(1, -1))
            return writer.multiply(each, writer.subtract(own, self._offset()))
        found, ours = [], len(places) // term.groups
        for g in range(term.groups):
            part = places[g * ours : (g + 1) * ours].transpose(1, 2, 3, 0).reshape(-1, ours)
            powers = writer.take(separators, range(g * ours, (g + 1) * ours))
            own = self.e.private_weights(term, part)
            under = writer.matmul(own, writer.reshape(powers, (ours, 1)))
            more = writer.multiply(writer.total(powers), self._offset())
            found.append(writer.subtract(writer.reshape(under, (1, len(part))), more))
        return writer.join(found)

    def _offset(self) -> Tensor:
        """What private weights count more, as a constant that nothing else uses."""
        return self.writer.constant(np.array([[weight_offset(self.e.steps)]]))

    # --- products of values, functions --------------------------------------------------------

    def _each_lane(self, view: View) -> list[Tensor]:
        """A view of every lane by itself, less what it counts too much."""
        every = self.e.less(self.e.view_all(view), self.e.offsets(view))
        size = every.size // self.e.lanes
        return [
            self.e.gather([every], np.arange(n * size, (n + 1) * size)) for n in range(self.e.lanes)
        ]

    def _product(self, term: Product) -> Tensor:
        """Σ_k (Σ_i A[h, i, k] · column^i) · (Σ_j B[h, k, j] · output^j), under the row's powers."""
        writer, (high, wide, many) = self.writer, term.left.shape
        outputs = term.right.shape[2]
        turned = np.arange(high * wide * many).reshape(term.left.shape).transpose(1, 0, 2)
        separators = writer.reshape(self.powers.separators(self.pack), (outputs, 1))
        found = []
        for left, right in zip(
            self._each_lane(term.left), self._each_lane(term.right), strict=True
        ):
            columns = left
            if self.wide is not None:
                order = self.e.gather([left], turned.reshape(-1))
                columns = writer.matmul(self.wide, writer.reshape(order, (wide, high * many)))
            rows = writer.matmul(writer.reshape(right, (high * many, outputs)), separators)
            both = writer.multiply(columns, writer.reshape(rows, (1, high * many)))
            if self.high is not None:
                both = writer.matmul(self.high, writer.reshape(both, (high, many)))
            found.append(writer.total(both))
        return self.powers.join_lanes(writer.join(found))

    def _pointwise(self, term: Pointwise) -> Tensor:
        left, right = (
            self.e.less(self.e.view_all(view), self.e.offsets(view)) for view in term.views
        )
        both = self.powers.join_lanes(self.writer.multiply(left, right))
        return self._separated(self._fold(both))

    def _function(self, term: Function) -> list[Tensor]:
        """Straight pieces: a look-up for each kink of each element. One for all of them, where a
        table has the function."""
        writer, offsets, found = self.writer, self.e.offsets(term.view), []
        offset = int(offsets.reshape(-1)[0])
        assert np.all(offsets == offset)
        if term.start:
            values = self._separated(self._fold(self.e.view(term.view)))
            found.append(self._times(values, term.start))
        if term.lookup is not None:
            found += self._looked_up(term, term.lookup)
        if not term.kinks:
            return found
        count, (high, wide, outputs) = len(term.kinks), self.step.shape
        every = self.e.view_all(term.view)
        each = self.e.gather([every], np.repeat(np.arange(every.size), count))
        kinks = np.array([[k + offset for k in term.kinks]], dtype=np.int64)
        over = writer.rectified(
            writer.subtract(writer.reshape(each, (every.size, count)), writer.constant(kinks))
        )
        joined = self.powers.join_lanes(writer.reshape(over, (1, over.size)))
        folded = self.powers.fold(joined, (high, wide, outputs * count), self.high, self.wide)
        folded = writer.matmul(
            self.powers.separators(self.pack), writer.reshape(folded, (outputs, count))
        )
        slopes = writer.constant(np.array(term.slopes, dtype=np.int64).reshape(-1, 1))
        found.append(writer.matmul(folded, slopes))
        return found

    def _looked_up(self, term: Function, own: Lookup) -> list[Tensor]:
        """What a table has of each element, and that times the element."""
        every = self.e.less(self.e.view_all(term.view), self.e.offsets(term.view))
        entries, found = self.writer.looked_up(every, own.times), []
        if own.height:
            folded = self._separated(self._fold(self.powers.join_lanes(entries)))
            found.append(self._times(folded, own.height))
        if own.tilt:
            both = self.powers.join_lanes(self.writer.multiply(entries, every))
            found.append(self._times(self._separated(self._fold(both)), own.tilt))
        return found
