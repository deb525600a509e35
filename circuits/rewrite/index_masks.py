"""Indices behind a mask whose lookups are multiplied by the same mask: the first mask is redundant.

Exporters write radius neighbours so. They look up the target of each row at its index where the row
is near, and at -1 elsewhere, and multiply the result by whether the row is near.
"""

from __future__ import annotations

import onnx_ir as ir

from circuits.frontend.folding import fold_in_place
from circuits.rewrite.edit import Builder, Pass, constant, expand, has_shape, shape_of, size
from circuits.rewrite.following import RESHAPES, Axes, axis_after, axis_of_each, followed

_CARRY = RESHAPES | {"Cast", "Identity"}


def _where(node: ir.Node, build: Builder) -> ir.Value | None:
    condition, there, elsewhere = node.inputs
    if condition is None or constant(there) is None or constant(elsewhere) is None:
        return None
    out = node.outputs[0]
    if not (has_shape(condition) and has_shape(out)) or shape_of(condition) != shape_of(out):
        return None
    axis = max(range(len(shape_of(out))), key=lambda n: shape_of(out)[n], default=0)
    if there is None or shape_of(there) != shape_of(out) or size(out) != shape_of(out)[axis]:
        return None
    masks: Axes = {condition: axis}
    for reader in build.graph:
        if reader.op_type in _CARRY and reader.inputs[0] in masks:
            found = axis_after(reader, masks)
            if found is not None:
                masks[reader.outputs[0]] = found

    def masked(reader: ir.Node, axes: Axes) -> bool:
        """Whether the reader multiplies each element by its own mask."""
        if reader.op_type != "Mul" or not any(v in masks for v in reader.inputs):
            return False
        return axis_of_each(reader, masks | axes) is not None

    return build.op("Identity", there) if followed({out: axis}, build.graph, masked) else None


def _run(model: ir.Model) -> None:
    before = list(model.graph)
    expand(model, {"Where": _where})
    if list(model.graph) != before:
        fold_in_place(model)  # what is looked up at places that are constant now


DROP_INDEX_MASKS = Pass(
    name="drop-index-masks",
    version=1,
    purpose="Removes Where around indices whose looked-up values the same mask zeroes later.",
    reference="onnx/sklearn-onnx, operator_converters/nearest_neighbours.py: radius neighbours",
    run=_run,
    touches=frozenset(("Where",)),
)
