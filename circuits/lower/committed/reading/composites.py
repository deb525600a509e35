"""Operators made of several: choices, softmax, normalisations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import Op
from circuits.lower.committed.reading.axes import greatest, total
from circuits.lower.committed.reading.choices import choose
from circuits.lower.committed.reading.draft import Draft
from circuits.lower.committed.reading.elementwise import by_element, spread
from circuits.lower.committed.reading.functions import power
from circuits.lower.committed.reading.nodes import Node, Refused
from circuits.lower.committed.reading.values import Value, constant, distinct

Move = Callable[[Value], Value]

#: A softmax gives nothing to what lies so far below.
MASKED = -1e4


def where(node: Node) -> Value:
    """A choice. What a softmax masks, where it is constant, stays where it is, far below."""
    if node.value(0).parts:
        return choose(node)
    chosen, a, b = node.constant(0) != 0, node.value(1), node.value(2)
    shape = np.broadcast_shapes(chosen.shape, a.shape, b.shape)
    chosen = np.broadcast_to(chosen, shape)
    own = [spread(node.draft, v, shape) for v in (a, b)]
    for value, other, mine in ((own[0], own[1], chosen), (own[1], own[0], ~chosen)):
        if not other.parts and np.all(mine | (other.constant < MASKED)):
            return Value(parts=value.parts, constant=np.where(mine, value.constant, other.constant))
    first, second = (
        node.draft.moved(value, lambda x, mine=mine: np.where(mine, x, 0))  # type: ignore[misc]
        for value, mine in ((own[0], chosen), (own[1], ~chosen))
    )
    return first.plus(second)


def softmax(node: Node) -> Value:
    """exp(x - max x) over its sum; of what occurs several times in a row, as what is masked does,
    once."""
    draft, axis = node.draft, int(node.attributes.get("axis", -1))
    value = node.value(0).moved(lambda x: np.moveaxis(x, axis, -1))
    allowed = value.constant > MASKED
    if not np.all(allowed.any(axis=-1)):
        raise Refused("nothing is left of a row")
    own = Value(parts=value.parts, constant=np.where(allowed, value.constant, 0.0))
    once, back = _once(own, allowed)
    compact = draft.compact(own)
    # What is masked stands for the first that is not, and has no part in the sum.
    order = np.where(allowed, np.arange(value.shape[-1]), allowed.argmax(axis=-1)[..., None])
    top = greatest(draft, compact.moved(lambda x: np.take_along_axis(x, order, -1)))

    def spread(v: Value) -> Value:
        return once(v.moved(lambda x: np.broadcast_to(x[..., None], value.shape)))

    below = by_element(draft, Op.RECTIFY, spread(top), once(compact))
    exps = draft.apply(below, lambda x: np.exp(-x), added=value.shape[-1])
    exps = draft.materialize(exps)
    # What is added up has e^0 in it.
    share = draft.apply(total(draft, back(exps)), lambda x: 1 / np.maximum(x, 1.0))
    share = draft.materialize(share)
    found = back(draft.times(exps, spread(share)))
    return found.moved(lambda x: np.moveaxis(x, -1, axis))


def _once(value: Value, allowed: NDArray[np.bool_]) -> tuple[Move, Move]:
    """What takes of every row the different elements that are ``allowed``, and what puts these back
    to their places, and zeros to the others. Both do nothing where all are."""
    size, count = value.size, value.shape[-1]
    _, elements = distinct(value.reshaped((size,)))
    pairs = elements + size * (np.arange(size) // count)
    _, first, place = np.unique(pairs[allowed.reshape(-1)], return_index=True, return_inverse=True)
    if len(first) == size:
        return lambda v: v, lambda v: v
    taken = np.flatnonzero(allowed)[first]
    places = np.full(value.shape, -1)
    places[allowed] = place
    return (
        lambda v: v.moved(lambda x: x.reshape(-1)[taken]),
        lambda v: v.moved(lambda x: np.where(places < 0, 0, x[places])),
    )


def log_softmax(node: Node) -> Value:
    """x - max x - log Σ exp(x - max x)."""
    draft, axis = node.draft, int(node.attributes.get("axis", -1))
    uniform = draft.uniform(node.value(0).moved(lambda x: np.moveaxis(x, axis, -1)))
    top = greatest(draft, uniform).moved(lambda x: np.broadcast_to(x[..., None], uniform.shape))
    below = by_element(draft, Op.RECTIFY, top, uniform)
    exps = draft.materialize(draft.apply(below, lambda x: np.exp(-x)))
    logs = draft.materialize(draft.apply(total(draft, exps), np.log))
    logs = logs.moved(lambda x: np.broadcast_to(x[..., None], uniform.shape))
    found = below.plus(logs).scaled(np.array(-1.0))
    return found.moved(lambda x: np.moveaxis(x, -1, axis))


def _normalised(draft: Draft, value: Value, epsilon: float) -> Value:
    """A value less its mean, over its deviation, along the last axis."""
    count = value.shape[-1]

    def spread(v: Value) -> Value:
        return v.moved(lambda x: np.broadcast_to(x[..., None], value.shape))

    mean = total(draft, value).scaled(np.array(-1 / count))
    centred = draft.uniform(value.plus(spread(mean)))
    squares = total(draft, draft.times(centred, centred)).scaled(np.array(1 / count))
    below = draft.apply(squares.plus(constant(np.full(squares.shape, epsilon))), power(-0.5))
    return draft.times(centred, spread(draft.materialize(below)))


def instance_norm(node: Node) -> Value:
    value, scale, bias = node.value(0), node.constant(1), node.constant(2)
    flat = value.moved(lambda x: x.reshape(*x.shape[:2], -1))
    found = _normalised(node.draft, flat, float(node.attributes.get("epsilon", 1e-5)))
    found = found.scaled(scale[None, :, None])
    return found.plus(constant(np.broadcast_to(bias[None, :, None], found.shape))).reshaped(
        value.shape
    )


def layer_norm(node: Node) -> Value:
    value, scale = node.value(0), node.constant(1)
    axis = int(node.attributes.get("axis", -1)) % len(value.shape)
    flat = value.moved(lambda x: x.reshape(*x.shape[:axis], -1))
    found = _normalised(node.draft, flat, float(node.attributes.get("epsilon", 1e-5)))
    found = found.reshaped(value.shape).scaled(scale)
    if node.has(2):
        found = found.plus(constant(np.broadcast_to(node.constant(2), value.shape)))
    return found
