"""Operators along axes: pools, sums, largest elements."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import (
    ZERO,
    Convolution,
    Floats,
    Integers,
    Kind,
    Local,
    Op,
    Product,
    Sum,
    alone,
)
from circuits.lower.committed.reading.draft import Draft
from circuits.lower.committed.reading.elementwise import by_element
from circuits.lower.committed.reading.nodes import Node, Refused, as_onnx, both_axes, image_of
from circuits.lower.committed.reading.values import Value, channelwise, constant, of_addresses, raw


def greatest(draft: Draft, value: Value, op: Op = Op.MAXIMUM) -> Value:
    """The largest elements of the last axis, or the smallest, whose steps are of one length: a
    tree."""
    while (count := value.shape[-1]) > 1:
        half = count // 2
        a = value.moved(lambda x, half=half: x[..., :half])  # type: ignore[misc]
        b = value.moved(lambda x, half=half: x[..., half : 2 * half])  # type: ignore[misc]
        found = by_element(draft, op, a, b)
        if count % 2:
            found = draft.joined([found, value.moved(lambda x: x[..., -1:])], -1)
        value = found
    return value.moved(lambda x: x[..., 0])


def rows_alike(draft: Draft, value: Value) -> Value:
    """A plain value, along the last axis in steps of one length."""
    materialized = draft.materialize(value)
    lengths = draft.lengths(materialized.addresses)
    if channelwise(np.moveaxis(lengths, -1, 0).reshape(lengths.shape[-1], 1, -1)):
        return materialized
    return draft.uniform(materialized)


def _windows(node: Node, value: Value) -> Value:
    """What each output of a pool reads, in the last axis: ``[height, width, channels, taps]``."""
    attributes = node.attributes
    taps = both_axes(attributes["kernel_shape"], 1)
    down, across = both_axes(attributes.get("strides", [1]), 1)
    whole = not any(attributes.get("pads", ())) and not attributes.get("ceil_mode", 0)
    if not whole or any(d != 1 for d in attributes.get("dilations", ())):
        raise Refused("only whole windows of neighbours are pooled")

    def windows(a: NDArray[np.float64]) -> NDArray[np.float64]:
        every = np.lib.stride_tricks.sliding_window_view(a, (taps[0], taps[1]), axis=(0, 1))
        found = every[::down, ::across]
        return found.reshape(*found.shape[:3], -1)

    return node.draft.moved(image_of(value), windows)


def max_pool(node: Node) -> Value:
    found = _windows(node, node.draft.materialize(node.value(0)))
    spatial = len(node.attributes["kernel_shape"])
    return as_onnx(greatest(node.draft, rows_alike(node.draft, found)), spatial)


def average_pool(node: Node) -> Value:
    found = _windows(node, node.value(0))
    mean = total(node.draft, found).scaled(np.array(1.0 / found.shape[-1]))
    return as_onnx(mean, len(node.attributes["kernel_shape"]))


def total(draft: Draft, value: Value) -> Value:
    """Sums over the last axis."""
    if value.shape[-1] == 1:
        return value.moved(lambda x: x[..., 0])
    if value.parts and draft.counts_in_ones(value):
        return _counted(draft, value)
    part = value.parts[0]
    if any(np.any(p.factor != p.factor[..., :1]) for p in value.parts) and (
        found := _weighted(draft, value)
    ):
        return found
    if (
        len(value.parts) == 1
        and part.function is None
        and np.all(part.factor == part.factor[..., :1])
        and not draft.wide(part.addresses)
    ):
        rows = rows_alike(draft, of_addresses(part.addresses))
        step = Local(op=Op.TOTAL, left=raw(rows.addresses))
        total = draft.row(step, value.shape[:-1]).scaled(part.factor[..., 0])
        return total.plus(constant(value.constant.sum(axis=-1)))
    rows = rows_alike(draft, value)
    return draft.row(Local(op=Op.TOTAL, left=raw(rows.addresses)), value.shape[:-1])


def _weighted(draft: Draft, value: Value) -> Value | None:
    """The same where factors differ: what is picked by them, or one product with a matrix; None
    where its rows are of different elements."""
    count, size = value.shape[-1], math.prod(value.shape[:-1])
    flat, added = value.reshaped((size, count)), value.constant.sum(axis=-1)
    if any(p.function is not None for p in flat.parts):
        return None
    read = np.any([p.factor != 0 for p in flat.parts], axis=0)
    if np.all(read.sum(axis=-1) <= 1) and size > 1:
        rows, places = np.arange(size), read.argmax(axis=-1)
        bare = Value(parts=flat.parts, constant=np.zeros(flat.shape))
        picked = bare.moved(lambda x: x[rows, places]).reshaped(value.shape[:-1])
        return picked.plus(constant(added))
    if not all(np.all(p.addresses == p.addresses[:1]) for p in flat.parts):
        return None
    terms = tuple(
        Convolution(
            view=raw(p.addresses[:1].reshape(1, 1, count)),
            weights=np.broadcast_to(p.factor, flat.shape).reshape(size, count, 1, 1),
            height=alone(1),
            width=alone(1),
        )
        for p in flat.parts
    )
    step = Sum(kind=Kind.SIGNED, shape=(1, 1, size), terms=terms, bias=added.reshape(-1))
    return draft.row(step, value.shape[:-1])


def _counted(draft: Draft, value: Value) -> Value:
    """The same of what counts in ones: as exact as that. What is counted several times is read
    once, times a number; an index counted from its own row of a single one is that index again."""
    count, size = value.shape[-1], math.prod(value.shape[:-1])
    flat = value.reshaped((size, count))
    rows = [_gathered(flat, row) for row in range(size)]
    if len({weights.tobytes() for _, weights in rows}) > 1:
        flat = draft.materialize(flat)
        rows = [(addresses, np.ones(count)) for addresses in flat.addresses]
    addresses, weights = np.stack([own for own, _ in rows]), rows[0][1]
    term = Convolution(
        view=raw(addresses.reshape(size, 1, -1)),
        weights=weights.reshape(1, -1, 1, 1),
        height=alone(size),
        width=alone(1),
    )
    bias = flat.constant.sum(axis=-1).reshape(size, 1, 1)
    step = Sum(
        kind=Kind.SIGNED,
        shape=(size, 1, 1),
        terms=(term,),
        bias=bias[0, 0] if np.all(bias == bias[0]) else bias,
    )
    found = draft.row(step, value.shape[:-1])
    if np.all(weights == 1) and not np.any(bias):
        draft.index(found, addresses)
    return found


def _gathered(flat: Value, row: int) -> tuple[Integers, Floats]:
    """The elements that a row of a value adds up, and how often each."""
    addresses = np.concatenate([part.addresses[row] for part in flat.parts])
    factors = np.concatenate([np.broadcast_to(p.factor, flat.shape)[row] for p in flat.parts])
    distinct, place = np.unique(addresses, return_inverse=True)
    weights = np.bincount(place, weights=factors)
    kept = (distinct != ZERO) & (weights != 0)
    if not np.any(kept):
        kept[:1] = True
    return distinct[kept], weights[kept]


def _reduced(node: Node) -> tuple[Value, Callable[[Value], Value]]:
    """The value with the axes that are reduced as its last one, and what gives the result its
    shape."""
    value = node.value(0)
    axes = node.integers(1) if node.has(1) else list(node.attributes.get("axes", []))
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        raise Refused("it reduces nothing")
    rank = len(value.shape)
    if node.proto.op_type.startswith("Global"):
        axes = [*range(2, rank)]
    gone = sorted(int(a) % rank for a in axes) or list(range(rank))
    kept = [a for a in range(rank) if a not in gone]
    keepdims = node.attributes.get("keepdims", 1)
    shape = tuple(1 if a in gone else value.shape[a] for a in range(rank) if keepdims or a in kept)
    size = tuple(value.shape[a] for a in kept)
    moved = node.draft.moved(value, lambda x: x.transpose(*kept, *gone).reshape(*size, -1))
    return moved, lambda v: v.reshaped(shape)


def reduce_sum(node: Node) -> Value:
    value, back = _reduced(node)
    return back(total(node.draft, value))


def reduce_mean(node: Node) -> Value:
    value, back = _reduced(node)
    return back(total(node.draft, value).scaled(np.array(1 / value.shape[-1])))


def reduce_max(node: Node) -> Value:
    value, back = _reduced(node)
    return back(greatest(node.draft, rows_alike(node.draft, value)))


def reduce_min(node: Node) -> Value:
    value, back = _reduced(node)
    return back(greatest(node.draft, rows_alike(node.draft, value), Op.MINIMUM))


def reduce_squares(node: Node) -> Value:
    """Σ (f · x + c)², a distance where c is a point's. With y = f · x + m, and m the mean of all c,
    the sums of one x are Σ y² + 2 · Σ (c - m) · y + Σ (c - m)²: the squares are few and small, and
    what they are off by is the same for all."""
    draft = node.draft
    value, back = _reduced(node)
    count, size = value.shape[-1], math.prod(value.shape[:-1])
    (part, *others) = value.parts
    addresses = part.addresses.reshape(size, count)
    factor, added = (
        np.broadcast_to(n, value.shape).reshape(size, count) for n in (part.factor, value.constant)
    )
    alike = np.all(addresses == addresses[:1]) and np.all(factor == factor[:1])
    if others or part.function is not None or not alike:
        found = total(draft, draft.times(value, value))
    else:
        x, middle = of_addresses(addresses[:1]), added.mean(axis=0)
        apart = added - middle
        y = draft.uniform(x.scaled(factor[:1]).plus(constant(middle[None])))
        row, column = (raw(y.addresses.reshape(shape)) for shape in ((1, 1, -1), (1, -1, 1)))
        square = Product(left=row, right=column, factor=1.0)
        length = draft.row(
            Sum(kind=Kind.SIGNED, shape=(1, 1, 1), terms=(square,), bias=np.zeros(1)), (1, 1, 1)
        )
        terms = tuple(
            Convolution(
                view=raw(own.addresses.reshape(1, 1, -1)),
                weights=weights.reshape(size, -1, 1, 1),
                height=alone(1),
                width=alone(1),
            )
            for own, weights in ((length, np.ones(size)), (x, 2 * factor * apart))
        )
        bias = (apart**2 + 2 * apart * middle).sum(axis=1)
        step = Sum(kind=Kind.SIGNED, shape=(1, 1, size), terms=terms, bias=bias)
        found = draft.row(step, value.shape[:-1])
    if node.proto.op_type == "ReduceL2":
        found = draft.apply(found, lambda x: np.sqrt(np.maximum(x, 0)))
    return back(found)


def reduce_l1(node: Node) -> Value:
    value, back = _reduced(node)
    return back(total(node.draft, node.draft.apply(value, np.abs)))
