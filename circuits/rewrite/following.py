"""What becomes of an axis: of elements that operators treat each by itself, or add up."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from circuits.rewrite.edit import attr, constant, has_shape, input_at, shape_of

#: Operators that do the same to every element.
EACH = frozenset(
    {"Abs", "Add", "Cast", "Div", "Equal", "Exp", "Identity", "Log", "Max", "Min", "Mul", "Neg"}
    | {"Not", "Pow", "Reciprocal", "Sqrt", "Sub"}
)
RESHAPES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
SUMS = frozenset({"ReduceMean", "ReduceSum"})
#: The axis of values that has an element for each one that was chosen.
Axes = dict[ir.Value, int]


def followed(
    axes: Axes, graph: ir.Graph, ends: Callable[[ir.Node, Axes], bool]
) -> list[ir.Node] | None:
    """The nodes in which all that is made of some values ends, each element by itself before that;
    None where something else is made of them. ``axes`` learns the axis of all on the way."""
    found = []
    if any(not has_shape(value) or value.is_graph_output() for value in axes):
        return None
    for reader in graph:
        if not any(v in axes for v in reader.inputs if v is not None) or reader.op_type == "Shape":
            continue
        if ends(reader, axes):
            found.append(reader)
            continue
        axis = axis_after(reader, axes)
        if axis is None or len(reader.outputs) != 1 or reader.outputs[0].is_graph_output():
            return None
        axes[reader.outputs[0]] = axis
    return found


def axes_of(node: ir.Node) -> list[int] | None:
    """Which axes a sum is over; None where that is not known."""
    value = node.inputs[0]
    given = constant(input_at(node, 1))
    axes = attr(node, "axes") if given is None else given.reshape(-1).tolist()
    if not axes or value is None or not has_shape(value):
        return None
    return [int(a) % len(shape_of(value)) for a in axes]


def axis_after(node: ir.Node, axes: Axes) -> int | None:
    """The axis of the chosen ones in a node's output; None where there is no such axis."""
    known = all(has_shape(v) for v in (*node.inputs, *node.outputs) if v is not None)
    if not known or node.domain != "":
        return None
    if node.op_type in EACH:
        return axis_of_each(node, axes)
    if node.op_type == "Gather":
        return _axis_of_gather(node, axes)
    value = node.inputs[0]
    if value is None or value not in axes or any(v in axes for v in node.inputs[1:] if v):
        return None
    return _axis_of_move(node, axes[value], shape_of(value))


def _axis_of_move(node: ir.Node, axis: int, shape: tuple[int, ...]) -> int | None:
    found = shape_of(node.outputs[0])
    if node.op_type in RESHAPES:
        before, extent = math.prod(shape[:axis]), shape[axis]
        starts = [math.prod(found[:n]) for n in range(len(found))]
        fits = [n for n, at in enumerate(starts) if (at, found[n]) == (before, extent)]
        return fits[-1] if fits else None
    if node.op_type == "Transpose":
        return int(attr(node, "perm", [*range(len(shape))][::-1]).index(axis))
    if node.op_type in SUMS and (gone := axes_of(node)):
        return axis - (0 if attr(node, "keepdims", 1) else sum(a < axis for a in gone))
    return None


def axis_of_each(node: ir.Node, axes: Axes) -> int | None:
    rank, places = len(shape_of(node.outputs[0])), set()
    for value in node.inputs:
        assert value is not None
        own = len(shape_of(value))
        if value in axes:
            places.add(rank - own + axes[value])
    (place, *others) = places
    for value in node.inputs:
        assert value is not None
        at = place - rank + len(shape_of(value))
        if value not in axes and at >= 0 and shape_of(value)[at] != 1:
            return None
    return None if others else place


def _axis_of_gather(node: ir.Node, axes: Axes) -> int | None:
    data, places = node.inputs[0], node.inputs[1]
    assert data is not None
    assert places is not None
    along = int(attr(node, "axis", 0)) % len(shape_of(data))
    if data not in axes:
        return along + axes[places]
    if places in axes or axes[data] == along:
        return None
    return axes[data] + (len(shape_of(places)) - 1 if axes[data] > along else 0)
