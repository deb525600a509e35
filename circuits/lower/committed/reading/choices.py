"""Comparisons and what is chosen by them: bits, which count in ones and are exact.

Values that are compared stand in one row, so that equal ones have equal integers. An input as it
comes is compared with constants by sums of their own kind (``Kind.DECIDED``), in the steps that
``circuits.lower`` takes from the gaps between data and thresholds: exact at ties. Where it is asked
whether it equals one, it has a form only as part of a curve (``curves``).
"""

from __future__ import annotations

import numpy as np

from circuits.committed.network import (
    ZERO,
    Convolution,
    Floats,
    Integers,
    Kind,
    Op,
    Sum,
    alone,
)
from circuits.lower.committed.reading.axes import total
from circuits.lower.committed.reading.draft import Draft
from circuits.lower.committed.reading.elementwise import by_element, spread
from circuits.lower.committed.reading.flows import single
from circuits.lower.committed.reading.nodes import Node, Refused
from circuits.lower.committed.reading.values import (
    ROW,
    Part,
    Value,
    constant,
    distinct,
    of_addresses,
    raw,
    rows_of,
)
from circuits.lower.levels import NEGATED
from circuits.rewrite.comparisons import MIRRORED

#: Where two sides have this share of elements of their own, their differences are fewer sums.
_MANY = 0.75


# --- comparisons ---------------------------------------------------------------------------------


def compare(node: Node) -> Value:
    if (tested := _tested(node)) is not None:
        return tested
    left, right, op = _sides(node)
    above = op in ("Greater", "LessOrEqual")
    found = by_element(node.draft, Op.ABOVE if above else Op.BELOW, left, right)
    _note(node, found, left, right)
    return found if op in ("Greater", "Less") else _negated(found)


def _tested(node: Node) -> Value | None:
    """Elements of inputs as they come, compared with constants; None where these are no such."""
    draft, op = node.draft, node.proto.op_type
    shape = np.broadcast_shapes(node.value(0).shape, node.value(1).shape)
    value, levels = (spread(draft, node.value(n), shape) for n in (0, 1))
    if not value.parts:
        value, levels, op = levels, value, MIRRORED[op]
    if levels.parts or not value.plain or not np.all(np.isfinite(levels.constant)):
        return None
    rows = np.unique(value.addresses // ROW)
    if rows[0] < 0 or rows[-1] >= len(draft.inputs):
        return None
    found = _bits_of(draft, value.addresses, levels.constant, op in ("GreaterOrEqual", "Less"))
    draft.tested[node.proto.output[0]] = value.addresses
    return _negated(found) if op in NEGATED else found


def _bits_of(draft: Draft, addresses: Integers, levels: Floats, inclusive: bool) -> Value:
    """Whether elements of inputs are beyond constants (``inclusive``: or at them): each comparison
    once."""
    flat = zip(addresses.reshape(-1).tolist(), levels.reshape(-1).tolist(), strict=True)
    keys = [(address, level, inclusive) for address, level in flat]
    new = [key for key in dict.fromkeys(keys) if key not in draft.tests]
    if new:
        view = raw(np.array([key[0] for key in new]).reshape(1, 1, -1))
        ones = np.ones((len(new), 1, 1, 1))
        term = Convolution(view=view, weights=ones, height=alone(1), width=alone(1))
        step = Sum(
            kind=Kind.DECIDED,
            shape=(1, 1, len(new)),
            terms=(term,),
            bias=np.array([-key[1] for key in new]),
            inclusive=inclusive,
        )
        made = draft.row(step, (len(new),)).addresses.tolist()
        draft.tests.update(zip(new, made, strict=True))
    found = np.array([draft.tests[key] for key in keys], dtype=np.int64)
    return of_addresses(found.reshape(addresses.shape))


def equal(node: Node) -> Value:
    a, b = node.value(0), node.value(1)
    for value, other in ((a, b), (b, a)):
        if not other.parts and node.draft.is_truth(value) and np.all(other.constant == 0):
            return _negated(spread(node.draft, value, np.broadcast_shapes(a.shape, b.shape)))
    left, right, _ = _sides(node)
    return _same(node.draft, left, right)


def sign(node: Node) -> Value:
    value = node.value(0)
    left, right = _against(node.draft, value, np.zeros(value.shape))
    above = by_element(node.draft, Op.ABOVE, left, right)
    return above.plus(by_element(node.draft, Op.BELOW, left, right).scaled(np.array(-1.0)))


def _same(draft: Draft, left: Value, right: Value | float) -> Value:
    """One where neither is larger."""
    above, below = (by_element(draft, op, left, right) for op in (Op.ABOVE, Op.BELOW))
    return _negated(above.plus(below))


def _sides(node: Node) -> tuple[Value, Value | float, str]:
    """Two operands as they are compared, and by what operator."""
    draft, op = node.draft, node.proto.op_type
    shape = np.broadcast_shapes(node.value(0).shape, node.value(1).shape)
    a, b = (spread(draft, node.value(n), shape) for n in (0, 1))
    if not a.parts:
        a, b, op = b, a, MIRRORED[op]
    if not b.parts:
        return *_against(draft, a, b.constant), op
    flat = draft.joined([v.reshaped((v.size,)) for v in (a, b)], 0)
    kept, _ = distinct(flat)
    if not (a.plain and b.plain) and len(kept) > 2 * _MANY * a.size:
        return draft.uniform(a.plus(b.scaled(np.array(-1.0)))), 0.0, op
    both = draft.compact(flat)
    left, right = (
        both.moved(lambda x, own=own: x[own].reshape(shape))  # type: ignore[misc]
        for own in (slice(0, a.size), slice(a.size, None))
    )
    return left, right, op


def _against(draft: Draft, value: Value, levels: Floats) -> tuple[Value, float]:
    """A value, or what is left of it, and the number that it is compared with for it to be compared
    with constants."""
    if not value.parts:
        raise Refused("both of its operands are constant")
    draft.compares_inputs |= _as_it_comes(draft, value)
    bare = Value(parts=value.parts, constant=np.zeros(value.shape))
    rest = levels - value.constant
    if bare.plain and np.all(rest == rest.reshape(-1)[:1]):
        level = float(rest.reshape(-1)[0])
        if not draft.counts_in_ones(bare) or level.is_integer():
            return draft.uniform(bare), level
    return draft.compact(value.plus(constant(-levels))), 0.0


def _as_it_comes(draft: Draft, value: Value) -> bool:
    """Whether elements of a value are inputs, moved about and scaled at most."""
    there = [(p.factor != 0) & (p.addresses != ZERO) for p in value.parts]
    alone = np.sum(there, axis=0) == 1
    return any(
        part.function is None and any(_picks(draft, row) for row in rows_of(part.addresses[own]))
        for part, own in zip(value.parts, (alone & t for t in there), strict=True)
    )


def _picks(draft: Draft, row: int) -> bool:
    """Whether a row is an input, or a sum some elements of which are inputs."""
    if row < len(draft.inputs):
        return True
    step = draft.steps[row - len(draft.inputs)]
    if not isinstance(step, Sum) or len(step.terms) != 1 or len(step.convolutions) != 1:
        return False
    (term,) = step.convolutions
    one = np.count_nonzero(term.weights, axis=(1, 2, 3)) == 1
    picked = one & (term.weights.sum(axis=(1, 2, 3)) == 1)
    return bool(np.any(picked)) and any(_picks(draft, n) for n in rows_of(term.view.places))


def _note(node: Node, found: Value, left: Value, right: Value | float) -> None:
    """Which row decides a comparison of a value with a constant."""
    if not isinstance(right, Value) and not node.draft.counts_in_ones(left):
        row = int(found.addresses.reshape(-1)[0] // ROW)
        one_constant = not all(node.value(n).parts for n in (0, 1))
        if one_constant:
            node.draft.decided[node.proto.output[0]] = row


# --- logic ---------------------------------------------------------------------------------------


def _negated(value: Value) -> Value:
    return value.scaled(np.array(-1.0)).plus(constant(np.ones(value.shape)))


def negation(node: Node) -> Value:
    return _negated(node.value(0))


def logic(node: Node) -> Value:
    """And is a · b, Or is a + b - a · b, Xor is a + b - 2 · a · b."""
    a, b = node.value(0), node.value(1)
    shape = np.broadcast_shapes(a.shape, b.shape)
    a, b = (spread(node.draft, v, shape) for v in (a, b))
    if not a.parts:
        a, b = b, a
    if not b.parts:
        both = a.scaled(b.constant)
    else:
        a, b = (single(node.draft, v) for v in (a, b))
        both = node.draft.times(a, b)
    if node.proto.op_type == "And":
        return both
    return a.plus(b).plus(both.scaled(np.array(-1.0 if node.proto.op_type == "Or" else -2.0)))


# --- places --------------------------------------------------------------------------------------


def arg(node: Node) -> Value:
    """The first place of the largest or smallest: how many of the extrema so far are not it."""
    if node.attributes.get("select_last_index", 0):
        raise Refused("it finds the last of equal elements")
    draft, largest = node.draft, node.proto.op_type == "ArgMax"
    value = node.value(0)
    axis = int(node.attributes.get("axis", 0)) % len(value.shape)
    keepdims = node.attributes.get("keepdims", 1)
    last = value.moved(lambda x: np.moveaxis(x, axis, -1))
    count = last.shape[-1]
    if count == 1:
        found = constant(np.zeros(last.shape[:-1]))
    else:
        rows = draft.compact(last)
        so_far = _running(draft, Op.MAXIMUM if largest else Op.MINIMUM, rows)
        before = so_far.moved(lambda x: x[..., :-1])
        best = so_far.moved(lambda x: np.broadcast_to(x[..., -1:], before.shape))
        beyond = by_element(draft, Op.ABOVE if largest else Op.BELOW, best, before)
        found = total(draft, beyond)
        draft.index(found, beyond.addresses.reshape(-1, count - 1), new=True)
    return found.moved(lambda x: np.expand_dims(x, axis)) if keepdims else found


def _running(draft: Draft, op: Op, value: Value) -> Value:
    """The largest or smallest of the last axis up to each element, of steps of one length."""
    count = value.shape[-1]
    if count == 1:
        return value
    first, even, odd = (
        value.moved(lambda x, own=own: x[..., own])  # type: ignore[misc]
        for own in (slice(0, 1), slice(0, count - count % 2, 2), slice(1, None, 2))
    )
    pairs = _running(draft, op, by_element(draft, op, even, odd))
    parts, half = [first, pairs], count // 2
    order = [0, *(1 + n // 2 + (half if n % 2 else 0) for n in range(count - 1))]
    if count > 2:
        more = value.moved(lambda x: x[..., 2::2])
        before = pairs.moved(lambda x: x[..., : more.shape[-1]])
        parts.append(by_element(draft, op, before, more))
    joined = draft.joined(parts, -1)
    return joined.moved(lambda x: x[..., order])


def one_hot(draft: Draft, gap: Value) -> Value:
    """One where a gap between integers is zero, else zero."""
    return _by_index(draft, gap) or _same(draft, draft.compact(gap), 0.0)


def _by_index(draft: Draft, gap: Value) -> Value | None:
    """The same of indices less places, by the bits that the indices were counted from."""
    if len(gap.parts) != 1 or gap.parts[0].function is not None:
        return None
    (part,) = gap.parts
    addresses = part.addresses.reshape(-1).tolist()
    factor = np.broadcast_to(part.factor, gap.shape).reshape(-1)
    if not all(a in draft.beyond for a in addresses) or not np.all(np.abs(factor) == 1):
        return None
    if len({draft.beyond[a].size for a in addresses}) != 1:
        return None
    bits: Integers = np.stack([draft.beyond[a] for a in addresses])
    places = np.rint(-gap.constant.reshape(-1) * factor).astype(np.int64)
    last, rows = bits.shape[1], np.arange(len(bits))

    def at(number: Integers) -> Part:
        inside = (number >= 0) & (number < last)
        own = np.where(inside, bits[rows, np.clip(number, 0, last - 1)], ZERO)
        return Part(addresses=own.reshape(gap.shape), factor=np.ones(gap.shape))

    above, below = at(places - 1), at(places)
    less = Part(addresses=below.addresses, factor=-below.factor)
    first = np.where(places == 0, 1.0, 0.0).reshape(gap.shape)
    return Value(parts=(above, less), constant=first)


def choose(node: Node) -> Value:
    """b + c · (a - b), of a computed condition."""
    condition, a, b = (node.value(n) for n in range(3))
    shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
    condition, a, b = (spread(node.draft, v, shape) for v in (condition, a, b))
    rest = a.plus(b.scaled(np.array(-1.0)))
    if not rest.parts:
        return condition.scaled(rest.constant).plus(b)
    return node.draft.times(condition, rest).plus(b)
