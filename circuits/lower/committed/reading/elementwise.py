"""Operators that do the same to every element."""

from __future__ import annotations

import math

import numpy as np

from circuits.committed.network import ZERO, Floats, Local, Op
from circuits.lower.committed.reading.draft import Draft
from circuits.lower.committed.reading.flows import shortened, single
from circuits.lower.committed.reading.functions import FUNCTIONS, of_count, power, reciprocal
from circuits.lower.committed.reading.nodes import Node, Refused
from circuits.lower.committed.reading.values import ROW, Value, constant, raw

_SQUARE = 2


def _pair(node: Node) -> tuple[Value, Value]:
    a, b = node.value(0), node.value(1)
    shape = np.broadcast_shapes(a.shape, b.shape)
    first, second = (spread(node.draft, v, shape) for v in (a, b))
    return first, second


def spread(draft: Draft, value: Value, shape: tuple[int, ...]) -> Value:
    """Repeated to a shape, by numpy's rules."""
    if value.shape == shape:
        return value
    return draft.moved(value, lambda x: np.broadcast_to(x, shape))


def add(node: Node) -> Value:
    a, b = _pair(node)
    return a.plus(b)


def sub(node: Node) -> Value:
    a, b = _pair(node)
    return shortened(node.draft, a.plus(b.scaled(np.array(-1.0))))


def mul(node: Node) -> Value:
    a, b = _pair(node)
    if not b.parts:
        return a.scaled(b.constant)
    if not a.parts:
        return b.scaled(a.constant)
    return node.draft.times(single(node.draft, a), single(node.draft, b))


def div(node: Node) -> Value:
    a, b = _pair(node)
    if not b.parts:
        return a.scaled(1 / b.constant)
    counts = node.draft.counts_in_ones(node.value(1))
    below = node.draft.apply(node.value(1), of_count if counts else reciprocal)
    below = spread(node.draft, below, b.shape)
    return below.scaled(a.constant) if not a.parts else node.draft.times(a, below)


def batch_norm(node: Node) -> Value:
    """A factor and a term for each channel, the second axis."""
    value = node.value(0)
    gamma, beta, mean, variance = (node.constant(n) for n in range(1, 5))
    factor = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))

    def of_channels(numbers: Floats) -> Floats:
        return np.broadcast_to(numbers.reshape(-1, *[1] * (len(value.shape) - 2)), value.shape)

    return value.scaled(of_channels(factor)).plus(constant(of_channels(beta - mean * factor)))


def neg(node: Node) -> Value:
    return node.value(0).scaled(np.array(-1.0))


def function(node: Node) -> Value:
    return node.draft.apply(node.value(0), FUNCTIONS[node.proto.op_type](node.attributes))


def absolute(node: Node) -> Value:
    """2 · max(x, 0) - x of what counts in ones, exactly; else a function."""
    value = node.value(0)
    if not value.parts or not node.draft.counts_in_ones(value):
        return function(node)
    twice = rectified(node.draft, value).scaled(np.array(2.0))
    return twice.plus(value.scaled(np.array(-1.0)))


def powered(node: Node) -> Value:
    value, exponent = node.value(0), node.constant(1)
    if np.any(exponent != exponent.reshape(-1)[0]):
        raise Refused("its exponents differ")
    number = float(exponent.reshape(-1)[0])
    if number == 1:
        return value
    if number == _SQUARE:
        return node.draft.times(value, value)
    return node.draft.apply(value, power(number))


def prelu(node: Node) -> Value:
    """max(x, 0) + slope · min(x, 0): a function wherever slopes are the same."""
    value, slope = node.value(0), node.constant(1)
    positive = rectified(node.draft, value)
    return positive.scaled(1 - slope).plus(value.scaled(slope))


def leaky(node: Node) -> Value:
    value, slope = node.value(0), np.array(node.attributes.get("alpha", 0.01))
    return rectified(node.draft, value).scaled(1 - slope).plus(value.scaled(slope))


def add_all(node: Node) -> Value:
    found = node.value(0)
    for n in range(1, len(node.values)):
        found = found.plus(node.value(n))
    return found


def relu(node: Node) -> Value:
    return rectified(node.draft, node.value(0))


def rectified(draft: Draft, value: Value) -> Value:
    materialized = draft.materialize(value)
    return by_element(draft, Op.RECTIFY, materialized, 0)


def by_element(draft: Draft, op: Op, left: Value, right: Value | float) -> Value:
    """A local step of plain values."""
    if not isinstance(right, Value) and not math.isfinite(right):
        raise Refused("it compares with an infinity")
    other = raw(right.addresses) if isinstance(right, Value) else right
    return draft.row(Local(op=op, left=raw(left.addresses), right=other), left.shape)


def clip(node: Node) -> Value:
    """low + max(min(x, high) - low, 0)."""
    value = node.value(0)
    low, high = (float(node.constant(n).reshape(-1)[0]) if node.has(n) else None for n in (1, 2))
    if low is not None:
        value = _above(node.draft, value, low)
    return value if high is None else _below(node.draft, value, high)


def _above(draft: Draft, value: Value, low: float) -> Value:
    """The larger of a value and a number."""
    bare, shift = _shifted(value)
    if bare.plain and draft.is_rounded(bare.addresses):
        op = Op.MAXIMUM if low - shift else Op.RECTIFY
        found = by_element(draft, op, bare, low - shift)
        return found.plus(constant(np.full(value.shape, shift)))
    shifted = value.plus(constant(np.full(value.shape, -low)))
    return rectified(draft, shifted).plus(constant(np.full(value.shape, low)))


def _below(draft: Draft, value: Value, high: float) -> Value:
    """The smaller of a value and a number."""
    bare, shift = _shifted(value)
    own = draft.uniform(bare)
    found = by_element(draft, Op.MINIMUM, own, high - shift)
    return found.plus(constant(np.full(value.shape, shift)))


def _shifted(value: Value) -> tuple[Value, float]:
    """A value as one without a constant and a number that is added everywhere; 0 where it is not
    the same."""
    shift = float(value.constant.reshape(-1)[0]) if value.size else 0.0
    if np.any(value.constant != shift):
        return value, 0.0
    return Value(parts=value.parts, constant=np.zeros(value.shape)), shift


def _extremum(node: Node, op: Op) -> Value:
    """The largest or smallest of values, two after two."""
    found = node.value(0)
    for n in range(1, len(node.values)):
        other = node.value(n)
        shape = np.broadcast_shapes(found.shape, other.shape)
        a, b = (spread(node.draft, v, shape) for v in (found, other))
        alike = _alike(node.draft, a, b)
        if alike is not None:
            found = by_element(node.draft, op, *alike)
        elif op is Op.MAXIMUM:
            found = _max_of_two(node.draft, a, b)
        else:
            a, b = (v.scaled(np.array(-1.0)) for v in (a, b))
            found = _max_of_two(node.draft, a, b).scaled(np.array(-1.0))
    return found


def _alike(draft: Draft, a: Value, b: Value) -> tuple[Value, Value] | None:
    """Two values whose elements all count in steps of one length, if they do as they are."""
    if not (a.plain and b.plain) or any(draft.wide(v.addresses) for v in (a, b)):
        return None
    both = draft.joined([v.reshaped((v.size,)) for v in (a, b)], 0)
    lengths = np.unique(draft.lengths(both.addresses))
    if len({int(n // ROW) for n in lengths if n != ZERO}) > 1:
        return None
    draft.uniform(both)
    return a, b


def _max_of_two(draft: Draft, a: Value, b: Value) -> Value:
    """b + max(a - b, 0)."""
    if not a.parts:
        a, b = b, a
    return rectified(draft, a.plus(b.scaled(np.array(-1.0)))).plus(b)


def maximum(node: Node) -> Value:
    return _extremum(node, Op.MAXIMUM)


def minimum(node: Node) -> Value:
    return _extremum(node, Op.MINIMUM)
