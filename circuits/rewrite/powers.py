"""Powers: EZKL reads a negative or zero whole exponent as garbage."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

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

#: Columns with powers of their own, and factors of a product, at most.
_COLUMNS, _FACTORS = 256, 16


def _pow(node: ir.Node, build: Builder) -> ir.Value | None:
    base, exponent = node.inputs[0], constant(input_at(node, 1))
    assert base is not None
    if exponent is None:
        return _exponential(node, build)
    if not is_float(base) or base.dtype is None:
        return None
    values = np.unique(exponent)
    if values.size != 1:
        return _column_powers(node, base, exponent, build)
    power = float(values[0])
    if power == 0:
        return build.const(np.ones(shape_of(node.outputs[0]), dtype=base.dtype.numpy()))
    if power == 1:
        return base if shape_of(base) == shape_of(node.outputs[0]) else None
    inverse = power < 0 and power.is_integer()
    changes = inverse or abs(power) == 0.5 or exponent.size > 1
    return _single(base, power, build) if changes else None


def _exponential(node: ir.Node, build: Builder) -> ir.Value | None:
    """c^x = exp(x · log c), for a positive number c."""
    base, exponent = constant(node.inputs[0]), node.inputs[1]
    if base is None or base.size != 1 or exponent is None or not has_shape(exponent):
        return None
    number = float(base.reshape(-1)[0])
    same = has_shape(node.outputs[0]) and shape_of(node.outputs[0]) == shape_of(exponent)
    if number <= 0 or not same or base.dtype.kind != "f" or exponent.dtype is None:
        return None
    factor = np.array(np.log(number), dtype=exponent.dtype.numpy())
    return build.op("Exp", build.op("Mul", exponent, build.const(factor)))


def _column_powers(
    node: ir.Node, base: ir.Value, exponent: NDArray[Any], build: Builder
) -> ir.Value | None:
    """An exponent for each column: each column to its own power, side by side."""
    shape = shape_of(node.outputs[0])
    if exponent.size != shape[-1] or exponent.shape[-1] != shape[-1] or shape != shape_of(base):
        return None
    if shape[-1] > _COLUMNS:
        return None
    parts = []
    for column, power in enumerate(exponent.reshape(-1)):
        picked = build.op("Gather", base, build.const(ints([column])), axis=-1)
        parts.append(_single(picked, float(power), build))
    return build.op("Concat", *parts, axis=-1)


def _product(node: ir.Node, build: Builder) -> ir.Value | None:
    """ReduceProd over a few elements: products of two, one after the other."""
    value, axes = node.inputs[0], constant(input_at(node, 1))
    if value is None or not has_shape(value):
        return None
    shape = shape_of(value)
    named = attr(node, "axes") if axes is None else axes.reshape(-1)
    if named is None or len(named) != 1:
        return None
    axis = int(named[0]) % len(shape)
    if not 1 <= shape[axis] <= _FACTORS:
        return None
    parts = [
        build.op("Gather", value, build.const(ints([i])), axis=axis) for i in range(shape[axis])
    ]
    total = parts[0]
    for part in parts[1:]:
        total = build.op("Mul", total, part)
    if attr(node, "keepdims", 1):
        return total
    return build.op("Reshape", total, build.const(ints(shape_of(node.outputs[0]))))


def _single(base: ir.Value, power: float, build: Builder) -> ir.Value:
    """One column to one power."""
    base.type = base.type or ir.TensorType(ir.DataType.FLOAT)
    if power == 0:
        return build.op("Add", build.op("Mul", base, build.const(0.0)), build.const(1.0))
    if power == 1:
        return base
    if power < 0 and power.is_integer():
        return build.op("Reciprocal", base if power == -1 else _power(base, -power, build))
    if abs(power) == 0.5:
        root = build.op("Sqrt", base)
        return root if power > 0 else build.op("Reciprocal", root)
    return _power(base, power, build)


def _power(base: ir.Value, power: float, build: Builder) -> ir.Value:
    assert base.dtype is not None
    return build.op("Pow", base, build.const(np.array(power, dtype=base.dtype.numpy())))


DECOMPOSE_POWERS = expanding(
    {"Pow": _pow, "ReduceProd": _product},
    name="decompose-powers",
    version=3,
    purpose="Expresses negative, zero and fractional powers as short products, one for each"
    " column.",
    reference="EZKL 23.0.5 casts a whole exponent to an unsigned number",
)
