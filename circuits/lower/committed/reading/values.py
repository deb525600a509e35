"""Values of a graph as they stand for elements of rows: movement, factors and sums cost nothing
until a step needs integers of its own (``circuits.lower.committed.reading.draft``).

While a network is being read its views hold *addresses* in the places' stead (``rows`` empty): a
row's number times 2^40, plus the element's place in it. ``simplifying`` makes a network of it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import ZERO, Floats, Integers, View

Map = Callable[[Floats], Floats]
ROW = 1 << 40


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


def nothing(shape: tuple[int, ...]) -> Part:
    return Part(addresses=np.full(shape, ZERO), factor=np.ones(shape))


def of_addresses(addresses: Integers) -> Value:
    part = Part(addresses=addresses, factor=np.ones(addresses.shape))
    return Value(parts=(part,), constant=np.zeros(addresses.shape))


def raw(addresses: Integers) -> View:
    """A view that holds addresses."""
    return View(rows=(), places=addresses)


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


def identity(x: Floats) -> Floats:
    return x


def one_function(value: Value) -> tuple[Integers, Map] | None:
    """A value as a function of elements by their addresses, the same one for all, if it is one."""
    if not value.parts or not one_number(value.constant):
        return None
    first = value.parts[0].addresses
    if not all(one_number(p.factor) and np.array_equal(p.addresses, first) for p in value.parts):
        return None
    parts = [(float(p.factor.reshape(-1)[0]), p.function or identity) for p in value.parts]
    added = float(value.constant.reshape(-1)[0])
    if len(parts) == 1 and not added:
        factor, function = parts[0]
        return first, lambda x: factor * function(x)
    return first, lambda x: np.asarray(sum(f * g(x) for f, g in parts) + added)


def one_number(array: Floats) -> bool:
    """Whether all elements are the same number."""
    return bool(np.all(array == array.reshape(-1)[:1]))
