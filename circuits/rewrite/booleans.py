"""Booleans and indices to which the engine gives the wrong scale.

It gives the result of ``Equal`` the scale of its operands, so that true among floats is worth
2^-scale. An index that was computed from floats keeps their scale and points beyond the end.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir import DataType

from circuits.rewrite.edit import (
    Builder,
    attr,
    constant,
    expanding,
    has_shape,
    input_at,
    ints,
    is_float,
    shape_of,
)

#: Operators that read a boolean correctly at any scale.
_ANY_SCALE = frozenset({"Not", "And", "Or", "Xor"})
#: Operators whose results have scale 0, whatever the scale of their operands.
_WHOLE = frozenset({"ArgMax", "ArgMin", "Sign", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"})
_CARRY = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Gather", "Slice", "Flatten"}
    | {"Concat", "Add", "Sub", "Mul", "Neg", "Abs", "Max", "Min", "Clip", "Expand"}
)


def _equal(node: ir.Node, build: Builder) -> ir.Value | None:
    """Two negations give the result the scale of integers."""
    uses = list(node.outputs[0].uses())
    if uses and all(_any_scale(use.node, use.idx) for use in uses):
        return None
    equal = build.op("Equal", *node.inputs)
    return build.op("Not", build.op("Not", equal))


def _any_scale(node: ir.Node, operand: int) -> bool:
    return node.op_type in _ANY_SCALE or (node.op_type == "Where" and operand == 0)


def _indexed(node: ir.Node, build: Builder) -> ir.Value | None:
    """Compares each computed index with all possible ones; ArgMax then gives an integer."""
    at = 0 if node.op_type == "OneHot" else 1
    where = node.inputs[at]
    if (
        where is None
        or constant(where) is not None
        or not has_shape(where)
        or has_scale_zero(where)
    ):
        return None
    depth = _extent(node)
    if depth is None:
        return None
    last = build.op("Unsqueeze", where, build.const(ints([len(shape_of(where))])))
    number = build.op("Cast", last, to=int(DataType.FLOAT))
    same = build.op("Equal", number, build.const(np.arange(depth, dtype=np.float32)))
    found = build.op("Cast", build.op("Not", build.op("Not", same)), to=int(DataType.FLOAT))
    place = build.op("ArgMax", found, axis=-1, keepdims=0)
    inputs = list(node.inputs)
    inputs[at] = place
    return build.op(node.op_type, *inputs, **{k: attr(node, k) for k in node.attributes})


def _extent(node: ir.Node) -> int | None:
    """The number of valid indices."""
    if node.op_type == "OneHot":
        depth = constant(input_at(node, 1))
        return None if depth is None else int(depth.reshape(-1)[0])
    data = node.inputs[0]
    return shape_of(data)[attr(node, "axis", 0)] if data is not None and has_shape(data) else None


def has_scale_zero(value: ir.Value | None) -> bool:
    """Whether the engine gives a value scale 0: an integer input, or one computed from those."""
    if value is None:
        return False
    node = value.producer()
    if node is None or constant(value) is not None:
        return not is_float(value)
    if node.op_type in _WHOLE:
        return True
    if node.op_type == "Cast":
        source = node.inputs[0]
        return has_scale_zero(source) or (source is not None and source.dtype == DataType.BOOL)
    return node.op_type in _CARRY and all(has_scale_zero(v) for v in node.inputs if v is not None)


RESCALE_BOOLEANS = expanding(
    {"Equal": _equal, "Gather": _indexed, "OneHot": _indexed},
    name="rescale-booleans",
    version=1,
    purpose="Gives the results of Equal, and computed indices, the scale of integers.",
    reference="zkonduit/ezkl, circuit/ops/hybrid.rs: out_scale of Equals is that of its operands",
)
