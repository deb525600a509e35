"""onnxruntime's own quantised operators, as quantisation around standard ones.

Its quantiser writes such (QOperator format). What each computes is what it says: take the steps
away, compute, round to the next steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import Builder, attr, constant, expanding, input_at

DOMAIN = "com.microsoft"


def _plain(build: Builder, *parts: ir.Value | None) -> ir.Value:
    """A quantised value (levels, scale, zero point) as what it stands for."""
    return build.op("DequantizeLinear", *parts)


def _steps(build: Builder, value: ir.Value, *parts: ir.Value | None) -> ir.Value:
    return build.op("QuantizeLinear", value, *parts)


def _gemm(node: ir.Node, build: Builder) -> ir.Value | None:
    a, a_scale, a_zero, b, b_scale, b_zero = node.inputs[:6]
    c, y_scale, y_zero = (input_at(node, i) for i in (6, 7, 8))
    factor, weight = constant(a_scale), constant(b_scale)
    if factor is None or weight is None:
        return None
    axis = 0 if attr(node, "transB", 0) else 1
    left = _plain(build, a, a_scale, a_zero)
    right = build.op("DequantizeLinear", b, b_scale, b_zero, axis=axis)
    extra = []
    if c is not None:
        bias = constant(c)
        if bias is None:
            return None
        unit = factor.reshape(-1).astype(np.float64) * weight.reshape(-1)
        extra = [build.const((bias * unit).astype(np.float32))]
    kept = {n: attr(node, n) for n in ("alpha", "transA", "transB") if n in node.attributes}
    product = build.op("Gemm", left, right, *extra, **kept)
    return product if y_scale is None else _steps(build, product, y_scale, y_zero)


def _binary(op: str) -> Callable[[ir.Node, Builder], ir.Value]:
    def expansion(node: ir.Node, build: Builder) -> ir.Value:
        left, right = _plain(build, *node.inputs[:3]), _plain(build, *node.inputs[3:6])
        return _steps(build, build.op(op, left, right), *node.inputs[6:8])

    return expansion


def _unary(op: str, *kept: str) -> Callable[[ir.Node, Builder], ir.Value | None]:
    def expansion(node: ir.Node, build: Builder) -> ir.Value | None:
        if attr(node, "channels_last", 0):
            return None
        attributes = {n: attr(node, n) for n in kept if n in node.attributes}
        value = build.op(op, _plain(build, *node.inputs[:3]), **attributes)
        return _steps(build, value, *node.inputs[3:5])

    return expansion


def _concat(node: ir.Node, build: Builder) -> ir.Value:
    parts = [_plain(build, *node.inputs[at : at + 3]) for at in range(2, len(node.inputs), 3)]
    whole = build.op("Concat", *parts, axis=attr(node, "axis"))
    return _steps(build, whole, *node.inputs[:2])


def _where(node: ir.Node, build: Builder) -> ir.Value:
    left, right = _plain(build, *node.inputs[1:4]), _plain(build, *node.inputs[4:7])
    return _steps(build, build.op("Where", node.inputs[0], left, right), *node.inputs[7:9])


def _fused_matmul(node: ir.Node, build: Builder) -> ir.Value | None:
    if any(attr(node, n, 0) for n in ("transA", "transB", "transBatchA", "transBatchB")):
        return None
    product = build.op("MatMul", node.inputs[0], node.inputs[1])
    alpha = float(attr(node, "alpha", 1.0))
    return product if alpha == 1.0 else build.op("Mul", product, build.const(alpha))


def _gelu(node: ir.Node, build: Builder) -> ir.Value:
    x = node.inputs[0]
    if (bias := input_at(node, 1)) is not None:
        x = build.op("Add", x, bias)
    approximate = "tanh" if node.op_type == "FastGelu" else "none"
    return build.op("Gelu", x, approximate=approximate)


def _quantize(node: ir.Node, build: Builder) -> ir.Value:
    return build.op(node.op_type, *node.inputs, axis=attr(node, "axis", 1))


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


LOWER_QUANTISED_OPERATORS = expanding(
    {
        "BiasGelu": _gelu,
        "DequantizeLinear": _quantize,
        "FastGelu": _gelu,
        "FusedMatMul": _fused_matmul,
        "Gelu": _gelu,
        "QGemm": _gemm,
        "QLinearAdd": _binary("Add"),
        "QLinearAveragePool": _unary("AveragePool", *_POOL),
        "QLinearConcat": _concat,
        "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
        "QLinearLeakyRelu": _unary("LeakyRelu", "alpha"),
        "QLinearMul": _binary("Mul"),
        "QLinearSigmoid": _unary("Sigmoid"),
        "QLinearSoftmax": _unary("Softmax", "axis"),
        "QLinearWhere": _where,
        "QuantizeLinear": _quantize,
    },
    domain=DOMAIN,
    name="lower-quantised-operators",
    version=1,
    purpose="Replaces onnxruntime's quantised operators by standard ones between DequantizeLinear"
    " and QuantizeLinear.",
    reference="https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md",
    rounds=True,
)
