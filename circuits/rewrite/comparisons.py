"""Max and Min against constants, triangular masks, one-hot values other than 0 and 1."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import (
    Builder,
    attr,
    constant,
    expanding,
    input_at,
    is_float,
    shape_of,
    size,
)
from circuits.rewrite.selection import source

#: The same comparison with its operands the other way round.
MIRRORED = {
    "Equal": "Equal",
    "Greater": "Less",
    "GreaterOrEqual": "LessOrEqual",
    "Less": "Greater",
    "LessOrEqual": "GreaterOrEqual",
}
#: Squares of roots below this are floats.
_LARGEST_ROOT = 1e18


def _extremum(node: ir.Node, build: Builder) -> ir.Value | None:
    """max(x, c) = c + relu(x - c) and min(x, c) = c - relu(c - x), for a constant tensor c."""
    values = [v for v in node.inputs if v is not None]
    if len(values) == 1:
        return values[0]
    if len(values) > 2:
        folded = values[0]
        for value in values[1:]:
            folded = build.op(node.op_type, folded, value)
        return folded
    fixed = [v for v in values if constant(v) is not None and size(v) > 1]
    if len(fixed) != 1 or not is_float(fixed[0]):
        return None
    c, x = fixed[0], next(v for v in values if v is not fixed[0])
    if node.op_type == "Max":
        return build.op("Add", c, build.op("Relu", build.op("Sub", x, c)))
    return build.op("Sub", c, build.op("Relu", build.op("Sub", c, x)))


def _trilu(node: ir.Node, build: Builder) -> ir.Value | None:
    value, k = node.inputs[0], constant(input_at(node, 1))
    assert value is not None
    if input_at(node, 1) is not None and k is None:
        return None
    if value.dtype is None or value.dtype.numpy().kind not in "fiu":
        return None
    shape = shape_of(value)
    ones = np.ones(shape[-2:], dtype=value.dtype.numpy())
    diagonal = 0 if k is None else int(k.reshape(-1)[0])
    mask = np.triu(ones, diagonal) if attr(node, "upper", 1) else np.tril(ones, diagonal)
    return build.op("Mul", value, build.const(mask))


def _one_hot(node: ir.Node, build: Builder) -> ir.Value | None:
    levels = constant(input_at(node, 2))
    if levels is None or list(levels) == [0, 1]:
        return None
    off, on = (np.array([v], dtype=levels.dtype) for v in levels)
    unit = build.const(np.array([0, 1], dtype=levels.dtype))
    hot = build.op("OneHot", node.inputs[0], node.inputs[1], unit, axis=attr(node, "axis", -1))
    return build.op("Add", build.op("Mul", hot, build.const(on - off)), build.const(off))


def _hardmax_last(node: ir.Node, build: Builder) -> ir.Value | None:
    """The last index of the maximum: the first one of the reversed axis, counted from the end."""
    if not attr(node, "select_last_index", 0):
        return None
    value = node.inputs[0]
    assert value is not None
    axis = attr(node, "axis", 0) % len(shape_of(value))
    extent = shape_of(value)[axis]
    reverse = build.const(np.arange(extent - 1, -1, -1, dtype=np.int64))
    turned = build.op("Gather", value, reverse, axis=axis)
    first = build.op(node.op_type, turned, axis=axis, keepdims=attr(node, "keepdims", 1))
    return build.op("Sub", build.const(np.array([extent - 1], dtype=np.int64)), first)


def _tile(node: ir.Node, build: Builder) -> ir.Value | None:
    value, repeats = node.inputs[0], constant(input_at(node, 1))
    if repeats is None or value is None:
        return None
    for axis, count in enumerate(int(r) for r in repeats):
        if count > 1:
            value = build.op("Concat", *([value] * count), axis=axis)
    return value


def _of_root(node: ir.Node, build: Builder) -> ir.Value | None:
    """Of the root of squares it is compared that they are on the same side of a square."""
    root, limit = node.inputs[0], constant(node.inputs[1])
    maker = None if root is None else root.producer()
    if maker is None or maker.op_type != "Sqrt" or limit is None or limit.size != 1:
        return None
    squares = source(maker.inputs[0])
    made = None if squares is None else squares.producer()
    number = limit.reshape(-1)[0]
    whole = made is not None and made.op_type == "ReduceSumSquare" and limit.dtype == np.float32
    if not whole or not 0 < number < _LARGEST_ROOT:
        return None
    below = node.op_type in ("Less", "GreaterOrEqual")
    edge = number * number
    # The first number whose root is not below it, or the last whose root is not above it.
    while np.sqrt(edge) >= number if below else np.sqrt(edge) <= number:
        edge = np.nextafter(edge, np.float32(0 if below else np.inf))
    while np.sqrt(edge) < number if below else np.sqrt(edge) > number:
        edge = np.nextafter(edge, np.float32(np.inf if below else 0))
    return build.op(node.op_type, maker.inputs[0], build.const(np.array([edge], np.float32)))


def _compared(node: ir.Node, build: Builder) -> ir.Value | None:
    if node.op_type != "Equal" and (found := _of_root(node, build)) is not None:
        return found
    left, right = node.inputs
    for value, other, op in ((left, right, node.op_type), (right, left, MIRRORED[node.op_type])):
        limit = constant(other)
        if limit is None or not np.isinf(limit).all() or not _is_finite(value):
            continue
        truth = op != "Equal" and (limit > 0) == op.startswith("Less")
        return build.const(np.broadcast_to(truth, shape_of(node.outputs[0])).copy())
    return None


def _is_finite(value: ir.Value | None) -> bool:
    """Whether a value is an element of inputs, which are finite, or one of the largest of them."""
    value = source(value)
    if value is None or constant(value) is not None:
        return False
    node = value.producer()
    if node is None:
        return value.is_graph_input()
    reduces = node.op_type in ("ReduceMax", "ReduceMin")
    return reduces and _is_finite(node.inputs[0])


LEGALIZE_MINMAX = expanding(
    {
        "Max": _extremum,
        "Min": _extremum,
        "Trilu": _trilu,
        "OneHot": _one_hot,
        "ArgMax": _hardmax_last,
        "ArgMin": _hardmax_last,
        "Tile": _tile,
        **dict.fromkeys(MIRRORED, _compared),
    },
    name="legalize-minmax",
    version=4,
    purpose="Expresses Max and Min of constants or of many operands with Relu; also Trilu,"
    " OneHot, ArgMax, Tile and comparisons as the engine supports them.",
    reference="ONNX operator specification; EZKL ignores Trilu's mask and OneHot's levels",
)
