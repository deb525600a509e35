"""Broadcasting that the engine gets wrong: to a higher rank, and between stacks of matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import (
    Builder,
    Expansion,
    constant,
    expanding,
    has_shape,
    ints,
    shape_of,
)


def _expand(node: ir.Node, build: Builder) -> ir.Value | None:
    """An Expand to a higher rank repeats the wrong axis: the new axes are written down first."""
    value = node.inputs[0]
    assert value is not None
    shape, out = shape_of(value), shape_of(node.outputs[0])
    if len(shape) == len(out):
        return None
    leading = [1] * (len(out) - len(shape))
    same_rank = build.op("Reshape", value, build.const(ints([*leading, *shape])))
    return build.op("Expand", same_rank, build.const(ints(out)))


def _matmul(node: ir.Node, build: Builder) -> ir.Value | None:
    """The engine's products of stacks take no axis of 1 beside a longer one."""
    left, right = node.inputs[0], node.inputs[1]
    assert left is not None
    assert right is not None
    stacks = [shape_of(v)[:-2] for v in (left, right)]
    if not all(stacks):
        return None
    whole = np.broadcast_shapes(*stacks)
    if all(stack == whole for stack in stacks):
        return None
    return build.op("MatMul", *(_stacked(v, whole, build) for v in (left, right)))


def _stacked(value: ir.Value, whole: tuple[int, ...], build: Builder) -> ir.Value:
    shape = shape_of(value)
    target = (*whole, *shape[-2:])
    if shape == target:
        return value
    known = constant(value)
    if known is not None:
        return build.const(np.broadcast_to(known, target))
    leading = [1] * (len(target) - len(shape))
    if leading:
        value = build.op("Reshape", value, build.const(ints([*leading, *shape])))
    return build.op("Expand", value, build.const(ints(target)))


def _sized(expansion: Expansion) -> Expansion:
    """Leaves nodes alone whose shapes are not known."""

    def guarded(node: ir.Node, build: Builder) -> Sequence[ir.Value] | ir.Value | None:
        sized = all(has_shape(v) for v in (node.outputs[0], *node.inputs[:2]))
        return expansion(node, build) if sized else None

    return guarded


DECOMPOSE_BROADCASTS = expanding(
    {"Expand": _sized(_expand), "MatMul": _sized(_matmul)},
    name="decompose-broadcasts",
    version=1,
    purpose="Inserts a Reshape before Expand to a higher rank; gives stacked matrices one size.",
    reference="ONNX operator specification, Expand and MatMul; EZKL repeats the wrong axis",
)
