"""Sums, products and rectifiers, element by element."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.emit import name_of
from circuits.lower.emit import shape_of as tensor_shape
from circuits.lower.linear import store
from circuits.lower.lowering import Lowering, refuse
from circuits.lower.quantity import QuantizedValue, compact, gather, per_tensor
from circuits.rewrite.edit import attr, constant, input_at, shape_of
from circuits.rewrite.integers import is_whole

#: Bits of a slope (LeakyRelu, PRelu, HardSigmoid) that is rounded.
_SLOPE_BITS = 12


def add(low: Lowering, node: ir.Node) -> None:
    """Add, and Sum of any number of operands."""
    values = [v for v in node.inputs if v is not None]
    shape = shape_of(node.outputs[0])
    total: QuantizedValue | None = None
    fixed = np.zeros(())
    for value in values:
        if not low.is_known(value):
            fixed = fixed + low.constant(node, value)
            continue
        q = low.broadcast(low.quantity(value), shape)
        total = q if total is None else low.add(total, q)
    assert total is not None
    store(low, node, low.add_constant(total, fixed) if np.any(fixed) else total)


def sub(low: Lowering, node: ir.Node) -> None:
    a, b = node.inputs[0], node.inputs[1]
    shape = shape_of(node.outputs[0])
    if not low.is_known(b):
        store(low, node, low.add_constant(low.quantity(a), -low.constant(node, b)))
        return
    right = low.broadcast(low.quantity(b), shape)
    right = replace(right, step=-right.step)
    if not low.is_known(a):
        store(low, node, low.add_constant(low.positive(right), low.constant(node, a)))
        return
    rest = low.add(low.broadcast(low.quantity(a), shape), right)
    _bound_rest(low, node, rest)
    store(low, node, rest)


def _bound_rest(low: Lowering, node: ir.Node, rest: QuantizedValue) -> None:
    """a - a · t lies between 0 and a for every t from 0 to 1: what goes to the other child of a
    tree's node, whose bounds would double at every level."""
    a, made = node.inputs[0], node.inputs[1].producer() if node.inputs[1] is not None else None
    if made is None or made.op_type != "Mul" or a not in made.inputs:
        return
    share = made.inputs[1] if made.inputs[0] is a else made.inputs[0]
    whole, part = low.quantity(a), low.quantity(made.outputs[0])
    if not low.is_known(share) or whole.uniform is None or whole.uniform <= 0:
        return
    if not whole.uniform == part.uniform == rest.uniform:
        return
    q = low.quantity(share)
    lowest, highest = low.emit.intervals.known[name_of(q.tensor)]
    # A truth counted in ones: then the product was neither divided nor rounded.
    if q.uniform != 1.0 or lowest.min() < 0 or highest.max() > 1:
        return
    lowest, highest = low.emit.intervals.known[name_of(whole.tensor)]
    ends = np.array(min(0.0, lowest.min())), np.array(max(0.0, highest.max()))
    low.emit.intervals.narrow(name_of(rest.tensor), *ends)


def mul(low: Lowering, node: ir.Node) -> None:
    a, b = node.inputs[0], node.inputs[1]
    if low.is_known(a) and low.is_known(b):
        store(low, node, product(low, node, low.quantity(a), low.quantity(b)))
        return
    value, factor = (a, b) if low.is_known(a) else (b, a)
    store(low, node, low.scale(low.quantity(value), low.constant(node, factor)))


def product(low: Lowering, node: ir.Node, a: QuantizedValue, b: QuantizedValue) -> QuantizedValue:
    """The elementwise product of two values, broadcast to the node's shape; its step is the product
    of theirs, unless the engine divides it."""
    shape = shape_of(node.outputs[0])
    if a is b:
        return square(low, a)
    a = low.fitting(a, low.bits_of(b))
    b = low.fitting(b, low.bits_of(a))
    a, b = compact(low.emit, low.broadcast(a, shape)), low.broadcast(b, shape)
    order = np.empty(a.view.size, dtype=np.int64)
    order[a.view.reshape(-1)] = b.view.reshape(-1)
    other = gather(low.emit, b, order, tensor_shape(a.tensor))
    tensor = low.emit.op("Mul", [a.tensor, other], tensor_shape(a.tensor))
    steps = a.step * b.step if a.step.size == b.step.size == 1 else a.steps() * b.steps()
    return QuantizedValue(tensor, a.view, steps * low.emit.divisor(tensor))


def square(low: Lowering, q: QuantizedValue) -> QuantizedValue:
    """x · x."""
    q = compact(low.emit, low.fitting(q, low.bits_of(q)))
    tensor = low.emit.op("Mul", [q.tensor, q.tensor], tensor_shape(q.tensor))
    return QuantizedValue(tensor, q.view, q.step * q.step * low.emit.divisor(tensor))


def div(low: Lowering, node: ir.Node) -> None:
    if low.is_known(node.inputs[1]):
        raise refuse(node, "it divides by a value that depends on the input")
    divisor = low.constant(node, node.inputs[1])
    if np.any(divisor == 0):
        raise refuse(node, "it divides by zero")
    store(low, node, low.scale(low.quantity(node.inputs[0]), 1.0 / divisor))


def neg(low: Lowering, node: ir.Node) -> None:
    q = low.quantity(node.inputs[0])
    store(low, node, replace(q, step=-q.step))


def power(low: Lowering, node: ir.Node) -> None:
    exponent = low.constant(node, node.inputs[1])
    number = float(exponent.reshape(-1)[0])
    if exponent.size != 1 or number not in (1.0, 2.0, 3.0, 4.0):
        raise refuse(node, f"power {number:g}")
    q = low.quantity(node.inputs[0])
    result = q
    for _ in range(int(number) - 1):
        result = product(low, node, result, q)
    store(low, node, result)


def batch_normalisation(low: Lowering, node: ir.Node) -> None:
    gamma, beta, mean, variance = (low.constant(node, v) for v in node.inputs[1:5])
    factor = gamma / np.sqrt(variance + float(attr(node, "epsilon", 1e-5)))
    q = low.quantity(node.inputs[0])
    shape = [1, -1, *([1] * (q.view.ndim - 2))]
    scaled = low.scale(q, factor.reshape(shape))
    store(low, node, low.add_constant(low.positive(scaled), (beta - mean * factor).reshape(shape)))


def relu(low: Lowering, node: ir.Node) -> None:
    """ReLU; one that only a MaxPool reads is put off until after it."""
    q = low.quantity(node.inputs[0])
    uses = list(node.outputs[0].uses())
    later = (
        len(uses) == 1
        and uses[0].node.op_type == "MaxPool"
        and not node.outputs[0].is_graph_output()
    )
    store(low, node, replace(low.positive(q), relu=True) if later else low.relu(q))


def leaky_relu(low: Lowering, node: ir.Node) -> None:
    """slope · x + (1 - slope) · relu(x), the slope rounded to 12 bits; PRelu too."""
    if node.op_type == "PRelu":
        slope = low.constant(node, node.inputs[1])
    else:
        slope = np.array(float(attr(node, "alpha", 0.01)))
    q = compact(low.emit, low.positive(low.quantity(node.inputs[0])))
    unit = 2.0**-_SLOPE_BITS
    whole = np.round(np.broadcast_to(slope, q.shape) / unit)
    straight = low.emit.spread(per_tensor(q, whole))
    bent = low.emit.spread(per_tensor(q, 1 / unit - whole))
    shape = tensor_shape(q.tensor)
    above = low.rectified(q.tensor)
    parts = [
        low.emit.op("Mul", [q.tensor, straight], shape),
        low.emit.op("Mul", [above, bent], shape),
    ]
    store(low, node, QuantizedValue(low.emit.op("Add", parts, shape), q.view, q.step * unit))


def absolute(low: Lowering, node: ir.Node) -> None:
    store(low, node, magnitude(low, low.quantity(node.inputs[0])))


def magnitude(low: Lowering, q: QuantizedValue) -> QuantizedValue:
    """|x|."""
    q = compact(low.emit, low.positive(q))
    return QuantizedValue(low.emit.op("Abs", [q.tensor], tensor_shape(q.tensor)), q.view, q.step)


def quantised_round(low: Lowering, node: ir.Node) -> None:
    """The rounding of a quantised layer, left out: what it adds is half a step of 8 bits at most,
    less than what rounding it again would cost. How exact the circuit is without is measured, as of
    every graph; of any other rounding that would be nothing to start from."""
    before = node.inputs[0].producer() if node.inputs[0] is not None else None
    scaled = before is not None and before.op_type in ("Div", "Mul")
    if not scaled or not _is_clipped(node.outputs[0]):
        raise refuse(node, "it jumps")
    store(low, node, low.quantity(node.inputs[0]))


def _is_clipped(value: ir.Value) -> bool:
    """Whether all that reads the value clips it, a constant added first or not."""
    uses = list(value.uses())
    return (
        bool(uses)
        and not value.is_graph_output()
        and all(
            use.node.op_type == "Clip"
            or (use.node.op_type == "Add" and _is_clipped(use.node.outputs[0]))
            for use in uses
        )
    )


def clip(low: Lowering, node: ir.Node) -> None:
    """Clip between constants: lower + relu(x - lower) - relu(x - upper)."""
    bounds = [constant(input_at(node, i)) for i in (1, 2)]
    if any(
        input_at(node, i) is not None and b is None for i, b in zip((1, 2), bounds, strict=True)
    ):
        raise refuse(node, "bounds that are not constant")
    lower, upper = (None if b is None else float(b.reshape(-1)[0]) for b in bounds)
    store(low, node, clipped(low, low.quantity(node.inputs[0]), lower, upper))


def clipped(
    low: Lowering, q: QuantizedValue, lower: float | None, upper: float | None
) -> QuantizedValue:
    """min(max(x, lower), upper), each bound rounded to the value's step."""
    q = compact(low.emit, low.positive(q))
    shape = tensor_shape(q.tensor)
    floor = None if lower is None else per_tensor(q, np.round(lower / q.steps()))
    ceiling = None if upper is None else per_tensor(q, np.round(upper / q.steps()))
    tensor = q.tensor
    if floor is not None:
        tensor = _raised(low, _shifted(low, tensor, -floor), floor)
    if ceiling is not None:
        source = tensor if floor is None else q.tensor
        over = low.rectified(_shifted(low, source, -ceiling))
        tensor = low.emit.op("Sub", [tensor, over], shape)
        if floor is not None:
            top = np.maximum(floor, ceiling)
            low.emit.intervals.narrow(name_of(tensor), floor[None], top[None])
    return QuantizedValue(tensor, q.view, q.step)


def _raised(low: Lowering, shifted: ir.Value, floor: NDArray[np.float64]) -> ir.Value:
    return _shifted(low, low.rectified(shifted), floor)


def _shifted(low: Lowering, tensor: ir.Value, by: NDArray[np.float64]) -> ir.Value:
    if not np.any(by):
        return tensor
    return low.emit.op("Add", [tensor, low.emit.spread(by)], tensor_shape(tensor))


def hard_sigmoid(low: Lowering, node: ir.Node) -> None:
    alpha, beta = float(attr(node, "alpha", 0.2)), float(attr(node, "beta", 0.5))
    scaled = low.scale(low.quantity(node.inputs[0]), np.array(alpha))
    store(low, node, clipped(low, low.add_constant(scaled, np.array(beta)), 0.0, 1.0))


def hard_swish(low: Lowering, node: ir.Node) -> None:
    """x · clip(x / 6 + 1/2, 0, 1)."""
    q = low.quantity(node.inputs[0])
    gate = clipped(low, low.add_constant(low.scale(q, np.array(1 / 6)), np.array(0.5)), 0.0, 1.0)
    store(low, node, product(low, node, q, gate))


def extremum(low: Lowering, node: ir.Node) -> None:
    """Max and Min of two values, or of a value and a constant."""
    a, b = node.inputs[0], node.inputs[1]
    largest = node.op_type == "Max"
    shape = shape_of(node.outputs[0])
    if not (low.is_known(a) and low.is_known(b)):
        value, fixed = (a, b) if low.is_known(a) else (b, a)
        level = low.constant(node, fixed)
        if level.size != 1:
            raise refuse(node, "a constant of many values")
        number = float(level.reshape(-1)[0])
        q = low.broadcast(low.quantity(value), shape)
        limits = (number, None) if largest else (None, number)
        store(low, node, clipped(low, q, *limits))
        return
    operands = [low.broadcast(low.quantity(v), shape) for v in (a, b)]
    x, y = (low.materialized(q) for q in low.aligned(operands))
    if largest:
        store(low, node, low.new(low.maximum(x.tensor, y.tensor), x.step))
        return
    over = low.rectified(low.emit.op("Sub", [x.tensor, y.tensor], shape))
    store(low, node, low.new(low.emit.op("Sub", [x.tensor, over], shape), x.step))


def _counts_in_parts(q: QuantizedValue) -> bool:
    """Whether it counts in a whole part of one, in which integers stay what they are."""
    step = q.uniform
    return step is not None and 0 < step <= 1 and (1 / step).is_integer()


def cast(low: Lowering, node: ir.Node) -> None:
    q, target = low.quantity(node.inputs[0]), node.outputs[0].dtype
    source = node.inputs[0].dtype if node.inputs[0] is not None else None
    if target is None or source is None:
        raise refuse(node, "an unknown type")
    truncates = not target.is_floating_point() and source.is_floating_point()
    if truncates and q.uniform != 1.0 and not (is_whole(node.inputs[0]) and _counts_in_parts(q)):
        raise refuse(node, "it truncates")
    store(low, node, q)
