"""Scattering by comparing places: the engine's own holds for indices that differ, and only then.

EZKL shows by a shuffle that the places not written to keep their values, which needs each index to
occur once. With one that occurs twice its prover waits for ever.
"""

from __future__ import annotations

import math
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
    is_float,
    positive_axis,
)
from circuits.rewrite.edit import shape_of as shape

#: Elements that are chosen between at most, over all indices: each is a comparison or a product.
_MOST_CHOICES = 1 << 20
#: What becomes of the old value and the new one where a place is written to.
_REDUCTIONS = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


def _by_places(node: ir.Node, build: Builder) -> ir.Value | None:
    """One step for each index along the axis, so that the last one of equal indices wins."""
    data, where, updates = node.inputs
    assert data is not None
    assert where is not None
    assert updates is not None
    axis = positive_axis(attr(node, "axis", 0), len(shape(data)))
    reduction = attr(node, "reduction", "none")
    given = constant(where)
    if reduction == "none" and given is not None and _differ(given, axis):
        return None
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


def _differ(where: NDArray[Any], axis: int) -> bool:
    """Whether no place is written to twice."""
    along = np.sort(where, axis=axis)
    return not bool(np.any(np.diff(along, axis=axis) == 0))


def _from_the_front(
    where: ir.Value, extents: NDArray[np.int64], kind: type, build: Builder
) -> ir.Value:
    """Indices counted from the front, where some may be counted from the back."""
    negative = build.op("Less", where, build.const(np.zeros(1, dtype=kind)))
    back = build.op("Add", where, build.const(extents.astype(kind)))
    return build.op("Where", negative, back, where)


def _by_rows(node: ir.Node, build: Builder) -> ir.Value | None:
    """ScatterND, whose indices number rows of the data; the last one of equal indices wins.

    Constant indices that differ are left to the engine. Computed ones are compared with each place.
    """
    data, where, updates = node.inputs
    if not all(has_shape(v) for v in node.inputs):
        return None
    assert data is not None
    assert where is not None
    depth = shape(where)[-1]
    extents, rest = shape(data)[:depth], math.prod(shape(data)[depth:])
    count, places = math.prod(shape(where)[:-1]), math.prod(extents)
    strides = ints(math.prod(extents[i + 1 :]) for i in range(depth))
    reduction = attr(node, "reduction", "none")
    new = build.op("Reshape", updates, build.const([count, rest]))
    given = constant(where)
    if given is not None:
        counted = np.where(given < 0, given + ints(extents), given).reshape(count, depth)
        rows = counted @ strides
        if reduction == "none":
            return _last_wins(data, counted, rows, new, build)
        if reduction == "add" and is_float(data):
            return _added(data, rows, places, new, build)
        found = build.const(ints(rows))
    else:
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


def _last_wins(
    data: ir.Value, counted: NDArray[Any], rows: NDArray[Any], new: ir.Value, build: Builder
) -> ir.Value | None:
    """By constant indices, each of them once; None where they differ already."""
    last = [at for at in range(len(rows)) if rows[at] not in rows[at + 1 :]]
    if len(last) == len(rows):
        return None
    kept = build.op("Gather", new, build.const(ints(last)), axis=0)
    kept = build.op("Reshape", kept, build.const([len(last), *shape(data)[counted.shape[1] :]]))
    return build.op("ScatterND", data, build.const(counted[last].astype(np.int64)), kept)


def _added(
    data: ir.Value, rows: NDArray[Any], places: int, new: ir.Value, build: Builder
) -> ir.Value:
    """By constant indices, added: a product with zeros and ones."""
    assert data.dtype is not None
    ones = (np.arange(places)[:, None] == rows).astype(data.dtype.numpy())
    added = build.op("MatMul", build.const(ones), new)
    return build.op("Add", data, build.op("Reshape", added, build.const(shape(data))))


def _slice(value: ir.Value, at: int, axis: int, build: Builder) -> ir.Value:
    ends = (build.const([at]), build.const([at + 1]), build.const([axis]))
    return build.op("Slice", value, *ends)


PLAIN_SCATTER = expanding(
    {"ScatterElements": _by_places, "ScatterND": _by_rows},
    name="plain-scatter",
    version=2,
    purpose="Scattering by indices that are computed, equal or reduced, as comparisons.",
    reference="ONNX operator specification, ScatterElements and ScatterND",
)
