"""Comparisons, and what is made of their truths: 0 and 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.elementwise import product
from circuits.lower.emit import shape_of as tensor_shape
from circuits.lower.levels import NEGATED, cut
from circuits.lower.linear import store
from circuits.lower.lowering import Lowering, refuse
from circuits.lower.quantity import ZERO, QuantizedValue
from circuits.rewrite.comparisons import MIRRORED
from circuits.rewrite.edit import shape_of


def compare(low: Lowering, node: ir.Node) -> None:
    """Comparisons, of two values or of a value and a constant."""
    a, b = node.inputs[0], node.inputs[1]
    shape = shape_of(node.outputs[0])
    op = node.op_type
    right: ir.Value | NDArray[np.float64]
    if low.is_known(a) and low.is_known(b):
        x, y = low.aligned([low.broadcast(low.quantity(v), shape) for v in (a, b)])
        left, right = low.materialized(x).tensor, low.materialized(y).tensor
        if op in ("Less", "GreaterOrEqual"):
            left, right = right, left
        negate = op in ("GreaterOrEqual", "LessOrEqual")
    else:
        if not low.is_known(a):
            a, b, op = b, a, MIRRORED[op]
        q = low.materialized(low.broadcast(low.positive(low.quantity(a)), shape))
        raw = np.broadcast_to(low.constant(node, b), shape)
        steps = np.broadcast_to(q.steps(), shape)
        assert node.outputs[0].name is not None
        low.compared[node.outputs[0].name] = steps
        left, right = q.tensor, _whole(node, raw, steps) if op == "Equal" else cut(op, raw, steps)
        negate = op in NEGATED
    if op == "Equal":
        store(low, node, _truth(low, "Equal", left, right, shape))
    elif low.tables and not _in_steps(low, left, right):
        store(low, node, low.new(_stepped(low, left, right, shape, negate), 1.0))
    else:
        truth = _truth(low, "Greater", left, right, shape)
        store(low, node, _negated(low, truth) if negate else truth)


def _in_steps(low: Lowering, left: ir.Value, right: ir.Value | NDArray[np.float64]) -> bool:
    """Whether a value came out of a table, whose scale a further table would take."""
    values = [left, right] if isinstance(right, ir.Value) else [left]
    return any(low.emit.scale_of(v) for v in values)


def _stepped(
    low: Lowering,
    left: ir.Value,
    right: ir.Value | NDArray[np.float64],
    shape: tuple[int, ...],
    negate: bool,
) -> ir.Value:
    """left > right as left - right - 1 ≥ 0; its negation as right - left ≥ 0."""
    if isinstance(right, ir.Value):
        operands = [right, left] if negate else [left, right]
        gap = low.emit.op("Sub", operands, shape)
        less = gap if negate else low.emit.op("Add", [gap, low.emit.spread(-np.ones(1))], shape)
        return low.step(less)
    fixed = _constant_beside(low, left, right if negate else right + 1)
    return low.step(low.emit.op("Sub", [fixed, left] if negate else [left, fixed], shape))


def _whole(
    node: ir.Node, raw: NDArray[np.float64], steps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The integer that a value has to equal."""
    level = raw / steps
    if not np.all(level == np.round(level)):
        raise refuse(node, "equality with a number that rounding moves")
    return level


def _constant_beside(low: Lowering, value: ir.Value, numbers: NDArray[np.float64]) -> ir.Value:
    """Integers to compare a value with, each exactly: a comparison hangs on the last of them."""
    if low.emit.scale_of(value):  # such a constant is written divided, as the value is
        return low.emit.spread(numbers)
    return low.emit.spread_exactly(numbers)


def _truth(
    low: Lowering,
    op: str,
    left: ir.Value,
    right: ir.Value | NDArray[np.float64],
    shape: tuple[int, ...],
) -> QuantizedValue:
    """The engine's own comparison, as 0 and 1."""
    other = right if isinstance(right, ir.Value) else _constant_beside(low, left, right)
    truth = low.emit.op(op, [left, other], shape, ir.DataType.BOOL)
    return low.new(low.emit.op("Cast", [truth], shape, to=int(ir.DataType.FLOAT)), 1.0)


def _negated(low: Lowering, truth: QuantizedValue) -> QuantizedValue:
    shape = tensor_shape(truth.tensor)
    flipped = low.emit.op("Sub", [low.emit.whole(np.ones(1)), truth.tensor], shape)
    return low.new(flipped, 1.0)


def logical(low: Lowering, node: ir.Node) -> None:
    """Not, And, Or on 0 and 1."""
    q = low.quantity(node.inputs[0])
    if node.op_type == "Not":
        store(low, node, low.add_constant(low.positive(replace(q, step=-q.step)), np.ones(1)))
        return
    both = product(low, node, q, low.quantity(node.inputs[1]))
    if node.op_type == "And":
        store(low, node, both)
        return
    either = low.add(q, low.quantity(node.inputs[1]))
    store(low, node, low.add(either, replace(both, step=-both.step)))


def where(low: Lowering, node: ir.Node) -> None:
    """b + c · (a - b), for a condition of 0 and 1."""
    c, a, b = node.inputs[0], node.inputs[1], node.inputs[2]
    shape = shape_of(node.outputs[0])
    if not low.is_known(c):
        truth = np.broadcast_to(low.constant(node, c) != 0, shape)
        store(low, node, _merged(low, node, {True: a, False: b}, truth))
        return
    condition = low.broadcast(low.quantity(c), shape)
    if not (low.is_known(a) or low.is_known(b)):
        high, bottom = low.constant(node, a), low.constant(node, b)
        unit = 2.0 ** -(low.bits.weight(low.layers) + 8)
        gap = np.round((high - bottom) / unit) * unit
        store(low, node, low.add_constant(low.uniform(low.scale(condition, gap)), bottom))
        return
    if low.is_known(a) and low.is_known(b):
        low_b = low.broadcast(low.quantity(b), shape)
        gap_q = low.add(low.broadcast(low.quantity(a), shape), replace(low_b, step=-low_b.step))
        store(low, node, low.add(product(low, node, gap_q, condition), low_b))
        return
    # One branch is constant: the gap between it and the other one is (x - k), rounded as k is.
    value, fixed = (a, b) if low.is_known(a) else (b, a)
    level = np.broadcast_to(low.constant(node, fixed), shape)
    q = low.positive(low.broadcast(low.quantity(value), shape))
    gap_q = low.add_constant(q, -level)
    chosen = product(low, node, gap_q, condition)
    if value is a:
        store(low, node, low.add_constant(chosen, level))
        return
    store(low, node, low.add(q, replace(chosen, step=-chosen.step)))


def _merged(
    low: Lowering,
    node: ir.Node,
    branches: dict[bool, ir.Value | None],
    truth: NDArray[np.bool_],
) -> QuantizedValue:
    """What a constant condition chooses of each branch, zeros elsewhere, added."""
    total: QuantizedValue | None = None
    fixed = np.zeros(truth.shape)
    for wanted, value in branches.items():
        here = truth == wanted
        if not low.is_known(value):
            fixed = np.where(here, low.constant(node, value), fixed)
            continue
        q = low.broadcast(low.quantity(value), truth.shape)
        part = q.moved(np.where(here, q.view, ZERO), q.step)
        total = part if total is None else low.add(total, part)
    assert total is not None
    return low.add_constant(total, fixed)
