"""Recurrent layers that run backwards, turned around: the engine runs forwards only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import Builder, attr, constant, expanding, input_at, shape_of

#: Inputs that hold one slice for each direction: W, R, B, initial_h, initial_c, P.
_PER_DIRECTION = (1, 2, 3, 5, 6, 7)


def _directions(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    direction = attr(node, "direction", "forward")
    sequence = node.inputs[0]
    if direction == "forward" or sequence is None:
        return None
    if input_at(node, 4) is not None or attr(node, "layout", 0):
        return None
    count = 2 if direction == "bidirectional" else 1
    steps = shape_of(sequence)[0]
    back = build.const(np.arange(steps - 1, -1, -1, dtype=np.int64))
    backward = [count == 1 or d == 1 for d in range(count)]
    made: list[list[ir.Value]] = []
    for d, turned in enumerate(backward):
        source = build.op("Gather", sequence, back, axis=0) if turned else sequence
        outputs = list(_one(node, d, count, source, build))
        if turned:
            outputs[0] = build.op("Gather", outputs[0], back, axis=0)
        made.append(outputs)
    if count == 1:
        return made[0]
    # Y is [steps, directions, batch, hidden]; Y_h and Y_c are [directions, batch, hidden].
    return [
        build.op("Concat", *pair, axis=1 if position == 0 else 0)
        for position, pair in enumerate(zip(*made, strict=True))
    ]


def _one(
    node: ir.Node, direction: int, count: int, sequence: ir.Value, build: Builder
) -> Sequence[ir.Value]:
    inputs: list[ir.Value | None] = [sequence]
    for index in range(1, len(node.inputs)):
        value = node.inputs[index]
        if value is not None and index in _PER_DIRECTION and count > 1:
            known = constant(value)
            if known is not None:
                value = build.const(known[direction : direction + 1])
            else:
                where = build.const(np.array([direction], dtype=np.int64))
                value = build.op("Gather", value, where, axis=0)
        inputs.append(value)
    attributes = {
        k: attr(node, k) for k in node.attributes if k not in ("direction", "activations")
    }
    activations = attr(node, "activations")
    if activations:
        each = len(activations) // count
        attributes["activations"] = activations[direction * each : (direction + 1) * each]
    return build.ops(node.op_type, *inputs, outputs=len(node.outputs), **attributes)


SPLIT_DIRECTIONS = expanding(
    {
        "LSTM": _directions,
        "GRU": _directions,
        "RNN": _directions,
    },
    name="split-directions",
    version=1,
    purpose="Reverse and bidirectional LSTM, GRU and RNN as forward ones on turned sequences.",
    reference="ONNX operator specification, LSTM; EZKL panics on two directions",
)
