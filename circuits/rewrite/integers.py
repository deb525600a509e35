"""Integer arithmetic that the engine takes for exact division: truncation given back its meaning.

The engine knows no integer type: ``Div`` changes the scale, ``Cast`` takes the floor. Values here
stay below 2^23, where a float holds every integer and every half between.
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
    input_at,
    is_float,
    shape_of,
)

_WHOLE = frozenset(
    {"Floor", "Ceil", "Round", "Sign", "ArgMax", "ArgMin", "OneHot", "Not", "And", "Or", "Xor"}
    | {"Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"}
)
_KEEP = frozenset(
    {"Add", "Sub", "Mul", "MatMul", "Gemm", "Concat", "Relu", "Abs", "Neg", "Clip", "ReduceSum"}
    | {"ReduceMax"}
)
_CARRY = frozenset(
    {"Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Gather", "Identity", "Slice"}
)


def is_whole(value: ir.Value | None, asked: dict[int, bool] | None = None) -> bool:
    """Whether the value is known to hold integers only. ``asked``: what is known by now of
    values on the way, since many paths may lead to one."""
    if value is None:
        return False
    asked = {} if asked is None else asked
    if id(value) not in asked:
        asked[id(value)] = _is_whole(value, asked)
    return asked[id(value)]


def _is_whole(value: ir.Value, asked: dict[int, bool]) -> bool:
    known, node = constant(value), value.producer()
    if value.dtype is not None and not value.dtype.is_floating_point():
        return True
    if known is not None or node is None:
        return known is not None and bool(np.all(known == np.floor(known)))
    if node.op_type in _CARRY:
        return is_whole(node.inputs[0], asked)
    if node.op_type in _KEEP:
        return all(is_whole(i, asked) for i in node.inputs)
    return node.op_type in _WHOLE


def _truncate(value: ir.Value, build: Builder) -> ir.Value:
    """Towards zero: floor(relu(x)) - floor(relu(-x))."""
    up = build.op("Floor", build.op("Relu", value))
    down = build.op("Floor", build.op("Relu", build.op("Neg", value)))
    return build.op("Sub", up, down)


def _cast(node: ir.Node, build: Builder) -> ir.Value | None:
    source, target = node.inputs[0], node.outputs[0]
    assert source is not None
    if target.dtype is None or source.dtype is None or target.dtype.is_floating_point():
        return None
    if target.dtype == DataType.BOOL:
        if source.dtype == DataType.BOOL:
            return None
        zero = build.const(np.zeros(1, dtype=source.dtype.numpy()))
        return build.op("Not", build.op("Equal", source, zero))
    if not is_float(source) or is_whole(source):
        return None
    return build.op("Cast", _truncate(source, build), to=int(target.dtype))


def _quotient(node: ir.Node, build: Builder, toward_zero: bool) -> ir.Value | None:
    """a / c, rounded: (|a| + 1/2) / c differs from every integer by at least 1/(2c)."""
    left, divisor = node.inputs[0], constant(input_at(node, 1))
    assert left is not None
    if (
        divisor is None
        or divisor.size != 1
        or is_float(left)
        or not int(divisor.reshape(-1)[0]) > 0
    ):
        return None
    number = float(divisor.reshape(-1)[0])
    value = build.op("Cast", left, to=int(DataType.FLOAT))
    half, by = build.const(0.5), build.const(number)

    def below(x: ir.Value) -> ir.Value:
        return build.op("Floor", build.op("Div", build.op("Add", x, half), by))

    if not toward_zero or not _signed(left):
        return below(value)
    return build.op("Mul", build.op("Sign", value), below(build.op("Abs", value)))


def _signed(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.name.startswith("INT")


def _div(node: ir.Node, build: Builder) -> ir.Value | None:
    whole = _quotient(node, build, toward_zero=True)
    return None if whole is None else _back(whole, node, build)


def _mod(node: ir.Node, build: Builder) -> ir.Value | None:
    left, divisor = node.inputs[0], constant(input_at(node, 1))
    assert left is not None
    if is_float(left):
        if divisor is None:
            return None
        by = build.const(divisor)
        ratio = _truncate(build.op("Div", left, by), build)
        return build.op("Sub", left, build.op("Mul", ratio, by))
    whole = _quotient(node, build, toward_zero=bool(attr(node, "fmod", 0)))
    if whole is None or divisor is None:
        return None
    value = build.op("Cast", left, to=int(DataType.FLOAT))
    product = build.op("Mul", whole, build.const(float(divisor.reshape(-1)[0])))
    return _back(build.op("Sub", value, product), node, build)


def _shift(node: ir.Node, build: Builder) -> ir.Value | None:
    left, by = node.inputs[0], constant(input_at(node, 1))
    assert left is not None
    if by is None or by.size != 1 or left.dtype is None:
        return None
    factor = float(1 << int(by.reshape(-1)[0]))
    value = build.op("Cast", left, to=int(DataType.FLOAT))
    if attr(node, "direction") == "LEFT":
        return None  # wraps around at the type's width
    shifted = build.op("Add", value, build.const(0.5))
    return _back(build.op("Floor", build.op("Div", shifted, build.const(factor))), node, build)


def _back(value: ir.Value, node: ir.Node, build: Builder) -> ir.Value:
    dtype = node.outputs[0].dtype
    assert dtype is not None
    return build.op("Cast", value, to=int(dtype))


def _not_a_number(node: ir.Node, build: Builder) -> ir.Value:
    """Inputs are finite, and what the model makes of them was compared with onnxruntime."""
    return build.const(np.zeros(shape_of(node.outputs[0]), dtype=bool))


DECOMPOSE_INTEGER_ARITHMETIC = expanding(
    {
        "Cast": _cast,
        "Div": _div,
        "Mod": _mod,
        "BitShift": _shift,
        "IsNaN": _not_a_number,
        "IsInf": _not_a_number,
    },
    name="decompose-integer-arithmetic",
    version=2,
    purpose="Expresses truncating casts, integer division, remainders and shifts with Floor;"
    " removes tests for NaN.",
    reference="ONNX operator specification, Cast and Div; EZKL does not truncate",
)
