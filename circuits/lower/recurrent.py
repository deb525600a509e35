"""LSTM, step by step: one product, one division and one table for all gates of a step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.activations import logistic, through
from circuits.lower.elementwise import multiplied
from circuits.lower.linear import windowed
from circuits.lower.lowering import Lowering, refuse
from circuits.lower.movement import joined
from circuits.lower.quantity import QuantizedValue
from circuits.rewrite.edit import attr, constant, input_at

Floats = NDArray[np.float64]

#: What is set only where an LSTM is another function than the one below.
_ELSEWHERE = (
    "activations",
    "activation_alpha",
    "activation_beta",
    "clip",
    "input_forget",
    "layout",
)


def lstm(low: Lowering, node: ir.Node) -> None:
    """``X [T, B, I]`` to ``Y [T, 1, B, H]``, ``Y_h`` and ``Y_c [1, B, H]``, starting from zeros."""
    _check(low, node)
    x = low.quantity(node.inputs[0])
    w, r = (low.constant(node, node.inputs[i])[0].T for i in (1, 2))
    hidden = len(r)
    bias = _bias(low, node, 4 * hidden)
    states: list[QuantizedValue] = []
    cell: QuantizedValue | None = None
    for time in range(x.shape[0]):
        now = _at(x, time)
        if states:
            now = joined(low, [now, states[-1]], axis=1)
        weights = np.concatenate([w, r]) if states else w
        places = np.arange(now.view.size).reshape(now.shape)
        gates = windowed(low, now, places, weights, bias)
        cell, state = _step(low, gates, cell, hidden)
        states.append(state)
    assert cell is not None
    whole = joined(low, [_lifted(s, (1, 1, *s.shape)) for s in states], axis=0)
    for output, q in zip(
        node.outputs, (whole, _lifted(states[-1], None), _lifted(cell, None)), strict=False
    ):
        if output.name:
            low.known[output.name] = q


def _check(low: Lowering, node: ir.Node) -> None:
    direction = attr(node, "direction", "forward")
    if direction != "forward" or any(attr(node, name, 0) for name in _ELSEWHERE):
        raise refuse(node, "a direction, layout or activation other than the usual")
    for place in (4, 5, 6, 7):
        value = input_at(node, place)
        given = None if value is None else constant(value)
        if value is not None and (place in (4, 7) or given is None or np.any(given)):
            raise refuse(node, "lengths, peepholes, or a first state that is not zero")
    if low.is_known(node.inputs[1]) or low.is_known(node.inputs[2]):
        raise refuse(node, "weights that depend on the input")


def _bias(low: Lowering, node: ir.Node, length: int) -> Floats:
    """The input's bias and the state's, which only ever come together."""
    given = input_at(node, 3)
    if given is None:
        return np.zeros(length)
    both: Floats = low.constant(node, given)[0].reshape(2, length).sum(axis=0)
    return both


def _at(x: QuantizedValue, time: int) -> QuantizedValue:
    return x.moved(x.view[time], x.step if x.step.size == 1 else x.steps()[time])


def _lifted(q: QuantizedValue, shape: tuple[int, ...] | None) -> QuantizedValue:
    shape = (1, *q.shape) if shape is None else shape
    return q.moved(q.view.reshape(shape), q.step if q.step.size == 1 else q.step.reshape(shape))


def _step(
    low: Lowering, gates: QuantizedValue, cell: QuantizedValue | None, hidden: int
) -> tuple[QuantizedValue, QuantizedValue]:
    """The next cell and state ``[B, H]`` of gates ``[B, 4H]`` in the order input, output, forget,
    cell."""
    opened = logistic(low, _columns(gates, 0, 3 * hidden))
    enter, leave, keep = (_columns(opened, i * hidden, (i + 1) * hidden) for i in range(3))
    fresh = through(low, "Tanh", _columns(gates, 3 * hidden, 4 * hidden))
    added = multiplied(low, enter, fresh, enter.shape)
    if cell is not None:
        added = low.add(multiplied(low, keep, cell, keep.shape), added)
    shown = through(low, "Tanh", added)
    return added, multiplied(low, leave, shown, leave.shape)


def _columns(q: QuantizedValue, start: int, end: int) -> QuantizedValue:
    step = q.step if q.step.size == 1 else q.steps()[:, start:end]
    return replace(q, view=q.view[:, start:end], step=step)
