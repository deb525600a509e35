"""A network being read: what its values are, and the integers that they are made where a step needs
them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import (
    ZERO,
    Convolution,
    Floats,
    Function,
    Integers,
    Kind,
    Local,
    Op,
    Pointwise,
    Shape,
    Step,
    Sum,
    Term,
    alone,
)
from circuits.lower.committed.reading.rows import Rows, whole_row
from circuits.lower.committed.reading.values import (
    ROW,
    Map,
    Part,
    Value,
    channelwise,
    distinct,
    identity,
    nothing,
    of_addresses,
    one_function,
    one_number,
    raw,
    rows_of,
)
from circuits.lower.errors import CannotLower

#: Parts of a value that is multiplied by bits part by part.
_FEW = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """A comparison that is part of a curve: by how much both sides of it, and of all that lead to
    it, differ where every element of an input is a number, ``[numbers, comparisons]`` (``gaps``),
    of which input and of which of its elements (``sources``) each is. The last are its own, in its
    ``shape``."""

    row: int
    gaps: Map
    sources: Integers
    shape: tuple[int, ...]


@dataclass(kw_only=True)
class Draft(Rows):
    """``decided``: the rows that compare computed values with constants, by their outputs' names;
    ``elsewhere``: those that compare inputs with constants, each with the refusal that it is unless
    a curve is made of it; ``compared``: see ``Read``."""

    decided: dict[str, int] = field(default_factory=dict)
    #: Which elements of inputs are compared with constants, by the comparisons' outputs' names.
    tested: dict[str, Integers] = field(default_factory=dict)
    #: Where it stands whether an input's element, by its address, is beyond a constant, or at it.
    tests: dict[tuple[int, float, bool], int] = field(default_factory=dict)
    #: The addresses of what products of bits are of, and those of flows by what makes them.
    products: dict[int, tuple[int, int]] = field(default_factory=dict)
    flows: dict[tuple[Op | None, int, int], int] = field(default_factory=dict)
    elsewhere: dict[int, CannotLower] = field(default_factory=dict)
    compared: dict[str, Compared] = field(default_factory=dict)
    #: Whether the node that is being read compares inputs with constants.
    compares_inputs: bool = False
    #: Where the bits stand that say whether an index is beyond 0, 1, 2 …, by its address.
    beyond: dict[int, Integers] = field(default_factory=dict)
    _indices: set[bytes] = field(default_factory=set)
    _materialized: dict[bytes, Value] = field(default_factory=dict)
    #: Keys name functions by their ids, which must not be given to others.
    _kept: list[Value] = field(default_factory=list)

    def counts_in_ones(self, value: Value) -> bool:
        """Whether a value would count in ones if it were materialized."""
        if value.parts and not self.ones:
            return False
        return all(
            part.function is None
            and np.all(part.factor == np.rint(part.factor))
            and self.ones.issuperset(rows_of(part.addresses))
            for part in value.parts
        ) and bool(np.all(value.constant == np.rint(value.constant)))

    def is_truth(self, value: Value) -> bool:
        """Whether a value is bits, or negated ones."""
        if len(value.parts) != 1 or not self._of_bits(value):
            return False
        factor, added = value.parts[0].factor, value.constant
        return bool(np.all((factor == 1) & (added == 0) | (factor == -1) & (added == 1)))

    def row(self, step: Step, shape: Sequence[int]) -> Value:
        """A new step's row as a value."""
        row = self.add(step)
        return of_addresses(ROW * row + np.arange(step.size).reshape(tuple(shape)))

    def biased(self, value: Value, added: Value) -> Value:
        """A plain value plus a constant: as part of the sum that it is the whole row of, where
        nothing reads that row yet."""
        shape = np.broadcast_shapes(value.shape, added.shape)
        row = int(value.addresses.reshape(-1)[0] // ROW) - len(self.inputs)
        step = self.steps[row] if row >= 0 else None
        fresh = isinstance(step, Sum) and shape == value.shape
        if not fresh or not value.plain or whole_row(value.addresses, self) is None:
            return value.plus(added)
        assert isinstance(step, Sum)
        own = np.empty(step.size)
        own[value.addresses.reshape(-1) % ROW] = added.broadcast(shape).constant.reshape(-1)
        bias = own.reshape(step.shape) + step.bias
        self.steps[row] = _signed(step.shape, step.terms, bias)
        return value

    def rounded(self, value: Value) -> Value:
        """The integers that the model itself rounds a value to."""
        if self.counts_in_ones(value):
            return value
        found = self.summed(value)
        step = self.steps[-1]
        assert isinstance(step, Sum)
        self.steps[-1] = replace(step, rounded=True)
        self.alike.add(len(self.inputs) + len(self.steps) - 1)
        return found

    def materialize(self, value: Value) -> Value:
        """The value as elements of rows that the table bounds."""
        if value.plain and not self.wide(value.addresses):
            return value
        key = value.key
        if key not in self._materialized:
            self._materialized[key] = self.summed(value)
            self._kept.append(value)
        return self._materialized[key]

    def uniform(self, value: Value) -> Value:
        """The same, all in steps of one length."""
        materialized = self.materialize(value)
        lengths = np.unique(self.lengths(materialized.addresses))
        rows = {int(n // ROW) for n in lengths if n != ZERO}
        if len(lengths[lengths != ZERO]) <= 1:
            return materialized
        if len(rows) == 1 and not rows <= self.groups.keys():
            self.alike |= rows
            return materialized
        key = materialized.key
        if key not in self._materialized:
            self._materialized[key] = self.summed(materialized)
            self.alike.add(int(self._materialized[key].addresses.reshape(-1)[0] // ROW))
        return self._materialized[key]

    def index(self, value: Value, bits: Integers, *, new: bool = False) -> None:
        """Notes values as indices where each is the count of the bits which say that it is beyond
        0, 1, 2 …: where these are new, or were noted before."""
        for address, own in zip(value.addresses.reshape(-1).tolist(), bits, strict=True):
            if new or own.tobytes() in self._indices:
                self._indices.add(own.tobytes())
                self.beyond[address] = own

    def compact(self, value: Value) -> Value:
        """``uniform``, with elements that occur several times materialized once."""
        flat = value.reshaped((value.size,))
        kept, places = distinct(flat)
        if len(kept) == flat.size:
            return self.uniform(value)
        found = self.uniform(flat.moved(lambda x: x[kept]))
        return found.moved(lambda x: x[places].reshape(value.shape))

    def apply(self, value: Value, function: Map, *, added: int = 1) -> Value:
        """A function of each element, not yet looked up. ``added``: how many of its values, most of
        them small, are added up."""
        found = one_function(value) or (self.uniform(value).addresses, identity)
        inner = found[1]
        base = self.uniform(of_addresses(found[0]))
        part = Part(
            addresses=base.addresses,
            factor=np.ones(value.shape),
            function=lambda x: function(inner(x)),
            added=added,
        )
        return Value(parts=(part,), constant=np.zeros(value.shape))

    def times(self, a: Value, b: Value) -> Value:
        """Products of two values, element by element."""
        for bits, value in ((a, b), (b, a)):
            if self._of_bits(bits):
                return self._chosen(bits, value)
        shape = np.broadcast_shapes(a.shape, b.shape)
        first, second = one_function(a), one_function(b)
        if first and second and np.array_equal(first[0], second[0]):
            f, g = first[1], second[1]
            base = self.uniform(of_addresses(first[0]))
            part = Part(
                addresses=base.addresses,
                factor=np.ones(shape),
                function=lambda x: f(x) * g(x),
                square=a.plain and b.plain,
            )
            return Value(parts=(part,), constant=np.zeros(shape))
        own = [self.moved(self.uniform(v), partial(np.broadcast_to, shape=shape)) for v in (a, b)]
        left, right = (raw(_as_map(v.addresses)) for v in own)
        term = Pointwise(left=left, right=right, factor=1.0)
        return self.row(_signed(left.shape, (term,)), shape)  # type: ignore[arg-type]

    def _of_bits(self, value: Value) -> bool:
        """Whether a value is a few bits times constants."""
        return 0 < len(value.parts) <= _FEW and all(
            p.function is None and self.bits.issuperset(rows_of(p.addresses)) for p in value.parts
        )

    def _chosen(self, bits: Value, value: Value) -> Value:
        """A value times what is made of bits: its parts where a bit is one."""
        shape = np.broadcast_shapes(bits.shape, value.shape)
        plain = all(p.function is None and not self.wide(p.addresses) for p in value.parts)
        several = len(value.parts) > 1 and value.size < math.prod(shape)
        if not plain or several or len(value.parts) > _FEW:
            value = self.materialize(value)
        bits, value = bits.broadcast(shape), value.broadcast(shape)
        parts = [replace(p, factor=p.factor * bits.constant) for p in value.parts]
        parts += [replace(p, factor=p.factor * value.constant) for p in bits.parts]
        for bit in bits.parts:
            for part in value.parts:
                step = Local(op=Op.CHOSEN, left=raw(part.addresses), right=raw(bit.addresses))
                key = b"chosen" + part.addresses.tobytes() + bit.addresses.tobytes()
                if key not in self._materialized:
                    self._materialized[key] = made = self.row(step, shape)
                    if self.bits.issuperset(rows_of(part.addresses)):
                        flat = [a.reshape(-1).tolist() for a in (part.addresses, bit.addresses)]
                        both = zip(*flat, strict=True)
                        places = made.addresses.reshape(-1).tolist()
                        self.products |= dict(zip(places, both, strict=True))
                found = self._materialized[key].reshaped(shape).addresses
                parts.append(Part(addresses=found, factor=part.factor * bit.factor))
        own = tuple(p for p in parts if np.any(p.factor))
        return Value(parts=own, constant=bits.constant * value.constant)

    def moved(
        self, value: Value, move: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> Value:
        """``Value.moved``, of functions looked up before where that makes them more."""
        found = value.moved(move)
        if found.size != value.size and any(p.function is not None for p in value.parts):
            return self.materialize(value).moved(move)
        return found

    def joined(self, values: Sequence[Value], axis: int) -> Value:
        """Values behind one another along an axis."""
        if any(p.function is not None for v in values for p in v.parts):
            values = [self.materialize(v) if v.parts else v for v in values]
        most = max(len(v.parts) for v in values)
        parts = []
        for n in range(most):
            own = [v.parts[n] if n < len(v.parts) else nothing(v.shape) for v in values]
            addresses = np.concatenate([p.addresses for p in own], axis=axis)
            factors = [np.broadcast_to(p.factor, p.addresses.shape) for p in own]
            parts.append(Part(addresses=addresses, factor=np.concatenate(factors, axis=axis)))
        constants = np.concatenate([v.constant for v in values], axis=axis)
        return Value(parts=tuple(parts), constant=constants)

    def summed(self, value: Value) -> Value:
        """A value's integers, in the order of the row that it is made of where it is one."""
        functions = [p for p in value.parts if p.function is not None]
        single = len(value.parts) == 1 and one_number(value.parts[0].factor)
        squares = all(p.square and one_number(p.factor) for p in functions)
        if functions and not single and not squares:
            value = self._merged(value)
        shape, order = self._layout(value)
        terms: list[Term] = []
        for part in value.parts:
            addresses = part.addresses.reshape(-1)[order].reshape(shape)
            factor = np.broadcast_to(part.factor, value.shape).reshape(-1)[order].reshape(shape)
            view = raw(addresses)
            if part.square:
                terms.append(Pointwise(left=view, right=view, factor=float(factor.flat[0])))
            elif part.function is not None:
                number = float(factor.flat[0])
                terms.append(
                    Function(view=view, factor=number, exact=part.function, added=part.added)
                )
            else:
                weights = factor[0, 0].reshape(-1, 1, 1, 1).copy()
                terms.append(
                    Convolution(
                        view=view, weights=weights, height=alone(shape[0]), width=alone(shape[1])
                    )
                )
        bias = value.constant.reshape(-1)[order].reshape(shape)
        row = self.add(_signed(shape, tuple(terms), bias))
        back = np.empty(value.size, dtype=np.int64)
        back[order] = np.arange(value.size)
        return of_addresses((ROW * row + back).reshape(value.shape))

    def _merged(self, value: Value) -> Value:
        """A value with functions as one function of the same elements, where it is one; else with
        functions whose factor is the same everywhere."""
        if (found := one_function(value)) is not None:
            part = Part(addresses=found[0], factor=np.ones(value.shape), function=found[1])
            return Value(parts=(part,), constant=np.zeros(value.shape))
        parts = []
        for part in value.parts:
            if part.function is None or one_number(part.factor):
                parts.append(part)
                continue
            bare = replace(part, factor=np.ones(value.shape))
            materialized = self.materialize(Value(parts=(bare,), constant=np.zeros(value.shape)))
            parts.append(replace(materialized.parts[0], factor=part.factor))
        return replace(value, parts=tuple(parts))

    def _layout(self, value: Value) -> tuple[Shape, Integers]:
        """The shape in which a value's integers are added up, and the order of its elements."""
        size, last = value.size, value.shape[-1] if value.shape else 1
        tries: list[tuple[Shape, Integers]] = []
        for part in value.parts:
            if (order := whole_row(part.addresses, self)) is not None:
                row = int(part.addresses.reshape(-1)[0] // ROW)
                if (at := row - len(self.inputs)) >= 0:
                    step = self.steps[at]
                    if isinstance(step, Sum):
                        tries.append((step.shape, order))
        if last > 1:
            tries.append(((size // last, 1, last), np.arange(size)))
        tries += [((size, 1, 1), np.arange(size)), ((1, 1, size), np.arange(size))]
        for shape, order in tries[:-1]:
            if all(self._per_channel(part, shape, order) for part in value.parts):
                return shape, order
        return tries[-1]

    def _per_channel(self, part: Part, shape: Shape, order: Integers) -> bool:
        """Whether factors and lengths of steps are the same all over each channel (for functions:
        everywhere)."""
        factor = np.broadcast_to(part.factor, part.addresses.shape).reshape(-1)[order]
        factor = factor.reshape(shape)
        if part.function is not None:
            return bool(np.all(factor == factor[0, 0, 0]))
        lengths = self.lengths(part.addresses).reshape(-1)[order].reshape(shape)
        return bool(np.all(factor == factor[:1, :1])) and channelwise(lengths)


def leading(draft: Draft, rows: Iterable[int]) -> list[int]:
    """The rows that lead to some, and these, in order."""
    first, found = len(draft.inputs), {*rows}
    for at in range(max(found), first - 1, -1):
        if at in found:
            views = draft.steps[at - first].views
            found |= {r for view in views for r in rows_of(view.places) if r >= first}
    return sorted(found)


def _signed(shape: Shape, terms: tuple[Term, ...], bias: Floats | None = None) -> Sum:
    """A new sum; of a bias that is the same all over each channel one element each is kept."""
    if bias is None:
        bias = np.zeros(shape[2])
    elif bias.ndim > 1 and np.all(bias == bias[:1, :1]):
        bias = bias[0, 0].copy()
    return Sum(kind=Kind.SIGNED, shape=shape, terms=terms, bias=bias)


def _as_map(addresses: Integers) -> Integers:
    """As a feature map: rows and, in the channels' place, the last axis."""
    last = addresses.shape[-1] if addresses.ndim else 1
    return addresses.reshape((-1, 1, last) if last > 1 else (-1, 1, 1))
