"""Operators that move elements about: they change a view and emit nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.emit import shape_of
from circuits.lower.linear import store
from circuits.lower.lowering import Lowering, refuse
from circuits.lower.moving import mover
from circuits.lower.quantity import ZERO, QuantizedValue, fresh
from circuits.rewrite.edit import constant


def move(low: Lowering, node: ir.Node) -> None:
    """Moves the places of the first operand as ONNX's reference implementation moves elements."""
    q = low.quantity(node.inputs[0])
    moved = mover(ir.to_proto(node), [_places(node, value) for value in node.inputs[1:]])
    outcomes = [view - 1 for view in moved(q.view + 1)]  # a zero of its own is at none
    spread = moved(q.steps()) if q.step.size > 1 else [q.step] * len(outcomes)
    for output, view, step in zip(node.outputs, outcomes, spread, strict=True):
        assert output.name is not None
        # Padding puts a zero: any step does for it.
        safe = np.where(view == ZERO, 1.0, step) if step.size > 1 else step
        low.known[output.name] = q.moved(view.astype(np.int64), np.asarray(safe, dtype=np.float64))


def _places(node: ir.Node, value: ir.Value | None) -> NDArray[np.generic] | None:
    known = constant(value)
    if value is not None and known is None:
        raise refuse(node, "places that depend on the input")
    return known


def concat(low: Lowering, node: ir.Node) -> None:
    """Joins tensors end to end, once; the parts keep their own steps."""
    axis = node.attributes["axis"].as_int()
    values = [v for v in node.inputs if v is not None]
    finest = min(float(np.abs(low.quantity(v).step).min()) for v in values if low.is_known(v))
    parts = [
        low.quantity(v) if low.is_known(v) else _constant_part(low, node, v, finest) for v in values
    ]
    store(low, node, joined(low, parts, axis))


def joined(low: Lowering, parts: Sequence[QuantizedValue], axis: int) -> QuantizedValue:
    """Values end to end along an axis, in one tensor."""
    flats, views, offset = [], [], 0
    for q in parts:
        size = int(np.prod(shape_of(q.tensor)))
        flats.append(low.emit.reshape(q.tensor, [1, size]))
        views.append(np.where(q.view == ZERO, ZERO, q.view + offset))
        offset += size
    tensor = low.emit.op("Concat", flats, [1, offset], axis=1)
    steps = np.concatenate([q.steps() for q in parts], axis=axis)
    first = steps.reshape(-1)[0]
    step = np.array(first) if bool(np.all(steps == first)) else steps
    return QuantizedValue(tensor, np.concatenate(views, axis=axis), step)


def _constant_part(low: Lowering, node: ir.Node, value: ir.Value, step: float) -> QuantizedValue:
    """A constant, rounded to ``step``."""
    known = low.constant(node, value)
    return fresh(low.emit.whole(np.round(known / step)), step)
