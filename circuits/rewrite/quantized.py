"""Quantised models given their real meaning: the engine ignores their rounding and scales."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir import DataType, convenience

from circuits.rewrite.edit import (
    Builder,
    Pass,
    attr,
    constant,
    expanding,
    input_at,
    names_in,
    replace,
    shape_of,
)

_RANGES = {
    DataType.INT8: (-128.0, 127.0),
    DataType.UINT8: (0.0, 255.0),
    DataType.INT16: (-32768.0, 32767.0),
    DataType.UINT16: (0.0, 65535.0),
}


def _along(values: NDArray[np.generic], axis: int, rank: int) -> NDArray[np.generic]:
    """Per-axis parameters, shaped to broadcast."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[axis] = values.size
    return values.reshape(shape)


def _parameters(
    scale: ir.Value | None, zero: ir.Value | None, axis: int, rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    factor, offset = constant(scale), constant(zero)
    if factor is None or (zero is not None and offset is None) or factor.ndim > 1:
        return None
    offset = np.zeros(1) if offset is None else offset
    shaped = (_along(v.astype(np.float32), axis, rank) for v in (factor, offset))
    first, second = shaped
    return first.astype(np.float32), second.astype(np.float32)


def _quantised(
    value: ir.Value,
    params: tuple[NDArray[np.float32], NDArray[np.float32]],
    to: DataType,
    build: Builder,
) -> ir.Value:
    """The integer levels, as floats: clip(round(x / scale) + zero)."""
    scale, zero = params
    level = build.op("Round", build.op("Div", value, build.const(scale)))
    if np.any(zero):
        level = build.op("Add", level, build.const(zero))
    low, high = _RANGES[to]
    return build.op("Clip", level, build.const(low), build.const(high))


def _restored(
    value: ir.Value, params: tuple[NDArray[np.float32], NDArray[np.float32]], build: Builder
) -> ir.Value:
    """(level - zero) * scale."""
    scale, zero = params
    if (held := constant(value)) is not None:
        return build.const(((held.astype(np.float32) - zero) * scale).astype(np.float32))
    level = _levels(value, build)
    if level is value:
        level = build.op("Cast", value, to=int(DataType.FLOAT))
    if np.any(zero):
        level = build.op("Sub", level, build.const(zero))
    return build.op("Mul", level, build.const(scale))


def _quantize(node: ir.Node, build: Builder) -> ir.Value | None:
    x, to = node.inputs[0], node.outputs[0].dtype
    assert x is not None
    rank = len(shape_of(x))
    axis = attr(node, "axis", 1) % max(rank, 1)
    params = _parameters(node.inputs[1], input_at(node, 2), axis, rank)
    if params is None or to not in _RANGES or attr(node, "block_size", 0):
        return None
    return build.op("Cast", _quantised(x, params, to, build), to=int(to))


#: Operators that do with levels as floats what they do with them as integers.
_MOVES = frozenset(
    {"Flatten", "Identity", "MaxPool", "Pad", "Reshape", "Slice", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)


def _levels(value: ir.Value, build: Builder) -> ir.Value:
    """Levels as floats where they were just made of such: a cast and its way back say nothing."""
    node = value.producer()
    if node is not None and node.op_type in _MOVES and node.inputs[0] is not None:
        inner = _levels(node.inputs[0], build)
        if inner is node.inputs[0] or len(node.outputs) > 1:
            return value
        attributes = {name: attr(node, name) for name in node.attributes}
        rest = list(node.inputs[1:])
        if node.op_type == "Pad" and len(rest) > 1 and rest[1] is not None:
            border = constant(rest[1])
            if border is None:
                return value
            rest[1] = build.const(border.astype(np.float32))
        moved = build.op(node.op_type, inner, *rest, **attributes)
        moved.shape, moved.type = value.shape, ir.TensorType(DataType.FLOAT)
        return moved
    if node is None or node.op_type != "Cast" or node.inputs[0] is None:
        return value
    before = node.inputs[0].producer()
    made = before is not None and before.op_type == "Clip" and before.inputs[0] is not None
    return node.inputs[0] if made and node.inputs[0].dtype in (None, DataType.FLOAT) else value


def _dequantize(node: ir.Node, build: Builder) -> ir.Value | None:
    x = node.inputs[0]
    assert x is not None
    rank = len(shape_of(x))
    axis = attr(node, "axis", 1) % max(rank, 1)
    params = _parameters(node.inputs[1], input_at(node, 2), axis, rank)
    if params is None or attr(node, "block_size", 0):
        return None
    return _restored(x, params, build)


def _qlinear(node: ir.Node, build: Builder) -> ir.Value | None:
    """QLinearMatMul and QLinearConv: restore both sides, compute, quantise again."""
    conv = node.op_type == "QLinearConv"
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs[:8]
    to = node.outputs[0].dtype
    assert a is not None
    assert b is not None
    b_rank = len(shape_of(b))
    left = _parameters(a_scale, a_zero, 0, len(shape_of(a)))
    right = _parameters(b_scale, b_zero, 0 if conv else b_rank - 1, b_rank)
    result = _parameters(y_scale, y_zero, 0, 1)
    if left is None or right is None or result is None or to not in _RANGES:
        return None
    x, w = _restored(a, left, build), _restored(b, right, build)
    if not conv:
        product = build.op("MatMul", x, w)
    else:
        attributes = {name: attr(node, name) for name in node.attributes}
        bias = constant(input_at(node, 8))
        extra = []
        if bias is not None:
            unit = left[0].reshape(-1) * right[0].reshape(-1)
            extra = [build.const((bias * unit).astype(np.float32))]
        product = build.op("Conv", x, w, *extra, **attributes)
    return build.op("Cast", _quantised(product, result, to, build), to=int(to))


def _integer_product(node: ir.Node, build: Builder) -> ir.Value | None:
    """ConvInteger and MatMulInteger: exact products of shifted integers."""
    a, b = node.inputs[0], node.inputs[1]
    assert a is not None
    assert b is not None
    conv = node.op_type == "ConvInteger"
    parts = []
    for value, zero, axis in ((a, input_at(node, 2), 0), (b, input_at(node, 3), 0 if conv else -1)):
        offset = constant(zero)
        if zero is not None and offset is None:
            return None
        number = build.op("Cast", value, to=int(DataType.FLOAT))
        if offset is not None and np.any(offset):
            rank = len(shape_of(value))
            shaped = _along(offset.astype(np.float32), axis % rank, rank)
            number = build.op("Sub", number, build.const(shaped))
        parts.append(number)
    attributes = {name: attr(node, name) for name in node.attributes}
    product = build.op("Conv" if conv else "MatMul", *parts, **attributes)
    return build.op("Cast", product, to=int(DataType.INT32))


def _run_continuous(model: ir.Model) -> bool:
    """Products of what is quantised by its own range, with what was quantised before it."""
    graph, found = model.graph, False
    taken = names_in(graph)
    for node in list(graph):
        if node.op_type != "DynamicQuantizeLinear" or node.inputs[0] is None:
            continue
        level, scale, zero = node.outputs
        products = [use.node for use in level.uses()]
        if not products or any(output.is_graph_output() for output in node.outputs):
            continue
        if not {use.node for use in zero.uses()} <= set(products):
            continue
        casts = [_only_cast(product) for product in products]
        weights = [_shifted(product) for product in products]
        if not all(p.inputs[0] is level and input_at(p, 2) is zero for p in products) or any(
            part is None for part in (*casts, *weights)
        ):
            continue
        for product, cast, weight in zip(products, casts, weights, strict=True):
            assert cast is not None
            assert weight is not None
            build = Builder(graph, product.outputs[0].name or product.op_type, taken)
            op = "Conv" if product.op_type == "ConvInteger" else "MatMul"
            attributes = {name: attr(product, name) for name in product.attributes}
            made = build.op(op, node.inputs[0], build.const(weight), **attributes)
            replace(cast, build, [made])
        one = Builder(graph, scale.name or node.op_type, taken).const(1.0)
        convenience.replace_all_uses_with(scale, one)
        found = True
    return found


def _only_cast(product: ir.Node) -> ir.Node | None:
    """The cast to float that alone reads an integer product."""
    result = product.outputs[0]
    uses = [use.node for use in result.uses()]
    integral = product.op_type in ("ConvInteger", "MatMulInteger")
    if not integral or len(uses) != 1 or result.is_graph_output():
        return None
    single = uses[0].op_type == "Cast" and attr(uses[0], "to") == DataType.FLOAT
    return uses[0] if single else None


def _shifted(product: ir.Node) -> NDArray[np.float32] | None:
    """The constant weights of an integer product less their zero point."""
    weights, zero = constant(input_at(product, 1)), constant(input_at(product, 3))
    if weights is None or (input_at(product, 3) is not None and zero is None):
        return None
    shift = np.zeros(1) if zero is None else zero
    axis = 0 if product.op_type == "ConvInteger" else weights.ndim - 1
    shaped = _along(shift, axis, weights.ndim).astype(np.float32)
    less: NDArray[np.float32] = weights.astype(np.float32) - shaped
    return less


DECOMPOSE_QUANTISATION = expanding(
    {
        "QuantizeLinear": _quantize,
        "DequantizeLinear": _dequantize,
        "QLinearMatMul": _qlinear,
        "QLinearConv": _qlinear,
        "MatMulInteger": _integer_product,
        "ConvInteger": _integer_product,
    },
    name="decompose-quantisation",
    version=3,
    purpose="Decomposes QuantizeLinear, DequantizeLinear, QLinear and integer products into"
    " rounding, clipping and scaling.",
    reference="ONNX operator specification, QuantizeLinear; EZKL takes it for an identity",
)

#: Its steps are about half a per cent of the range of each input; how far that moves an answer is
#: measured with all else. A division by a range that is computed costs far more than the product.
DROP_DYNAMIC_QUANTISATION = Pass(
    name="drop-dynamic-quantisation",
    version=1,
    purpose="Removes DynamicQuantizeLinear; how far that moves an output is measured.",
    reference="ONNX operator specification, DynamicQuantizeLinear",
    run=_run_continuous,
    rounds=True,
    touches=frozenset(("DynamicQuantizeLinear",)),
)
