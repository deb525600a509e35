"""Scattering without the engine's own, which holds for indices that differ, and only then.

EZKL shows by a shuffle that the places not written to keep their values, which needs each index to
occur once. With one that occurs twice its prover waits for ever. Constant indices say which element
stands where; computed ones are compared with every place.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import (
    Builder,
    attr,
    constant,
    expanding,
    has_shape,
    ints,
    positive_axis,
)
from circuits.rewrite.edit import shape_of as shape

#: Elements that are chosen between at most, over all indices: each is a comparison or a product.
_MOST_CHOICES = 1 << 20
#: What becomes of the old value and the new one where a place is written to.
_REDUCTIONS = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


def _scatter(computed: Callable[[ir.Node, Builder], ir.Value | None]) -> Any:
    def expansion(node: ir.Node, build: Builder) -> ir.Value | None:
        if not all(has_shape(v) for v in node.inputs):
            return None
        given = constant(node.inputs[1])
        return computed(node, build) if given is None else _by_constants(node, given, build)

    return expansion


def _by_constants(node: ir.Node, given: NDArray[Any], build: Builder) -> ir.Value:
    """By constant indices: the old elements and the new ones, behind one another, in their order.
    Where places are written to several times and reduced, so often."""
    data, _, updates = node.inputs
    assert data is not None
    size, places = math.prod(shape(data)), _places(node, given, shape(data))
    reduction = attr(node, "reduction", "none")
    seen: Counter[int] = Counter()
    turns: dict[int, list[int]] = {}
    for at in reversed(range(len(places))):  # the last one of equal indices wins
        turns.setdefault(seen[places[at]], []).append(at)
        seen[places[at]] += 1
    result = build.op("Reshape", data, build.const([1, size]))
    new = build.op("Reshape", updates, build.const([1, len(places)]))
    for turn in [*turns.values()][: 1 if reduction == "none" else None]:
        written = ints(places[at] for at in turn)
        picked = build.op("Gather", new, build.const(ints(turn)), axis=1)
        if reduction != "none":
            old = build.op("Gather", result, build.const(written), axis=1)
            picked = build.op(_REDUCTIONS[reduction], old, picked)
        order = np.arange(size)
        order[written] = size + np.arange(len(turn))
        both = build.op("Concat", result, picked, axis=1)
        result = build.op("Gather", both, build.const(order), axis=1)
    return build.op("Reshape", result, build.const(shape(data)))


def _places(node: ir.Node, given: NDArray[Any], extents: tuple[int, ...]) -> list[int]:
    """Where in the flat data each of the new elements goes."""
    index = [*np.moveaxis(given, -1, 0)]
    if node.op_type == "ScatterElements":
        index = [*np.indices(given.shape)]
        index[positive_axis(attr(node, "axis", 0), len(extents))] = given
    found: list[int] = np.arange(math.prod(extents)).reshape(extents)[tuple(index)].ravel().tolist()
    return found


def _by_places(node: ir.Node, build: Builder) -> ir.Value | None:
    """One step for each index along the axis, so that the last one of equal indices wins."""
    data, where, updates = node.inputs
    assert data is not None
    assert where is not None
    assert updates is not None
    axis = positive_axis(attr(node, "axis", 0), len(shape(data)))
    reduction = attr(node, "reduction", "none")
    extents = list(shape(data))
    count, extents[axis] = shape(where)[axis], shape(where)[axis]
    if list(shape(where)) != extents:  # a part of the other axes: left for the engine to refuse
        return None
    extent = shape(data)[axis]
    places = ints(range(extent)).reshape([-1 if d == axis else 1 for d in range(len(extents))])
    kind = np.int32 if where.dtype == ir.DataType.INT32 else np.int64
    counted = _from_the_front(where, ints([extent]), kind, build)
    result: ir.Value = data
    for at in range(count):
        here = build.op("Equal", _slice(counted, at, axis, build), build.const(places.astype(kind)))
        new = _slice(updates, at, axis, build)
        if reduction != "none":
            new = build.op(_REDUCTIONS[reduction], result, new)
        result = build.op("Where", here, new, result)
    return result


def _from_the_front(
    where: ir.Value, extents: NDArray[np.int64], kind: type, build: Builder
) -> ir.Value:
    """Indices counted from the front, where some may be counted from the back."""
    negative = build.op("Less", where, build.const(np.zeros(1, dtype=kind)))
    back = build.op("Add", where, build.const(extents.astype(kind)))
    return build.op("Where", negative, back, where)


def _by_rows(node: ir.Node, build: Builder) -> ir.Value | None:
    """ScatterND, whose indices number rows of the data; the last one of equal indices wins."""
    data, where, updates = node.inputs
    assert data is not None
    assert where is not None
    depth = shape(where)[-1]
    extents, rest = shape(data)[:depth], math.prod(shape(data)[depth:])
    count, places = math.prod(shape(where)[:-1]), math.prod(extents)
    strides = ints(math.prod(extents[i + 1 :]) for i in range(depth))
    reduction = attr(node, "reduction", "none")
    new = build.op("Reshape", updates, build.const([count, rest]))
    each = build.op("Reshape", where, build.const([count, depth]))
    front = _from_the_front(each, ints(extents), np.int64, build)
    flat = build.op("Mul", front, build.const(strides))
    found = build.op("ReduceSum", flat, build.const([1]), keepdims=0)
    if count * places * rest > _MOST_CHOICES:
        return None
    result = build.op("Reshape", data, build.const([places, rest]))
    numbers = build.const(ints(range(places)).reshape(places, 1))
    for at in range(count):
        here = build.op("Equal", _slice(found, at, 0, build), numbers)
        row = _slice(new, at, 0, build)
        if reduction != "none":
            row = build.op(_REDUCTIONS[reduction], result, row)
        result = build.op("Where", here, row, result)
    return build.op("Reshape", result, build.const(shape(data)))


def _slice(value: ir.Value, at: int, axis: int, build: Builder) -> ir.Value:
    ends = (build.const([at]), build.const([at + 1]), build.const([axis]))
    return build.op("Slice", value, *ends)


DECOMPOSE_SCATTER = expanding(
    {"ScatterElements": _scatter(_by_places), "ScatterND": _scatter(_by_rows)},
    name="decompose-scatter",
    version=3,
    purpose="Expresses scatters at constant indices as Concat and Gather, at computed ones as"
    " comparisons.",
    reference="ONNX operator specification, ScatterElements and ScatterND",
)
