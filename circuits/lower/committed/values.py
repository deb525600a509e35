"""Values of a graph as they stand for elements of rows: movement, factors and sums cost nothing
until a step needs integers of its own (``Draft.materialize``).

While a network is being read its views hold *addresses* in the places' stead (``rows`` empty): a
row's number times 2^40, plus the element's place in it. ``simplifying`` makes a network of it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

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
    View,
    alone,
)
from circuits.lower.errors import CannotLower

Map = Callable[[Floats], Floats]
ROW = 1 << 40
#: In the place of a length: that of what counts in ones.
_ONES = 1 << 62
#: Sums of so many bits are in no table; they are rounded as others are.
_MOST_COUNT = 1 << 15
#: Parts of a value that is multiplied by bits part by part.
_FEW = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Elements by their addresses, each put through ``function`` and times ``factor``. ``square``:
    whether the function is x · x; ``added``: how many of its values are added up."""

    addresses: Integers
    factor: Floats
    function: Map | None = None
    added: int = 1
    square: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """A tensor of the graph: parts of its shape and ``constant`` added up."""

    parts: tuple[Part, ...]
    constant: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.constant.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def plain(self) -> bool:
        """Whether it is elements of rows as they are."""
        if len(self.parts) != 1 or np.any(self.constant):
            return False
        part = self.parts[0]
        return part.function is None and bool(np.all(part.factor == 1))

    @property
    def key(self) -> bytes:
        """Equal for equal values."""
        found = hashlib.sha256(repr(self.shape).encode())
        for part in self.parts:
            found.update(np.ascontiguousarray(part.addresses).tobytes())
            found.update(np.broadcast_to(part.factor, self.shape).tobytes())
            found.update(b"square" if part.square else str(id(part.function)).encode())
        found.update(np.ascontiguousarray(self.constant).tobytes())
        return found.digest()

    @property
    def addresses(self) -> Integers:
        """A plain value's."""
        return self.parts[0].addresses

    def moved(self, move: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Value:
        """The same elements in another order and number, as ``move`` has them; where it has a zero
        of its own there is a zero."""
        at = move(np.arange(1, self.size + 1, dtype=np.float64).reshape(self.shape))
        index = np.rint(at).astype(np.int64) - 1
        gone = index < 0

        def taken(array: NDArray[Any], fill: float) -> NDArray[Any]:
            flat = np.broadcast_to(array, self.shape).reshape(-1)
            return np.where(gone, fill, flat[index]).astype(array.dtype)

        parts = tuple(
            replace(
                part,
                addresses=taken(part.addresses, ZERO),
                factor=taken(part.factor, 1.0 if part.function is None else 0.0),
            )
            for part in self.parts
        )
        return Value(parts=parts, constant=taken(self.constant, 0.0))

    def reshaped(self, shape: Sequence[int]) -> Value:
        return self.moved(lambda a: a.reshape(tuple(shape)))

    def scaled(self, factor: NDArray[np.float64]) -> Value:
        """Times a constant, by numpy's rules."""
        shape = np.broadcast_shapes(self.shape, factor.shape)
        own = self.broadcast(shape)
        parts = tuple(replace(p, factor=p.factor * factor) for p in own.parts)
        return Value(parts=parts, constant=own.constant * factor)

    def broadcast(self, shape: Sequence[int]) -> Value:
        """Repeated along axes of one, by numpy's rules."""
        if self.shape == tuple(shape):
            return self
        return self.moved(lambda a: np.broadcast_to(a, tuple(shape)))

    def plus(self, other: Value) -> Value:
        shape = np.broadcast_shapes(self.shape, other.shape)
        a, b = self.broadcast(shape), other.broadcast(shape)
        return Value(parts=a.parts + b.parts, constant=a.constant + b.constant)


def constant(values: NDArray[np.generic]) -> Value:
    return Value(parts=(), constant=np.asarray(values, dtype=np.float64))


def _nothing(shape: tuple[int, ...]) -> Part:
    return Part(addresses=np.full(shape, ZERO), factor=np.ones(shape))


def of_addresses(addresses: Integers) -> Value:
    part = Part(addresses=addresses, factor=np.ones(addresses.shape))
    return Value(parts=(part,), constant=np.zeros(addresses.shape))


def raw(addresses: Integers) -> View:
    """A view that holds addresses."""
    return View(rows=(), places=addresses)


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
class Draft:
    """A network being read. ``alike``: rows all of whose elements count in steps of one length;
    ``origins``: for each element of a local step's row the one in whose steps it counts; ``ones``:
    rows of integers that count in ones, exactly, ``bits`` those of them that are 0 or 1;
    ``decided``: the rows that compare computed values with constants, by their outputs' names;
    ``elsewhere``: those that compare inputs with constants, each with the refusal that it is unless
    a curve is made of it; ``compared``: see ``Read``."""

    inputs: list[int]
    steps: list[Step] = field(default_factory=list)
    alike: set[int] = field(default_factory=set)
    origins: dict[int, Integers] = field(default_factory=dict)
    ones: set[int] = field(default_factory=set)
    bits: set[int] = field(default_factory=set)
    decided: dict[str, int] = field(default_factory=dict)
    #: Which elements of inputs are compared with constants, by the comparisons' outputs' names.
    tested: dict[str, Integers] = field(default_factory=dict)
    #: Where it stands whether an input's element, by its address, is beyond a constant, or at it.
    tests: dict[tuple[int, float, bool], int] = field(default_factory=dict)
    #: The addresses of what products of bits are of, and those of flows by what makes them.
    products: dict[int, tuple[int, int]] = field(default_factory=dict)
    flows: dict[tuple[Op | None, int, int], int] = field(default_factory=dict)
    #: Of which group of columns each element of an input is, where these have steps of their own.
    groups: dict[int, Integers] = field(default_factory=dict)
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

    def row(self, step: Step, shape: Sequence[int]) -> Value:
        """A new step's row as a value."""
        row = self.add(step)
        return of_addresses(ROW * row + np.arange(step.size).reshape(tuple(shape)))

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

    # --- integers of a value's own -------------------------------------------------------------

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
        found = _one_function(value) or (self.uniform(value).addresses, _identity)
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
        first, second = _one_function(a), _one_function(b)
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
            own = [v.parts[n] if n < len(v.parts) else _nothing(v.shape) for v in values]
            addresses = np.concatenate([p.addresses for p in own], axis=axis)
            factors = [np.broadcast_to(p.factor, p.addresses.shape) for p in own]
            parts.append(Part(addresses=addresses, factor=np.concatenate(factors, axis=axis)))
        constants = np.concatenate([v.constant for v in values], axis=axis)
        return Value(parts=tuple(parts), constant=constants)

    def summed(self, value: Value) -> Value:
        """A value's integers, in the order of the row that it is made of where it is one."""
        functions = [p for p in value.parts if p.function is not None]
        single = len(value.parts) == 1 and _one(value.parts[0].factor)
        squares = all(p.square and _one(p.factor) for p in functions)
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
        if (found := _one_function(value)) is not None:
            part = Part(addresses=found[0], factor=np.ones(value.shape), function=found[1])
            return Value(parts=(part,), constant=np.zeros(value.shape))
        parts = []
        for part in value.parts:
            if part.function is None or _one(part.factor):
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


def rows_of(addresses: Integers) -> list[int]:
    """The rows that addresses are in."""
    return [int(n) for n in np.unique(addresses[addresses != ZERO] // ROW)]


def distinct(flat: Value) -> tuple[Integers, Integers]:
    """Where the different elements of a flat value stand first, and which of them each is."""
    factors = [np.broadcast_to(p.factor, flat.shape) for p in flat.parts]
    keys = [(n + 0.0).view(np.int64) for n in (flat.constant, *factors)]
    parts = zip(flat.parts, factors, strict=True)
    keys += [np.where(factor == 0, ZERO, part.addresses) for part, factor in parts]
    _, first, place = np.unique(np.stack(keys), axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[place.reshape(-1)]


def channelwise(lengths: Integers) -> bool:
    """Whether steps are of one length in each channel; zeros have any."""
    flat = lengths.reshape(-1, lengths.shape[-1])
    most = flat.max(axis=0)
    return bool(np.all((flat == most) | (flat == ZERO)))


def whole_row(addresses: Integers, draft: Draft) -> Integers | None:
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


def _identity(x: Floats) -> Floats:
    return x


def _one_function(value: Value) -> tuple[Integers, Map] | None:
    """A value as a function of elements by their addresses, the same one for all, if it is one."""
    if not value.parts or not _one(value.constant):
        return None
    first = value.parts[0].addresses
    if not all(_one(p.factor) and np.array_equal(p.addresses, first) for p in value.parts):
        return None
    parts = [(float(p.factor.reshape(-1)[0]), p.function or _identity) for p in value.parts]
    added = float(value.constant.reshape(-1)[0])
    if len(parts) == 1 and not added:
        factor, function = parts[0]
        return first, lambda x: factor * function(x)
    return first, lambda x: np.asarray(sum(f * g(x) for f, g in parts) + added)


def _one(array: Floats) -> bool:
    """Whether all elements are the same number."""
    return bool(np.all(array == array.reshape(-1)[:1]))
