"""Running sums: the engine leaves out where they start and in which direction they go."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import Builder, Pass, attr, constant, expand, input_at, shape_of


def _running_sum(node: ir.Node, build: Builder) -> ir.Value | None:
    """Backwards on a turned axis; without its own element, less that element."""
    value, axis = node.inputs[0], constant(input_at(node, 1))
    backwards, exclusive = attr(node, "reverse", 0), attr(node, "exclusive", 0)
    if value is None or axis is None or not (backwards or exclusive):
        return None
    along = int(axis.reshape(-1)[0]) % len(shape_of(value))
    turn = build.const(np.arange(shape_of(value)[along] - 1, -1, -1, dtype=np.int64))
    source = build.op("Gather", value, turn, axis=along) if backwards else value
    total = build.op("CumSum", source, build.const(np.array(along, dtype=np.int64)))
    if exclusive:
        total = build.op("Sub", total, source)
    return build.op("Gather", total, turn, axis=along) if backwards else total


def _run(model: ir.Model) -> None:
    expand(model, {"CumSum": _running_sum})


PLAIN_SUMS = Pass(
    name="plain-sums",
    version=1,
    purpose="Exclusive and reversed running sums by plain ones.",
    reference="ONNX operator specification, CumSum; EZKL ignores exclusive and panics on reverse",
    run=_run,
    touches=frozenset(("CumSum",)),
)
