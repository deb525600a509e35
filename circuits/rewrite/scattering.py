"""Scattering by comparing places: the engine's own holds for indices that differ, and only then.

EZKL shows by a shuffle that the places not written to keep their values, which needs each index to
occur once. With one that occurs twice its prover waits for ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import Builder, Pass, attr, constant, expand, ints, positive_axis
from circuits.rewrite.edit import shape_of as shape

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
    counted = _from_the_front(where, extent, kind, build)
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


def _from_the_front(where: ir.Value, extent: int, kind: type, build: Builder) -> ir.Value:
    """Indices counted from the front, where some may be counted from the back."""
    negative = build.op("Less", where, build.const(np.zeros(1, dtype=kind)))
    back = build.op("Add", where, build.const(np.full(1, extent, dtype=kind)))
    return build.op("Where", negative, back, where)


def _slice(value: ir.Value, at: int, axis: int, build: Builder) -> ir.Value:
    ends = (build.const([at]), build.const([at + 1]), build.const([axis]))
    return build.op("Slice", value, *ends)


def _run(model: ir.Model) -> None:
    expand(model, {"ScatterElements": _by_places})


PLAIN_SCATTER = Pass(
    name="plain-scatter",
    version=1,
    purpose="ScatterElements by indices that are computed, equal or reduced as comparisons.",
    reference="ONNX operator specification, ScatterElements",
    run=_run,
    touches=frozenset(("ScatterElements",)),
)
