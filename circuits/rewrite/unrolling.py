"""Recurrent layers written out step by step, where the engine's own reading of them is wrong.

It runs every LSTM, GRU and RNN with the default activations and without clipping, and gives the
cell state of an LSTM after one step too few.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import (
    Builder,
    attr,
    constant,
    expand,
    expanding,
    has_shape,
    input_at,
    ints,
    shape_of,
)

#: Gates of each layer, and the activations that it has when none are named.
GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
#: Activations that are operators of that name, with the same default parameters.
_OPERATORS = frozenset({"Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign", "Softplus", "Elu"})


@dataclass(frozen=True)
class _Layer:
    """One layer being written: ``bend`` holds its activations in the order of the attribute."""

    build: Builder
    weights: ir.Value  # [I, G·H]
    recurrence: ir.Value  # [H, G·H]
    input_bias: ir.Value  # [1, G·H]
    state_bias: ir.Value
    hidden: int
    gates: int
    bend: tuple[Callable[[ir.Value], ir.Value], ...]

    def op(self, op_type: str, *inputs: ir.Value) -> ir.Value:
        return self.build.op(op_type, *inputs)

    def split(self, value: ir.Value) -> Sequence[ir.Value]:
        if self.gates == 1:
            return [value]
        sizes = self.build.const(ints([self.hidden] * self.gates))
        return self.build.ops("Split", value, sizes, outputs=self.gates, axis=1)

    def of_input(self, x: ir.Value) -> ir.Value:
        return self.op("Add", self.op("MatMul", x, self.weights), self.input_bias)

    def of_state(self, h: ir.Value) -> ir.Value:
        return self.op("Add", self.op("MatMul", h, self.recurrence), self.state_bias)


def wants_unrolling(node: ir.Node) -> bool:
    """Whether the node asks for what the engine does not do."""
    named = tuple(attr(node, "activations") or DEFAULTS[node.op_type])
    cell = node.op_type == "LSTM" and len(node.outputs) > 2 and bool(node.outputs[2].uses())
    exported = node.op_type == "LSTM" and any(o.is_graph_output() for o in node.outputs[2:])
    return (
        named != DEFAULTS[node.op_type]
        or bool(attr(node, "clip", 0.0))
        or bool(attr(node, "input_forget", 0))
        or cell
        or exported
    )


def _where_wanted(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    return _unrolled(node, build) if wants_unrolling(node) else None


def _unrolled(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    sequence = node.inputs[0]
    if sequence is None or not has_shape(sequence):
        return None
    layer = _layer(node, build)
    if layer is None:
        return None
    steps, batch, _ = shape_of(sequence)
    h, c = (_state(node, build, place, (batch, layer.hidden)) for place in (5, 6))
    states = []
    for step in range(steps):
        x = build.op("Gather", sequence, build.const(np.array(step, dtype=np.int64)), axis=0)
        h, c = _step(node, layer, x, h, c)
        states.append(h)
    front, second = build.const(ints([0])), build.const(ints([0, 1]))
    rows = [build.op("Unsqueeze", s, second) for s in states]
    whole = build.op("Concat", *rows, axis=0) if len(rows) > 1 else rows[0]
    ends = [build.op("Unsqueeze", v, front) for v in (h, c)]
    return [whole, *ends][: len(node.outputs)]


def _layer(node: ir.Node, build: Builder) -> _Layer | None:
    """The layer's parts; None for what is not constant, or not written here."""
    weights, recurrence = constant(node.inputs[1]), constant(node.inputs[2])
    biases, lengths = constant(input_at(node, 3)), input_at(node, 4)
    plain = attr(node, "direction", "forward") == "forward" and not attr(node, "layout", 0)
    named = attr(node, "activations") or DEFAULTS[node.op_type]
    shaped = attr(node, "activation_alpha") or attr(node, "activation_beta")
    if weights is None or recurrence is None or lengths is not None or not plain:
        return None
    if (biases is None and input_at(node, 3) is not None) or not {*named} <= _OPERATORS or shaped:
        return None
    width = weights.shape[1]
    both = np.zeros((2, width), np.float32) if biases is None else biases.reshape(2, width)
    clip = float(attr(node, "clip", 0.0))

    def bent(op_type: str) -> Callable[[ir.Value], ir.Value]:
        def apply(value: ir.Value) -> ir.Value:
            if clip:
                value = build.op("Clip", value, build.const(-clip), build.const(clip))
            return build.op(op_type, value)

        return apply

    return _Layer(
        build=build,
        weights=build.const(weights[0].T.copy()),
        recurrence=build.const(recurrence[0].T.copy()),
        input_bias=build.const(both[:1].copy()),
        state_bias=build.const(both[1:].copy()),
        hidden=recurrence.shape[2],
        gates=GATES[node.op_type],
        bend=tuple(bent(name) for name in named),
    )


def _state(node: ir.Node, build: Builder, place: int, shape: tuple[int, int]) -> ir.Value:
    """The state before the first step: zeros unless the model gives one."""
    given = input_at(node, place)
    if given is None or (place == 6 and node.op_type != "LSTM"):
        return build.const(np.zeros(shape, dtype=np.float32))
    return build.op("Squeeze", given, build.const(ints([0])))


def _step(
    node: ir.Node, layer: _Layer, x: ir.Value, h: ir.Value, c: ir.Value
) -> tuple[ir.Value, ir.Value]:
    if node.op_type == "LSTM":
        return _lstm_step(node, layer, x, h, c)
    if node.op_type == "GRU":
        return _gru_step(node, layer, x, h), c
    return layer.bend[0](layer.op("Add", layer.of_input(x), layer.of_state(h))), c


def _lstm_step(
    node: ir.Node, layer: _Layer, x: ir.Value, h: ir.Value, c: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Gates in the order input, output, forget, cell."""
    build = layer.build
    i, o, f, g = layer.split(layer.op("Add", layer.of_input(x), layer.of_state(h)))
    peep = constant(input_at(node, 7))
    weights = np.zeros((3, layer.hidden)) if peep is None else peep.reshape(3, layer.hidden)

    def peephole(gate: ir.Value, row: int, cell: ir.Value) -> ir.Value:
        if peep is None:
            return gate
        look = build.const(weights[row : row + 1].astype(np.float32))
        return layer.op("Add", gate, layer.op("Mul", cell, look))

    opened = layer.bend[0](peephole(i, 0, c))
    if attr(node, "input_forget", 0):
        kept = layer.op("Sub", build.const(1.0), opened)
    else:
        kept = layer.bend[0](peephole(f, 2, c))
    cell = layer.op("Add", layer.op("Mul", kept, c), layer.op("Mul", opened, layer.bend[1](g)))
    out = layer.bend[0](peephole(o, 1, cell))
    return layer.op("Mul", out, layer.bend[2](cell)), cell


def _gru_step(node: ir.Node, layer: _Layer, x: ir.Value, h: ir.Value) -> ir.Value:
    """Gates in the order update, reset, hidden."""
    from_x, from_h = layer.split(layer.of_input(x)), layer.split(layer.of_state(h))
    update, reset = (
        layer.bend[0](layer.op("Add", a, b)) for a, b in zip(from_x[:2], from_h[:2], strict=True)
    )
    if attr(node, "linear_before_reset", 0):
        new = layer.op("Mul", reset, from_h[2])
    else:
        new = layer.split(layer.of_state(layer.op("Mul", reset, h)))[2]
    fresh = layer.bend[1](layer.op("Add", from_x[2], new))
    other = layer.op("Sub", layer.build.const(1.0), update)
    return layer.op("Add", layer.op("Mul", other, fresh), layer.op("Mul", update, h))


def unroll(model: ir.Model) -> None:
    """Writes every recurrent layer step by step, for those who have no operator of its own."""
    expand(model, dict.fromkeys(GATES, _unrolled))


UNROLL_RECURRENT = expanding(
    dict.fromkeys(GATES, _where_wanted),
    name="unroll-recurrent",
    version=1,
    purpose="LSTM, GRU and RNN with clipping, other activations or a cell output, step by step.",
    reference="ONNX operator specification, LSTM, GRU and RNN; EZKL ignores these attributes",
)
