"""Recurrent layers written out step by step.

The engine alone has operators of their own for them, and reads some wrongly: two directions,
clipping, other activations, the cell state of an LSTM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    shape_of,
)

#: Gates of each layer, and the activations that it has when none are named.
GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
#: Activations that are operators of that name; of these, those that have parameters.
_PLAIN = frozenset({"Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"})
_SHAPED = frozenset({"Elu", "HardSigmoid"})


@dataclass(frozen=True)
class _Layer:
    """One layer being written: ``bend`` holds its activations in the order of the attribute."""

    build: Builder
    weights: ir.Value  # [I, G·H]
    recurrence: ir.Value  # [H, G·H]
    input_bias: ir.Value  # [1, G·H]
    state_bias: ir.Value
    peepholes: NDArray[Any] | None
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


def _unrolled(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """All steps of each direction. Y is ``[steps, directions, batch, hidden]``, Y_h and Y_c are
    ``[directions, batch, hidden]``."""
    sequence, direction = node.inputs[0], attr(node, "direction", "forward")
    if sequence is None or not has_shape(sequence) or attr(node, "layout", 0):
        return None
    count = 2 if direction == "bidirectional" else 1
    made = []
    for number in range(count):
        layer = _layer(node, build, number, count)
        if layer is None:
            return None
        backwards = direction == "reverse" or number == 1
        made.append(_one_direction(node, layer, sequence, number, count, backwards=backwards))
    if count == 1:
        return made[0][: len(node.outputs)]
    pairs = zip(zip(*made, strict=True), (1, 0, 0), strict=True)
    joined = [build.op("Concat", *pair, axis=axis) for pair, axis in pairs]
    return joined[: len(node.outputs)]


def _one_direction(
    node: ir.Node, layer: _Layer, sequence: ir.Value, number: int, count: int, *, backwards: bool
) -> list[ir.Value]:
    """Y, Y_h and Y_c of one direction."""
    build, (steps, batch, _) = layer.build, shape_of(sequence)
    h, c = (_state(node, build, place, (batch, layer.hidden), number, count) for place in (5, 6))
    states = []
    for step in reversed(range(steps)) if backwards else range(steps):
        x = build.op("Gather", sequence, build.const(np.array(step, dtype=np.int64)), axis=0)
        h, c = _step(node, layer, x, h, c)
        states.append(h)
    front, second = build.const(ints([0])), build.const(ints([0, 1]))
    rows = [build.op("Unsqueeze", s, second) for s in (states[::-1] if backwards else states)]
    whole = build.op("Concat", *rows, axis=0) if len(rows) > 1 else rows[0]
    return [whole, *(build.op("Unsqueeze", v, front) for v in (h, c))]


def _layer(node: ir.Node, build: Builder, number: int, count: int) -> _Layer | None:
    """The parts of one direction; None for what is not written here."""
    weights, recurrence = node.inputs[1], node.inputs[2]
    named = attr(node, "activations") or DEFAULTS[node.op_type] * count
    shaped = attr(node, "activation_alpha") or attr(node, "activation_beta")
    if recurrence is None or not has_shape(recurrence) or input_at(node, 4) is not None:
        return None
    if not {*named} <= (_PLAIN if shaped else _PLAIN | _SHAPED):
        return None
    hidden, each = shape_of(recurrence)[2], len(named) // count
    input_bias, state_bias = _biases(node, build, number, hidden * GATES[node.op_type])
    clip = float(attr(node, "clip", 0.0))

    def bent(op_type: str) -> Callable[[ir.Value], ir.Value]:
        def apply(value: ir.Value) -> ir.Value:
            if clip:
                value = build.op("Clip", value, build.const(-clip), build.const(clip))
            return build.op(op_type, value)

        return apply

    return _Layer(
        build=build,
        weights=_turned(weights, build, number),
        recurrence=_turned(recurrence, build, number),
        input_bias=input_bias,
        state_bias=state_bias,
        peepholes=_peepholes(node, number),
        hidden=hidden,
        gates=GATES[node.op_type],
        bend=tuple(bent(name) for name in named[number * each : (number + 1) * each]),
    )


def _turned(weights: ir.Value | None, build: Builder, number: int) -> ir.Value:
    """The weights of one direction, as a matrix behind what it is multiplied by."""
    known = constant(weights)
    if known is not None:
        return build.const(known[number].T.copy())
    return build.op("Transpose", _of_direction(weights, build, number), perm=[1, 0])


def _biases(node: ir.Node, build: Builder, number: int, width: int) -> tuple[ir.Value, ir.Value]:
    """Those of one direction's input and state, ``[1, width]``."""
    given = input_at(node, 3)
    known = np.zeros((number + 1, 2 * width), np.float32) if given is None else constant(given)
    if known is not None:
        both = known[number].reshape(2, width)
        return build.const(both[:1].copy()), build.const(both[1:].copy())
    whole = build.op("Reshape", _of_direction(given, build, number), build.const(ints([2, width])))
    one, other = build.ops("Split", whole, build.const(ints([1, 1])), outputs=2, axis=0)
    return one, other


def _of_direction(value: ir.Value | None, build: Builder, number: int) -> ir.Value:
    """What one direction has of an operand."""
    return build.op("Gather", value, build.const(np.array(number, dtype=np.int64)), axis=0)


def _peepholes(node: ir.Node, number: int) -> NDArray[Any] | None:
    """What the gates of an LSTM see of its cell, ``[3, hidden]``."""
    given = constant(input_at(node, 7))
    return None if given is None else given[number].reshape(3, -1).astype(np.float32)


def _state(
    node: ir.Node, build: Builder, place: int, shape: tuple[int, int], number: int, count: int
) -> ir.Value:
    """The state before the first step: zeros unless the model gives one."""
    given = input_at(node, place)
    if given is None or (place == 6 and node.op_type != "LSTM"):
        return build.const(np.zeros(shape, dtype=np.float32))
    if count == 1:
        return build.op("Squeeze", given, build.const(ints([0])))
    return _of_direction(given, build, number)


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

    def peephole(gate: ir.Value, row: int, cell: ir.Value) -> ir.Value:
        if layer.peepholes is None:
            return gate
        look = build.const(layer.peepholes[row : row + 1])
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


UNROLL_RECURRENT = expanding(
    dict.fromkeys(GATES, _unrolled),
    name="unroll-recurrent",
    version=3,
    purpose="Unrolls LSTM, GRU and RNN, in one direction or two.",
    reference="ONNX operator specification, LSTM, GRU and RNN",
)
