"""Operators that move elements about: they change a view and emit nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from circuits.lower.elementwise import look_up
from circuits.lower.emit import shape_of
from circuits.lower.linear import store
from circuits.lower.lowering import Lowering, refuse
from circuits.lower.quantity import ZERO, QuantizedValue, fresh
from circuits.rewrite.edit import constant

MOVES = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Pad",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)


def move(low: Lowering, node: ir.Node) -> None:
    """Moves the places of the first operand as ONNX's reference implementation moves elements."""
    if node.op_type == "Gather" and not low.is_known(node.inputs[0]):
        table = low.constant(node, node.inputs[0])
        store(low, node, look_up(low, table, low.quantity(node.inputs[1])))
        return
    q = low.quantity(node.inputs[0])
    outcomes = _moved(node, q.view)
    spread = _moved(node, q.steps()) if q.step.size > 1 else [q.step] * len(outcomes)
    for output, view, step in zip(node.outputs, outcomes, spread, strict=True):
        assert output.name is not None
        # Padding puts a zero: any step does for it.
        safe = np.where(view == ZERO, 1.0, step) if step.size > 1 else step
        low.known[output.name] = q.moved(view.astype(np.int64), np.asarray(safe, dtype=np.float64))


def _moved(node: ir.Node, array: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    names = ["x"]
    constants = []
    for position, value in enumerate(node.inputs[1:], start=1):
        if value is None or (node.op_type == "Pad" and position == 2):
            names.append("")
            continue
        known = constant(value)
        if known is None:
            raise refuse(node, "places that depend on the input")
        names.append(f"c{position}")
        constants.append(numpy_helper.from_array(np.asarray(known), f"c{position}"))
    if node.op_type == "Pad":
        _check_pad(node)
        names[2:3] = ["fill"]
        fill = np.array(ZERO, dtype=array.dtype)
        constants.append(numpy_helper.from_array(fill, "fill"))
    attributes = {a.name: a.value for a in node.attributes.values()}
    outputs = [f"y{i}" for i in range(len(node.outputs))]
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    graph = helper.make_graph(
        [helper.make_node(node.op_type, names, outputs, **attributes)],
        "move",
        [helper.make_tensor_value_info("x", kind, array.shape)],
        [helper.make_tensor_value_info(o, kind, None) for o in outputs],
        constants,
    )
    version = node.graph.opset_imports.get("", 17) if node.graph is not None else 17
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    results = ReferenceEvaluator(onnx.ModelProto.FromString(model.SerializeToString())).run(
        None, {"x": np.ascontiguousarray(array)}
    )
    assert isinstance(results, list)
    return [np.asarray(r) for r in results]


def _check_pad(node: ir.Node) -> None:
    fill = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if fill is not None and np.any(fill != 0):
        raise refuse(node, "padding with something else than zero")


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
