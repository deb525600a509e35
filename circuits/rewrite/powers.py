"""Powers: EZKL reads a negative or zero whole exponent as garbage."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import Builder, Pass, constant, expand, input_at, is_float, shape_of


def _pow(node: ir.Node, build: Builder) -> ir.Value | None:
    base, exponent = node.inputs[0], constant(input_at(node, 1))
    assert base is not None
    if exponent is None or not is_float(base) or base.dtype is None:
        return None
    values = np.unique(exponent)
    if values.size != 1:
        return None
    power = float(values[0])
    plain: ir.Value | None = None
    if power == 0:
        plain = build.const(np.ones(shape_of(node.outputs[0]), dtype=base.dtype.numpy()))
    elif power == 1 and shape_of(base) == shape_of(node.outputs[0]):
        plain = base
    elif power < 0 and power.is_integer():
        plain = build.op("Reciprocal", base if power == -1 else _power(base, -power, build))
    elif abs(power) == 0.5:
        root = build.op("Sqrt", base)
        plain = root if power > 0 else build.op("Reciprocal", root)
    elif exponent.size > 1:
        plain = _power(base, power, build)
    return plain


def _power(base: ir.Value, power: float, build: Builder) -> ir.Value:
    assert base.dtype is not None
    return build.op("Pow", base, build.const(np.array(power, dtype=base.dtype.numpy())))


def _run(model: ir.Model) -> None:
    expand(model, {"Pow": _pow})


PLAIN_POWERS = Pass(
    name="plain-powers",
    version=1,
    purpose="Negative, zero and fractional powers by Reciprocal, Sqrt and constants.",
    reference="EZKL 23.0.5 casts a whole exponent to an unsigned number",
    run=_run,
)
