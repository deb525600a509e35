"""Functions that are no maps of integers: tables at a scale of their own, and what is made of them.

Before a table a value is counted in steps of 2^-scale, by one division where it is finer, and held
to the range where the function still moves, where it may leave that by far.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.elementwise import clipped
from circuits.lower.emit import name_of
from circuits.lower.emit import shape_of as tensor_shape
from circuits.lower.linear import store
from circuits.lower.lowering import Lowering
from circuits.lower.quantity import Quantity, compact, per_tensor
from circuits.lower.tables import TABLES
from circuits.rewrite.edit import attr, ints, shape_of

#: What stands in a graph for these takes a table; ``Bits.table`` is for graphs with any of them.
TABLED = frozenset({*TABLES, "LogSoftmax", "Softmax"})
#: Relative error allowed, in bits, where a step and a table's have no ratio of a power of two.
_RATIO_BITS = 12
#: A table of more entries than this fits no circuit worth having.
_WIDEST = 1 << 20


def table(low: Lowering, node: ir.Node) -> None:
    """Sigmoid, Tanh, Erf, Exp and Log."""
    store(low, node, through(low, node.op_type, low.quantity(node.inputs[0])))


def through(low: Lowering, op: str, q: Quantity) -> Quantity:
    """An operator of ``TABLES`` on a value."""
    if low.form.saturate:
        q = _saturated(low, op, q)
    q = counted(low, q)
    _check(low, op, q.tensor)
    low.tabled_layers = low.layers
    return Quantity(low.emit.op(op, [q.tensor], tensor_shape(q.tensor)), q.view, q.step)


def _check(low: Lowering, op: str, operand: ir.Value) -> None:
    lowest, highest = low.emit.intervals.known[name_of(operand)]
    if max(float(highest.max()), -float(lowest.min())) > _WIDEST:
        raise ValueError("its values need too wide a table")
    if op == "Log" and float(lowest.min()) < 1:
        raise ValueError("what it takes the logarithm of may be 0, or too small to count")


def _saturated(low: Lowering, op: str, q: Quantity) -> Quantity:
    """q held to where the function moves, on the sides where it may leave that."""
    ends = TABLES[op].useful(low.emit.scale)
    q = compact(low.emit, low.positive(q))
    lowest, highest = low.emit.intervals.known[name_of(q.tensor)]
    steps = per_tensor(q, q.steps())
    lower, upper = ends
    if lower is not None and float((lowest * steps).min()) >= lower:
        lower = None
    if upper is not None and float((highest * steps).max()) <= upper:
        upper = None
    return q if lower is None and upper is None else clipped(low, q, lower, upper)


def counted(low: Lowering, q: Quantity) -> Quantity:
    """The value in steps of 2^-scale, at the tables' scale, rounded half away from zero."""
    emit = low.emit
    q = compact(emit, q)
    unit = 2.0**-emit.scale
    ratios = per_tensor(q, q.steps() / unit)
    shift = _shift(ratios)
    factors = np.round(ratios * 2.0**shift)
    if shift and bool(np.all(factors == 1)):
        shift, factors = shift + 1, factors * 2  # an operator to divide: 1 would be simplified away
    tensor = emit.dividing(q.tensor, shift) if shift else emit.raised(q.tensor, emit.scale)
    if not np.all(factors == 1):
        tensor = emit.op("Mul", [tensor, emit.spread(factors)], tensor_shape(tensor))
    return Quantity(tensor, q.view, np.array(unit))


def _shift(ratios: NDArray[np.float64]) -> int:
    """The bits by which ratios are multiplied to be whole numbers, or nearly so."""
    smallest = float(np.abs(ratios).min())
    most = max(0, math.ceil(-math.log2(smallest)) + _RATIO_BITS)
    whole = (s for s in range(most) if bool(np.all(ratios * 2.0**s % 1 == 0)))
    return next(whole, most)


# --- softmax -----------------------------------------------------------------------------------


def softmax(low: Lowering, node: ir.Node) -> None:
    """exp(d - log(sum of exp(d))) with d = x - max(x): two tables, and no division but one for each
    element, which costs less than the engine's own and keeps every table narrow."""
    shape = shape_of(node.outputs[0])
    axis = attr(node, "axis", -1) % len(shape)
    q = low.uniform(low.quantity(node.inputs[0]))
    low.tabled_layers = low.layers
    order = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, -1)
    rows = low.settled(q.moved(q.view.reshape(-1)[order].reshape(1, -1, shape[axis]), q.step))
    below = counted(low, _below_the_largest(low, rows, keep=node.op_type == "LogSoftmax"))
    _check(low, "Exp", below.tensor)
    result = low.emit.op("Sub", [below.tensor, _log_of_sum(low, below)], rows.shape)
    if node.op_type == "Softmax":
        _check(low, "Exp", result)
        result = low.emit.op("Exp", [result], rows.shape)
    back = np.empty(math.prod(shape), dtype=np.int64)
    back[order.reshape(-1)] = np.arange(back.size)
    store(low, node, low.new(result, below.step).moved(back.reshape(shape), below.step))


def _below_the_largest(low: Lowering, rows: Quantity, keep: bool) -> Quantity:
    """x - max(x) along the last axis of ``[1, rows, n]``; far below it is raised, unless kept."""
    emit, shape = low.emit, rows.shape
    top = low.maxima(rows, [rows.view[0, :, i] for i in range(shape[2])])
    top = emit.reshape(top, [1, shape[1], 1])
    below = emit.op("Sub", [rows.tensor, top], shape)
    lowest, _ = emit.intervals.known[name_of(below)]
    emit.intervals.narrow(name_of(below), lowest, np.zeros_like(lowest))
    q = low.new(below, rows.step)
    return q if keep or not low.form.saturate else _saturated(low, "Exp", q)


def _log_of_sum(low: Lowering, below: Quantity) -> ir.Value:
    """log(sum of exp) along the last axis of numbers whose largest is 0: ``[1, rows, 1]``."""
    emit, shape = low.emit, below.shape
    powers = emit.op("Exp", [below.tensor], shape)
    total = emit.op("ReduceSum", [powers, emit.indices(ints([2]))], [1, shape[1], 1], keepdims=1)
    known = emit.intervals.known[name_of(total)]
    emit.intervals.narrow(name_of(total), np.full_like(known[0], 2.0**emit.scale), known[1])
    _check(low, "Log", total)
    return emit.op("Log", [total], [1, shape[1], 1])
