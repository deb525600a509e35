"""The exact arithmetic of a network in integers.

A sum h, with half of the divisor in its bias, is held as ``h = divisor · q + remainder``, the
divisor being a power of the base and the remainder a number of so many digits. The table has an
entry for q, and rectifies. What a row's integers mean is never negative where the sum is rectified;
where it is signed, the circuit counts an ``offset`` more than what is meant, so that the table
leaves it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import (
    ZERO,
    Convolution,
    Floats,
    Function,
    FunctionTable,
    Integers,
    Kind,
    Local,
    Network,
    Numbers,
    Op,
    Product,
    Sum,
    Term,
    View,
    gathered,
    local,
    results,
    summed,
)

#: Rows of a table's column that hold no entry of their own.
UNUSED_ROWS = 8
#: Sums stay below this, so that int64 holds them and the field tells them apart.
LARGEST_SUM = 1 << 60
#: Doubles hold every integer up to here.
_DOUBLE = 1 << 53
#: What the integers of a row can be: least and largest.
Bounds = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ColumnSteps:
    """Elements of an input, by their ``places`` in it, that are counted as if they were an input of
    their own, with this ``scale`` and ``offset``, which is negative where all lie above zero."""

    places: tuple[int, ...]
    scale: int
    offset: int

    def range(self, base: int) -> tuple[float, float]:
        """The values that have entries in a table."""
        low, high = -self.offset, base - 1 - self.offset
        return math.ldexp(low, -self.scale), math.ldexp(high, -self.scale)


@dataclass(frozen=True, kw_only=True)
class InputSteps:
    """An input's integers are its values times 2 to the ``scale``, and ``offset`` below zero at the
    least; where the table bounds them so much is added. ``finer``: so many bits more than the
    table's they have, where nothing looks them up: public ones, such as only decide, and those of
    ``columns`` that the first sums of the network count again."""

    scale: int
    offset: int
    finer: int = 0
    columns: tuple[ColumnSteps, ...] = ()

    @property
    def coarsest(self) -> int:
        """The least scale in which any of its elements is counted where it is read."""
        return min((part.scale for part in self.columns), default=self.scale)

    def scales(self, size: int) -> Integers:
        """In what each of its elements is counted where it is read."""
        found = np.full(size, self.scale)
        for part in self.columns:
            found[[*part.places]] = part.scale
        return found


@dataclass(frozen=True, kw_only=True)
class SumSteps:
    """A sum's integers are its values times ``scale``, and in each channel 2 to its ``shifts``
    more: its quotient's, or those of a result that has no remainder. ``digits``: how many digits
    its remainder has. ``kinks``: where the pieces of its functions begin; none of a curve, whose
    pieces the model alone decides."""

    scale: float
    offset: int
    digits: int
    shifts: tuple[int, ...]
    kinks: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How a network's numbers become integers, as its recipe has it.

    ``base``: what a table bounds is below it; ``logrows``: that of the circuit, whose tables have
    ``2^logrows - 8`` entries and end at ``base - 1``. ``function``: the second of them, which
    functions are looked up in; None where there is one only.
    """

    base: int
    logrows: int
    inputs: tuple[InputSteps, ...]
    sums: tuple[SumSteps, ...]
    function: FunctionTable | None = None

    @property
    def lowest(self) -> int:
        """The table's first entry."""
        return self.base - entries(self.logrows)

    def divisor(self, number: int) -> int:
        """What the sum of this number is divided by."""
        return int(self.base ** self.sums[number].digits)

    @property
    def of_columns(self) -> tuple[SumSteps, ...]:
        """Those of the sums that count columns: the fewest digits with which no weight is less than
        one."""
        digit = self.base.bit_length() - 1
        return tuple(
            SumSteps(
                scale=2.0**part.scale,
                offset=part.offset,
                digits=max(1, math.ceil((own.scale - part.scale) / digit)),
                shifts=(0,) * len(part.places),
            )
            for own in self.inputs
            for part in own.columns
        )

    def to_json(self) -> dict[str, Any]:
        """What is nothing of an input is not written, as in recipes of older compilers."""
        inputs = [asdict(own) for own in self.inputs]
        plain = [{k: v for k, v in i.items() if v or k in ("scale", "offset")} for i in inputs]
        found = {**asdict(self), "inputs": plain}
        if self.function is None:
            del found["function"]
        return found

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Steps:
        return cls(
            base=data["base"],
            logrows=data["logrows"],
            inputs=tuple(_input_steps(entry) for entry in data["inputs"]),
            function=FunctionTable(**data["function"]) if "function" in data else None,
            sums=tuple(
                SumSteps(
                    scale=entry["scale"],
                    offset=entry["offset"],
                    digits=entry["digits"],
                    shifts=tuple(entry["shifts"]),
                    kinks=tuple(tuple(k) for k in entry["kinks"]),
                )
                for entry in data["sums"]
            ),
        )


def _input_steps(entry: Mapping[str, Any]) -> InputSteps:
    columns = tuple(
        ColumnSteps(**own | {"places": tuple(own["places"])}) for own in entry.get("columns", ())
    )
    return InputSteps(**{**entry, "columns": columns})


def nearest(number: float) -> int:
    """The integer that an input becomes: halves go away from zero."""
    return int(math.copysign(math.floor(abs(number) + 0.5), number))


def entries(logrows: int) -> int:
    """How many different entries a table of one column has."""
    return (1 << logrows) - UNUSED_ROWS


def has_digits(own: InputSteps, base: int) -> bool:
    """Whether an input's integers are so many digits, each of which the table bounds."""
    return base.bit_count() == 1 and own.finer % (base.bit_length() - 1) == 0


def lengths(network: Network, steps: Steps) -> list[Floats]:
    """What the values of each row's elements are multiplied by to be its integers."""
    found = [
        np.full(size, 2.0**own.scale)
        for size, own in zip(network.inputs, steps.inputs, strict=True)
    ]
    sums = iter(steps.sums)
    for step in network.steps:
        if isinstance(step, Sum):
            own = next(sums)
            scale = own.scale * np.exp2(np.array(own.shifts, dtype=np.float64))
            whole = steps.base**own.digits if step.kind is Kind.RESULT else 1
            found.append(np.broadcast_to(scale * whole, step.shape).reshape(-1))
            continue
        found.append(local_lengths(step, lengths_of(step.left, found)).reshape(-1))
    return found


def local_lengths(step: Local, left: Floats) -> Floats:
    """What the values of a local step's row are multiplied by, where those of its left view are by
    ``left``."""
    if step.in_ones:
        return np.ones_like(left)
    found: Floats = left.max(axis=-1) if step.op is Op.TOTAL else left
    return found


def lengths_of(view: View, rows: Sequence[Floats]) -> Floats:
    """The same of a view's elements, in its shape; 0 for zeros."""
    found = np.concatenate([rows[row] for row in view.rows])[view.places]
    return np.where(view.places == ZERO, 0.0, found)


def output_scales(network: Network, steps: Steps) -> list[int]:
    """The scales of the outputs: their integers are values times 2 to these.

    Raises ``ValueError`` where they count in other steps.
    """
    found, rows = [], lengths(network, steps)
    for output in network.outputs:
        own = np.unique(lengths_of(output, rows)[output.places != ZERO])
        scale = round(math.log2(own[0])) if len(own) else 0
        if len(own) > 1 or (len(own) and own[0] != 2.0**scale):
            raise ValueError("an output does not count in one power of two")
        found.append(scale)
    return found


def output_bounds(network: Network, steps: Steps) -> list[int]:
    """No element of an output is larger than this in magnitude."""
    found = [max(1, -low, high) for low, high in bounds(network, steps)]
    for size, (row, step) in zip(all_largest(network, steps), network.sums, strict=True):
        if step.kind is Kind.RESULT:
            found[row] = max(1, size)
    return [max(found[row] for row in output.rows) for output in network.outputs]


def bounds(network: Network, steps: Steps) -> list[Bounds]:
    """What each row's integers can mean."""
    widest = steps.base - 1
    found: list[Bounds] = [bounds_of(own, steps) for own in steps.inputs]
    number = 0
    for step in network.steps:
        if isinstance(step, Local):
            found.append(local_bounds(step, found, widest))
            continue
        decides = step.kind is Kind.DECIDED and is_decided(step, steps.divisor(number), found)
        found.append((0, 1) if decides else bounds_of(steps.sums[number], steps))
        number += 1
    return found


def is_decided(step: Sum, divisor: int, found: Sequence[Bounds]) -> bool:
    """Whether a sum's quotient is 0 or 1, whatever its rows hold within their bounds."""
    low, high = 0, 0
    for term in step.terms:
        if not isinstance(term, Convolution) or not _small(term.weights):
            return False
        ends = _bounds_of(term.view, found)
        each = term.weights.astype(np.int64)
        below = np.minimum(each, 0).sum(axis=(1, 2, 3))
        above = np.maximum(each, 0).sum(axis=(1, 2, 3))
        low += min(int(a) * ends[0] + int(b) * ends[1] for a, b in zip(above, below, strict=True))
        high += max(int(a) * ends[1] + int(b) * ends[0] for a, b in zip(above, below, strict=True))
    bias = step.bias.astype(np.int64)
    return low + int(bias.min()) >= 0 and high + int(bias.max()) < 2 * divisor


def _small(weights: Numbers) -> bool:
    """Whether int64 holds sums of these."""
    return float(np.abs(weights.astype(np.float64)).sum()) < LARGEST_SUM


def bounds_of(own: InputSteps | SumSteps, steps: Steps) -> Bounds:
    """What the integers of a sum's row can mean, and of an input, whether the table bounds it or
    whoever verifies."""
    finer = own.finer if isinstance(own, InputSteps) else 0
    return -own.offset, (steps.base << finer) - 1 - own.offset


def local_bounds(
    step: Local, found: Sequence[Bounds] | Mapping[int, Bounds], widest: int
) -> Bounds:
    """The same of a local step's row, from those of the rows before."""
    low, high = _bounds_of(step.left, found)
    if step.op is Op.RECTIFY:
        return 0, widest
    if step.in_ones:
        return 0, 1
    if step.op is Op.TOTAL:
        count = step.left.shape[-1]
        return count * low, count * high
    if not isinstance(step.right, View):
        return min(low, int(step.right)), max(high, int(step.right))
    other = _bounds_of(step.right, found)
    if step.op is Op.CHOSEN:
        corners = [a * b for a in (low, high) for b in other]
        return min(corners), max(corners)
    return min(low, other[0]), max(high, other[1])


def _bounds_of(view: View, found: Sequence[Bounds] | Mapping[int, Bounds]) -> Bounds:
    pairs = [found[row] for row in view.rows]
    return min(0, *(low for low, _ in pairs)), max(0, *(high for _, high in pairs))


def largest(step: Sum, divisor: int, offset: int, found: Sequence[Bounds]) -> int:
    """An integer sum, border and offset included, is never larger than this in magnitude, whatever
    its rows hold within their bounds."""
    bias = np.abs(step.bias.astype(np.float64)).max(initial=0.0)
    total = int(bias * (1 + 2.0**-40)) + 1 + divisor * abs(offset)
    return total + sum(_largest(term, found) for term in step.terms)


def _largest(term: Term, rows: Sequence[Bounds]) -> int:
    sizes = [max(-low, high) for low, high in (_bounds_of(v, rows) for v in term.views)]
    if isinstance(term, Convolution):
        sums = np.abs(term.weights.astype(np.float64)).sum(axis=(1, 2, 3))
        return int(sizes[0] * sums.max(initial=0.0) * (1 + 2.0**-40)) + 1
    if isinstance(term, Function):
        pieces = zip(term.kinks, term.slopes, strict=True)
        found = abs(term.start) * sizes[0] + sum(abs(s) * (sizes[0] + abs(k)) for k, s in pieces)
        if (own := term.lookup) is not None:
            found += own.largest(*_bounds_of(term.view, rows)) * (
                abs(own.height) + abs(own.tilt) * sizes[0]
            )
        return found
    many = term.left.shape[2] if isinstance(term, Product) else 1
    return many * sizes[0] * sizes[1] * abs(int(term.factor))


def all_largest(network: Network, steps: Steps) -> list[int]:
    """``largest`` of every sum."""
    found = bounds(network, steps)
    return [
        largest(step, steps.divisor(n), steps.sums[n].offset, found)
        for n, (_, step) in enumerate(network.sums)
    ]


@dataclass(frozen=True, kw_only=True)
class Split:
    """The hints of a sum on a batch of samples: ``full`` is what ``summed`` gives, ``quotients``
    are with the offset, ``remainders`` are digits, the least first. All are ``[samples, …]``."""

    full: Integers
    quotients: Integers
    remainders: list[Integers]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A network on a batch of samples: every row, the hints of every sum, and which samples drive a
    value out of the table."""

    rows: list[Numbers]
    splits: list[Split]
    outside: NDArray[np.bool_]


def run(network: Network, steps: Steps, inputs: Sequence[Integers]) -> Run:
    """The network on integer inputs, ``[samples, elements]`` each."""
    # Doubles hold such integers exactly, and numpy multiplies matrices of them far faster.
    kind = np.float64 if max(all_largest(network, steps), default=0) < _DOUBLE else np.int64
    rows: list[Numbers] = [values.astype(kind) for values in inputs]
    splits: list[Split] = []
    outside: Any = np.zeros(len(rows[0]), dtype=np.bool_)
    for step in network.steps:
        for asked in _asked(step, rows):
            np.logical_or(outside, _beyond(asked, steps.lowest, steps.base), out=outside)
        if isinstance(step, Local):
            rows.append(local(step, rows))
            continue
        own = steps.sums[len(splits)]
        divisor = steps.base**own.digits
        full = summed(_cast(step, kind), rows)
        total = (results(step, full) + step.bias).astype(np.int64) + divisor * own.offset
        quotients, rest = total // divisor, total % divisor
        remainders = []
        for _ in range(own.digits):
            remainders.append(rest % steps.base)
            rest = rest // steps.base
        splits.append(Split(full=full.astype(np.int64), quotients=quotients, remainders=remainders))
        if own.digits or step.kind is not Kind.RESULT:
            lowest = steps.lowest if step.kind is Kind.RECTIFIED else 0
            np.logical_or(outside, _beyond(quotients, lowest, steps.base), out=outside)
        read = np.maximum(quotients, 0) if step.kind is Kind.RECTIFIED else quotients - own.offset
        if step.kind is Kind.RESULT:
            read = total - divisor * own.offset
        rows.append(read.reshape(len(read), -1).astype(kind))
    return Run(rows=rows, splits=splits, outside=outside)


def _cast(step: Sum, kind: type) -> Sum:
    """The same integers in another number type."""
    terms = tuple(
        replace(t, weights=t.weights.astype(kind)) if isinstance(t, Convolution) else t
        for t in step.terms
    )
    return replace(step, terms=terms)


def _beyond(values: Numbers, lowest: int, end: int) -> NDArray[np.bool_]:
    flat = values.reshape(len(values), -1)
    found: NDArray[np.bool_] = np.asarray(((flat < lowest) | (flat >= end)).any(axis=1))
    return found


def _asked(step: Sum | Local, rows: Sequence[Numbers]) -> list[Numbers]:
    """What a step looks up beside hints."""
    if isinstance(step, Local):
        if step.op in (Op.TOTAL, Op.CHOSEN):
            return []
        right = gathered(step.right, rows) if isinstance(step.right, View) else step.right
        over = gathered(step.left, rows) - right
        return [-over if step.op is Op.BELOW else over]
    found = []
    for term in step.terms:
        if not isinstance(term, Function):
            continue
        values = gathered(term.view, rows) if term.kinks or term.lookup else None
        if values is not None and term.kinks:
            found += [values - max(term.kinks), values - min(term.kinks)]
        if values is not None and term.lookup is not None:
            found.append(term.lookup.times * values)
    return found
