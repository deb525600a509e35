"""Operators that are formulas over simpler ones, written out.

ONNX has bodies for some of these: not in every operator set, or with a variance that is the
difference of two large numbers.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import Builder, attr, constant, expanding, ints, shape_of


def _gelu(node: ir.Node, build: Builder) -> ir.Value:
    x = node.inputs[0]
    assert x is not None
    half = build.op("Mul", x, build.const(0.5))
    if attr(node, "approximate", "none") == "tanh":
        cube = build.op("Mul", build.op("Mul", x, x), x)
        inner = build.op("Add", x, build.op("Mul", cube, build.const(0.044715)))
        bent = build.op("Tanh", build.op("Mul", inner, build.const(math.sqrt(2 / math.pi))))
    else:
        bent = build.op("Erf", build.op("Mul", x, build.const(1 / math.sqrt(2))))
    return build.op("Mul", half, build.op("Add", bent, build.const(1.0)))


def _normalise(
    x: ir.Value, shape: tuple[int, ...], axes: list[int], epsilon: float, build: Builder
) -> ir.Value:
    """(x - mean) / sqrt(variance + epsilon) over ``axes``."""
    count = math.prod(shape[a] for a in axes)
    over = build.const(ints(axes))
    share = build.const(1.0 / count)
    mean = build.op("Mul", build.op("ReduceSum", x, over, keepdims=1), share)
    centred = build.op("Sub", x, mean)
    square = build.op("Mul", centred, centred)
    variance = build.op("Mul", build.op("ReduceSum", square, over, keepdims=1), share)
    spread = build.op("Sqrt", build.op("Add", variance, build.const(float(epsilon))))
    return build.op("Div", centred, spread)


def _mean_variance(node: ir.Node, build: Builder) -> ir.Value:
    x = node.inputs[0]
    assert x is not None
    shape = shape_of(x)
    axes = [a % len(shape) for a in attr(node, "axes", [0, 2, 3])]
    return _normalise(x, shape, axes, 1e-9, build)


def _group_normalisation(node: ir.Node, build: Builder) -> ir.Value | None:
    x, scale, bias = node.inputs[0], constant(node.inputs[1]), constant(node.inputs[2])
    assert x is not None
    if scale is None or bias is None:
        return None
    shape, groups = shape_of(x), attr(node, "num_groups")
    grouped = (shape[0], groups, -1)
    flat = build.op("Reshape", x, build.const(ints(grouped)))
    inner = (shape[0], groups, math.prod(shape[1:]) // groups)
    normal = _normalise(flat, inner, [2], attr(node, "epsilon", 1e-5), build)
    back = build.op("Reshape", normal, build.const(ints(shape)))
    per_channel = [1, shape[1], *([1] * (len(shape) - 2))]
    if scale.size == groups:  # before opset 21 one factor a group
        scale, bias = (np.repeat(v, shape[1] // groups) for v in (scale, bias))
    product = build.op("Mul", back, build.const(scale.reshape(per_channel)))
    return build.op("Add", product, build.const(bias.reshape(per_channel)))


def _lp_normalisation(node: ir.Node, build: Builder) -> ir.Value:
    x = node.inputs[0]
    axis = build.const(ints([attr(node, "axis", -1)]))
    if attr(node, "p", 2) == 1:
        norm = build.op("ReduceSum", build.op("Abs", x), axis, keepdims=1)
    else:
        total = build.op("ReduceSum", build.op("Mul", x, x), axis, keepdims=1)
        norm = build.op("Sqrt", total)
    return build.op("Div", x, norm)


def _lp_pool(node: ir.Node, build: Builder) -> ir.Value | None:
    """The p-norm of each window: the root of its sum of powers."""
    p, kernel = int(attr(node, "p", 2)), attr(node, "kernel_shape")
    if attr(node, "ceil_mode", 0) or any(d != 1 for d in attr(node, "dilations") or []):
        return None
    kept = ("auto_pad", "kernel_shape", "pads", "strides")
    attributes = {n: attr(node, n) for n in kept if n in node.attributes}
    x = node.inputs[0]
    size = build.op("Abs", x)
    power = size if p == 1 else build.op("Mul", x, x) if p == 2 else None
    if power is None:
        power = build.op("Pow", size, build.const(float(p)))
    mean = build.op("AveragePool", power, count_include_pad=1, **attributes)
    total = build.op("Mul", mean, build.const(float(math.prod(kernel))))
    if p == 1:
        return total
    return build.op("Sqrt", total) if p == 2 else build.op("Pow", total, build.const(1.0 / p))


EXPAND_COMPOSITES = expanding(
    {
        "Gelu": _gelu,
        "MeanVarianceNormalization": _mean_variance,
        "GroupNormalization": _group_normalisation,
        "LpNormalization": _lp_normalisation,
        "LpPool": _lp_pool,
    },
    name="expand-composites",
    version=4,
    purpose="Expands Gelu, and norms over groups and windows, into formulas.",
    reference="ONNX operator specification, the operators' function bodies",
)
