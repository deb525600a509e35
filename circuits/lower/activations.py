"""Functions that are no maps of integers: tables at a scale of their own, and what is made of them.

Before a table a value is counted in steps of 2^-scale, by one division where it is finer, and held
to the range where the function still moves, where it may leave that by far.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.format.function_tables import TABLES, entries
from circuits.lower.elementwise import clipped
from circuits.lower.emit import name_of
from circuits.lower.emit import shape_of as tensor_shape
from circuits.lower.linear import store
from circuits.lower.lowering import Lowering
from circuits.lower.quantity import QuantizedValue, compact, per_tensor
from circuits.rewrite.edit import attr, ints, shape_of

#: What stands in a graph for these takes a table; ``BitWidths.table`` is for graphs with any of
#: them.
TABLED = frozenset({*TABLES, "LogSoftmax", "Softmax"})
#: Relative error allowed, in bits, where a step and a table's have no ratio of a power of two.
_RATIO_BITS = 12
#: A table of more entries than this fits no circuit worth having.
_WIDEST = 1 << 20
#: Arguments of a logarithm beyond this are halved: a table of so many entries is exact enough.
_WIDEST_LOG = 1 << 16
#: Powers of Euler's number up to this one, at any scale, and their sums fit the engine's integers.
_LARGEST_POWER = 64.0


def table(low: Lowering, node: ir.Node) -> None:
    """Tanh, Erf, Exp and Log."""
    store(low, node, through(low, node.op_type, low.quantity(node.inputs[0])))


def sigmoid(low: Lowering, node: ir.Node) -> None:
    store(low, node, logistic(low, low.quantity(node.inputs[0])))


def logistic(low: Lowering, q: QuantizedValue) -> QuantizedValue:
    """(1 + tanh(x / 2)) / 2: a table half as long gives steps half as wide."""
    turned = low.scale(through(low, "Tanh", low.scale(q, np.array(0.5))), np.array(0.5))
    return low.add_constant(turned, np.array(0.5))


def through(low: Lowering, op: str, q: QuantizedValue) -> QuantizedValue:
    """An operator of ``TABLES`` on a value."""
    q = _saturated(low, op, q)
    halvings = _halvings(low, q) if op == "Log" else np.zeros(())
    if np.any(halvings):
        q = low.scale(q, np.exp2(-halvings))
    q = counted(low, q)
    _check(low, op, q.tensor)
    low.tabled_layers = low.layers
    found = QuantizedValue(low.emit.op(op, [q.tensor], tensor_shape(q.tensor)), q.view, q.step)
    return low.add_constant(found, halvings * math.log(2)) if np.any(halvings) else found


def _halvings(low: Lowering, q: QuantizedValue) -> NDArray[np.float64]:
    """How often each element is halved before its logarithm is looked up, so that a table holds
    it: what is then added is its number times log(2)."""
    highest = low.emit.intervals.known[name_of(q.tensor)][1].reshape(-1)
    largest = np.where(q.view >= 0, highest[q.view] * q.steps(), 0.0) * 2.0**low.emit.scale
    with np.errstate(divide="ignore"):
        return np.maximum(0.0, np.ceil(np.log2(np.maximum(largest, 0.0) / _WIDEST_LOG)))


def _check(low: Lowering, op: str, operand: ir.Value) -> None:
    lowest, highest = low.emit.intervals.known[name_of(operand)]
    if max(float(highest.max()), -float(lowest.min())) > _WIDEST:
        raise ValueError("its values need too wide a table")
    if op == "Exp" and float(highest.max()) / 2.0**low.emit.scale > _LARGEST_POWER:
        raise ValueError("its powers outgrow the engine's integers")
    if op == "Log" and float(lowest.min()) < 1:
        raise ValueError("what it takes the logarithm of may be 0, or too small to count")


def _saturated(low: Lowering, op: str, q: QuantizedValue) -> QuantizedValue:
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


def counted(low: Lowering, q: QuantizedValue) -> QuantizedValue:
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
    return QuantizedValue(tensor, q.view, np.array(unit))


def _shift(ratios: NDArray[np.float64]) -> int:
    """The bits by which ratios are multiplied to be integers, or nearly so."""
    smallest = float(np.abs(ratios).min())
    most = max(0, math.ceil(-math.log2(smallest)) + _RATIO_BITS)
    whole = (s for s in range(most) if bool(np.all(ratios * 2.0**s % 1 == 0)))
    return next(whole, most)


# --- softmax -----------------------------------------------------------------------------------


def softmax(low: Lowering, node: ir.Node) -> None:
    """exp(d - log(sum of exp(d))) with d = x - max(x): one division for each element, no product.

    All numbers that enter a table are kept in one short range above 0. ``raised`` is d + reach; the
    sum of its powers is divided by 2^shift before its logarithm is looked up; so the difference is
    log(p) + shift · log(2), and the result counts in steps of 2^-(scale + shift), for free.
    """
    shape = shape_of(node.outputs[0])
    axis = attr(node, "axis", -1) % len(shape)
    q = low.uniform(low.quantity(node.inputs[0]))
    low.tabled_layers = low.layers
    order = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, -1)
    rows = low.materialized(q.moved(q.view.reshape(-1)[order].reshape(1, -1, shape[axis]), q.step))
    logarithm = node.op_type == "LogSoftmax"
    raised, reach, below = _above_zero(low, rows)
    shift = _sum_shift(shape[axis], reach)
    total = _log_of_sum(low, raised, shift)
    minuend = counted(low, below) if logarithm and below is not None else raised
    result = low.emit.op("Sub", [minuend.tensor, total], rows.shape)
    step = 2.0 ** -(low.emit.scale if logarithm else low.emit.scale + shift)
    if logarithm:
        offset = np.round(-shift * math.log(2) * 2.0**low.emit.scale)
        result = low.emit.op("Add", [result, low.emit.whole(offset.reshape(1))], rows.shape)
    else:
        _check(low, "Exp", result)
        result = low.emit.op("Exp", [result], rows.shape)
    back = np.empty(math.prod(shape), dtype=np.int64)
    back[order.reshape(-1)] = np.arange(back.size)
    store(low, node, low.new(result, step).moved(back.reshape(shape), np.array(step)))


def _sum_shift(terms: int, reach: float) -> int:
    """Bits to divide a sum of powers by, so that it is no larger than what the powers are of."""
    largest = math.log2(terms) + reach / math.log(2)
    return max(0, math.ceil(largest - math.log2(max(reach, 1.0))))


def _above_zero(
    low: Lowering, rows: QuantizedValue
) -> tuple[QuantizedValue, float, QuantizedValue | None]:
    """x - max(x) + reach along the last axis of ``[1, rows, n]``, counted for a table and no less
    than 0, and reach: what lies further below the largest hardly adds to a sum of powers. Where
    something may, the third is the same as it was before.
    """
    emit, shape = low.emit, rows.shape
    looks = [rows.view[0, :, i] for i in range(shape[2])]
    top, _ = low.maxima(rows, looks, as_it_is=True)
    step = float(rows.step.reshape(-1)[0])
    lowest, highest = emit.intervals.known[name_of(rows.tensor)]
    spread = float(highest.max() - lowest.min())
    useful, _ = TABLES["Exp"].useful(emit.scale)
    assert useful is not None
    hold = spread * step > -useful
    reach = np.round(-useful / step) if hold else spread
    base = emit.op("Sub", [top, emit.whole(np.full(1, reach))], tensor_shape(top))
    above = emit.op("Sub", [rows.tensor, emit.reshape(base, [1, shape[1], 1])], shape)
    emit.intervals.narrow(
        name_of(above), np.full(shape, reach - spread)[None], np.full(shape, reach)[None]
    )
    raised = counted(low, low.new(low.rectified(above) if hold else above, rows.step))
    _check(low, "Exp", raised.tensor)
    return raised, float(reach) * step, low.new(above, rows.step) if hold else None


def _log_of_sum(low: Lowering, raised: QuantizedValue, shift: int) -> ir.Value:
    """log(sum of exp / 2^shift) along the last axis: ``[1, rows, 1]``."""
    emit, shape = low.emit, raised.shape
    powers = emit.op("Exp", [raised.tensor], shape)
    total = emit.op("ReduceSum", [powers, emit.indices(ints([2]))], [1, shape[1], 1], keepdims=1)
    if shift:  # an operator to divide: one by 1 would be simplified away
        halves = emit.dividing(total, shift + 1)
        total = emit.op("Mul", [halves, emit.whole(np.full(1, 2.0))], [1, shape[1], 1])
    known = emit.intervals.known[name_of(total)]
    least = np.full(known[0].shape, _least_sum(low, raised, shift))
    emit.intervals.narrow(name_of(total), least, known[1])
    _check(low, "Log", total)
    return emit.op("Log", [total], [1, shape[1], 1])


def _least_sum(low: Lowering, raised: QuantizedValue, shift: int) -> float:
    """The least sum of powers: that of the largest element alone."""
    _, highest = low.emit.intervals.known[name_of(raised.tensor)]
    alone = entries("Exp", highest.min(keepdims=True), low.emit.scale)
    return float(np.floor(alone.min() / 2.0**shift))
