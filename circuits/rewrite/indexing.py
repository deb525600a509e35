"""Constant indices counted from the front: the engine reads a negative one as very large."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import Builder, attr, constant, expanding, input_at, shape_of


def _along_axis(node: ir.Node, build: Builder) -> ir.Value | None:
    data, where = node.inputs[0], constant(input_at(node, 1))
    assert data is not None
    if where is None or not np.any(where < 0):
        return None
    axis = attr(node, "axis", 0)
    extent = shape_of(data)[axis]
    counted = build.const(np.where(where < 0, where + extent, where).astype(np.int64))
    return build.op(node.op_type, data, counted, **_attributes(node))


def _by_position(node: ir.Node, build: Builder) -> ir.Value | None:
    data, where = node.inputs[0], constant(input_at(node, 1))
    assert data is not None
    if where is None or not np.any(where < 0):
        return None
    skip = attr(node, "batch_dims", 0)
    extents = np.array(shape_of(data)[skip : skip + where.shape[-1]], dtype=np.int64)
    counted = build.const(np.where(where < 0, where + extents, where).astype(np.int64))
    return build.op(node.op_type, data, counted, **_attributes(node))


def _attributes(node: ir.Node) -> dict[str, object]:
    return {name: attr(node, name) for name in node.attributes}


WRAP_INDICES = expanding(
    {
        "Gather": _along_axis,
        "GatherElements": _along_axis,
        "GatherND": _by_position,
    },
    name="wrap-indices",
    version=2,
    purpose="Replaces negative constant indices of Gather by positive ones.",
    reference="ONNX operator specification, Gather; EZKL casts indices to unsigned numbers",
)
