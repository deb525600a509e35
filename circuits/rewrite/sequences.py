"""Running sums: the engine leaves out where they start and in which direction they go."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import Builder, attr, constant, expanding, input_at, shape_of


def _running_sum(node: ir.Node, build: Builder) -> ir.Value | None:
    """A product with a triangle of ones, along the axis moved to the end."""
    value, axis = node.inputs[0], constant(input_at(node, 1))
    if value is None or axis is None or value.dtype is None:
        return None
    shape = shape_of(value)
    last, along = len(shape) - 1, int(axis.reshape(-1)[0]) % len(shape)
    ones = np.ones((shape[along], shape[along]), dtype=value.dtype.numpy())
    triangle = np.triu(ones, int(attr(node, "exclusive", 0)))
    if attr(node, "reverse", 0):
        triangle = triangle.T
    order = list(range(len(shape)))
    order[along], order[last] = last, along
    if along != last:
        value = build.op("Transpose", value, perm=order)
    total = build.op("MatMul", value, build.const(triangle))
    return total if along == last else build.op("Transpose", total, perm=order)


DECOMPOSE_CUMSUM = expanding(
    {"CumSum": _running_sum},
    name="decompose-cumsum",
    version=2,
    purpose="Expresses CumSum as a product with a triangular matrix of ones.",
    reference="ONNX operator specification, CumSum; EZKL ignores exclusive and panics on reverse",
)
