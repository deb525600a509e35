"""Padding with anything but zeros, as selections and constants."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import (
    Builder,
    attr,
    constant,
    expanding,
    input_at,
    positive_axis,
    shape_of,
)


def _places(extent: int, before: int, after: int, mode: str) -> NDArray[np.int64]:
    """Which element of an axis stands at each place of the padded axis; ``extent`` where it is a
    constant. Negative padding takes elements away."""
    kept = np.arange(max(-before, 0), extent - max(-after, 0))
    places, count = np.arange(-max(before, 0), len(kept) + max(after, 0)), len(kept)
    if mode == "constant":
        inside = (places >= 0) & (places < count)
        return np.where(inside, places + max(-before, 0), extent)
    if mode == "edge":
        return kept[np.clip(places, 0, count - 1)]
    if mode == "wrap":
        return kept[places % count]
    period = max(2 * (count - 1), 1)
    folded = places % period
    return kept[np.where(folded < count, folded, period - folded)]


def _pad(node: ir.Node, build: Builder) -> ir.Value | None:
    value, given = node.inputs[0], constant(input_at(node, 1))
    fill, axes = constant(input_at(node, 2)), constant(input_at(node, 3))
    assert value is not None
    assert value.dtype is not None
    if given is None or (input_at(node, 2) is not None and fill is None):
        return None
    shape, kind = list(shape_of(value)), value.dtype.numpy()
    names = range(len(shape)) if axes is None else axes.tolist()
    mode = attr(node, "mode", "constant")
    zero = fill is None or not np.any(fill)
    if mode == "constant" and zero and axes is None and np.all(given >= 0):
        return None
    number = 0 if fill is None else fill.reshape(-1)[0]
    for name, (before, after) in zip(names, given.reshape(2, -1).T.tolist(), strict=True):
        axis = positive_axis(name, len(shape))
        places = _places(shape[axis], before, after, mode)
        if np.any(places == shape[axis]):
            border = np.full([*shape[:axis], 1, *shape[axis + 1 :]], number, dtype=kind)
            value = build.op("Concat", value, build.const(border), axis=axis)
        if not np.array_equal(places, np.arange(shape[axis])):
            value = build.op("Gather", value, build.const(places), axis=axis)
        shape[axis] = len(places)
    return value


DECOMPOSE_PADDING = expanding(
    {"Pad": _pad},
    name="decompose-padding",
    version=2,
    purpose="Expresses reflect, edge, wrap, negative and constant padding as Gather.",
    reference="ONNX operator specification, Pad; EZKL pads with zeros only",
)
