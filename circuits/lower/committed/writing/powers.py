"""Challenges and their powers in a circuit, and how outputs are packed under them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from circuits.committed.arithmetic import Steps, entries
from circuits.committed.network import Kind, Span, Sum
from circuits.format.commitments import LANE
from circuits.lower.committed.writing.writer import Tensor, Writer

#: Sums below this are smaller than the modulus of BN254's scalar field (253.6 bits).
_FIELD_BITS = 253
Wide = NDArray[np.object_]


@dataclass(frozen=True)
class Packing:
    """How the outputs of a sum are told apart: ``members`` of them, of ``bits`` bits each, under
    one power of the challenge (decision 0015 has the argument).

    Quotients and remainders that the table bounds differ from true ones by less than 2^bits. A
    border, or a result without a remainder, is bounded by nothing: such sums have one member a
    power.
    """

    outputs: int
    members: int
    bits: int

    @classmethod
    def of(cls, step: Sum, largest: int, steps: Steps, divisor: int) -> Packing:
        bits = (largest + divisor * (entries(steps.logrows) + 1)).bit_length()
        if step.bordered or (divisor == 1 and step.kind is Kind.RESULT) or bits > _FIELD_BITS // 2:
            return cls.none(step)
        outputs = step.shape[2]
        groups = math.ceil(outputs / (_FIELD_BITS // bits))
        return cls(outputs, math.ceil(outputs / groups), bits)

    @classmethod
    def none(cls, step: Sum) -> Packing:
        """Each output under its own power."""
        return cls(step.shape[2], 1, 0)

    @property
    def groups(self) -> int:
        return math.ceil(self.outputs / self.members)

    @property
    def factors(self) -> Wide:
        """What each output is multiplied by in its group."""
        found = [1 << (self.bits * (n % self.members)) for n in range(self.outputs)]
        return np.array(found, dtype=object)

    def packed(self, rows: NDArray[np.int64]) -> Wide:
        """``[n, outputs]`` as ``[n, groups]``."""
        whole = np.zeros((len(rows), self.groups * self.members), dtype=object)
        whole[:, : self.outputs] = rows.astype(object) * self.factors
        packed: Wide = whole.reshape(len(rows), self.groups, self.members).sum(axis=2)
        return packed


@dataclass(kw_only=True)
class Powers:
    """The challenges' powers, as many as a circuit takes."""

    writer: Writer
    point: Tensor
    names: Sequence[str]
    lanes: int
    of_output: Tensor
    of_row: Tensor
    of_column: Tensor
    of_lane: Tensor | None
    all_lanes: Tensor | None
    _separated: dict[Packing, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        writer: Writer,
        point: Tensor,
        names: Sequence[str],
        sums: Sequence[Sum],
        packs: Sequence[Packing],
        lanes: int,
    ) -> Powers:
        """``point`` holds the challenges of these ``names``."""

        def challenge(name: str, count: int) -> Tensor:
            at = names.index(name)
            return writer.powers(writer.cut(point, at, at + 1), count)

        of_lane = challenge(LANE, lanes) if lanes > 1 else None
        return cls(
            writer=writer,
            point=point,
            names=names,
            lanes=lanes,
            of_output=challenge("output", max([p.groups for p in packs], default=1)),
            of_row=challenge("row", _most([s.rows for s in sums])),
            of_column=challenge("column", _most([s.columns for s in sums])),
            of_lane=of_lane,
            all_lanes=None if of_lane is None else writer.total(of_lane),
        )

    def challenge(self, name: str) -> Tensor:
        at = self.names.index(name)
        return self.writer.cut(self.point, at, at + 1)

    # --- lanes --------------------------------------------------------------------------------

    def join_lanes(self, value: Tensor) -> Tensor:
        """Elements of all lanes, lane after lane, as a row of their sums under the powers of the
        lanes' challenge."""
        if self.of_lane is None:
            return value
        return self.writer.matmul(
            self.of_lane, self.writer.reshape(value, (self.lanes, value.size // self.lanes))
        )

    def in_each_lane(self, constant: Tensor) -> Tensor:
        """What every lane's sum has in it, as their joined sum has it."""
        if self.all_lanes is None:
            return constant
        return self.writer.multiply(constant, self.all_lanes)

    # --- outputs ------------------------------------------------------------------------------

    def groups(self, pack: Packing) -> Tensor:
        """The power of each group of outputs, as a column."""
        own = self.writer.take(self.of_output, range(pack.groups))
        return self.writer.reshape(own, (pack.groups, 1))

    def separators(self, pack: Packing) -> Tensor:
        """What each output is multiplied by, as a row."""
        if pack.members == 1:
            return self.writer.take(self.of_output, range(pack.outputs))
        if pack not in self._separated:
            groups = [n // pack.members for n in range(pack.outputs)]
            factors = self.writer.constant(pack.factors[None])
            self._separated[pack] = self.writer.multiply(
                self.writer.take(self.of_output, groups), factors
            )
        return self._separated[pack]

    # --- places -------------------------------------------------------------------------------

    def rows(self, span: Span, exponents: Sequence[int]) -> Tensor | None:
        """Powers of the rows' challenge; None where there is one place only, without a power."""
        return self._taken(self.of_row, span, exponents)

    def columns(self, span: Span, exponents: Sequence[int]) -> Tensor | None:
        return self._taken(self.of_column, span, exponents)

    def _taken(self, powers: Tensor, span: Span, exponents: Sequence[int]) -> Tensor | None:
        if span.length == 1:
            return None
        return self.writer.take(powers, [e - 1 for e in exponents])

    def both(self, rows: Tensor | None, columns: Tensor | None) -> Tensor | None:
        """Their products, element by element; None where both are."""
        if rows is None or columns is None:
            return columns if rows is None else rows
        return self.writer.multiply(rows, columns)

    def totals(self, rows: Tensor | None, columns: Tensor | None) -> Tensor | None:
        """The product of their sums."""
        own = [None if p is None else self.writer.total(p) for p in (rows, columns)]
        return self.both(*own)

    def fold(
        self, values: Tensor, shape: tuple[int, ...], rows: Tensor | None, columns: Tensor | None
    ) -> Tensor:
        """``Σ v[i, j, f] · rows[i] · columns[j]`` for each f, as a row."""
        writer, (high, wide, outputs) = self.writer, shape
        if rows is not None:
            values = writer.matmul(rows, writer.reshape(values, (high, wide * outputs)))
        if columns is not None:
            values = writer.matmul(columns, writer.reshape(values, (wide, outputs)))
        return writer.reshape(values, (1, outputs))


def _most(spans: Sequence[Span]) -> int:
    """The highest power that is taken."""
    return max((span.last for span in spans if span.length > 1), default=1)
