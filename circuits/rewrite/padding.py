"""Padding with anything but zeros, as selections and constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import (
    Builder,
    attr,
    constant,
    expanding,
    input_at,
    ints,
    positive_axis,
    shape_of,
)


def padded_indices(extent: int, before: int, after: int, mode: str) -> NDArray[np.int64]:
    """Which element of an axis stands at each place of the padded axis."""
    places = np.arange(-before, extent + after)
    if mode == "edge":
        return np.clip(places, 0, extent - 1)
    if mode == "wrap":
        return places % extent
    period = max(2 * (extent - 1), 1)
    folded = places % period
    return np.where(folded < extent, folded, period - folded)


def _pad(node: ir.Node, build: Builder) -> ir.Value | None:
    data = node.inputs[0]
    pads = constant(input_at(node, 1))
    assert data is not None
    if pads is None or (input_at(node, 2) is not None and constant(input_at(node, 2)) is None):
        return None
    rank = len(shape_of(data))
    axes = constant(input_at(node, 3))
    names = [positive_axis(int(a), rank) for a in axes] if axes is not None else range(rank)
    half = len(pads) // 2
    extents = {axis: (int(pads[i]), int(pads[half + i])) for i, axis in enumerate(names)}
    mode = attr(node, "mode", "constant")
    fill = constant(input_at(node, 2))
    zero = fill is None or not np.any(fill)
    plain = mode == "constant" and zero and axes is None
    if plain and all(b >= 0 and a >= 0 for b, a in extents.values()):
        return None
    value = data
    for axis, (before, after) in extents.items():
        value = _crop(value, axis, before, after, shape_of(data)[axis], build)
    kept = {axis: (max(b, 0), max(a, 0)) for axis, (b, a) in extents.items()}
    shape = [
        d + sum(min(p, 0) for p in extents.get(axis, (0, 0)))
        for axis, d in enumerate(shape_of(data))
    ]
    number = np.zeros(1) if fill is None else fill
    for axis, (before, after) in kept.items():
        if before == after == 0:
            continue
        if mode == "constant":
            value = _surround(value, axis, before, after, shape, number, data, build)
        else:
            where = build.const(padded_indices(shape[axis], before, after, mode))
            value = build.op("Gather", value, where, axis=axis)
        shape[axis] += before + after
    return value


def _crop(
    value: ir.Value, axis: int, before: int, after: int, extent: int, build: Builder
) -> ir.Value:
    """Negative padding takes elements away."""
    if before >= 0 and after >= 0:
        return value
    start, stop = max(-before, 0), extent - max(-after, 0)
    bounds = [build.const(ints([v])) for v in (start, stop, axis)]
    return build.op("Slice", value, *bounds)


def _surround(
    value: ir.Value,
    axis: int,
    before: int,
    after: int,
    shape: Sequence[int],
    fill: NDArray[np.generic],
    like: ir.Value,
    build: Builder,
) -> ir.Value:
    assert like.dtype is not None
    parts: list[ir.Value] = [value]
    for count, at_front in ((before, True), (after, False)):
        if count:
            block = np.full(
                [*shape[:axis], count, *shape[axis + 1 :]],
                fill.reshape(-1)[0],
                dtype=like.dtype.numpy(),
            )
            parts.insert(0 if at_front else len(parts), build.const(block))
    return build.op("Concat", *parts, axis=axis)


EXPLICIT_PADDING = expanding(
    {"Pad": _pad},
    name="explicit-padding",
    version=1,
    purpose="Reflect, edge, wrap padding as Gather, constants as Concat, negative as Slice.",
    reference="ONNX operator specification, Pad; EZKL pads with zeros only",
)
