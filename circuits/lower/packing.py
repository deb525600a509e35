"""Two outputs of a product for the price of one.

A row times a matrix costs an assignment for each weight. But the engine's numbers have 127 bits and
an output has about twenty. So two columns are multiplied at once, as ``first - 2^s · second``, and
the result is taken apart by one division: half the assignments of the product, for
``52 + 12 · legs`` a pair of outputs.

The engine's division of n by d only proves ``|n - q·d| < d``, which leaves a prover the choice
between two neighbouring q. Here that would change both outputs, so the remainder decides. The first
output is smaller than 2^s / 4; with that added to it, it is positive, and the remainder of the
other q is negative. A comparison, which has one valid answer, takes that one back to the right one.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.bounds import Interval, product_interval, widened
from circuits.lower.emit import name_of, shape_of
from circuits.lower.lowering import Lowering
from circuits.lower.quantity import fresh, gather

Floats = NDArray[np.float64]
#: The engine's witness divides doubles: up to here they are exact.
_EXACT_BITS = 52
#: Bits by which the unit exceeds the largest first output: its sign, and room for the offset.
_ROOM_BITS = 2


def product(low: Lowering, left: ir.Value, weights: Floats) -> ir.Value:
    """``[1, R, K] · [K, F]``, packed where the form asks for it and two outputs fit one number."""
    packed = _packed(low, left, weights) if low.form.packs(len(weights)) else None
    return _multiplied(low, left, low.emit.whole(weights)) if packed is None else packed


def _packed(low: Lowering, left: ir.Value, weights: Floats) -> ir.Value | None:
    rows, pairs = shape_of(left)[1], weights.shape[1] // 2
    if not pairs or low.emit.scale:
        return None
    first, second, single = np.split(weights, [pairs, 2 * pairs], axis=1)
    inputs = low.emit.intervals.known[name_of(left)]
    ranges = [product_interval(inputs, w) for w in (first, second)]
    reaches = [widened(max(float(np.abs(end).max()) for end in r)).bit_length() for r in ranges]
    shift = reaches[0] + _ROOM_BITS
    if shift + max(reaches[1], _bits(second)) > _EXACT_BITS:
        return None
    try:
        together = low.emit.exact(np.hstack([first - 2.0**shift * second, single]))
    except ValueError:  # more bits than a constant can be written with
        return None
    product = fresh(_multiplied(low, left, together), 1.0)
    parts = list(_apart(low, gather(low.emit, product, product.view[..., :pairs]), shift, ranges))
    if single.size:
        parts.append(gather(low.emit, product, product.view[..., pairs:]))
    return low.emit.op("Concat", parts, [1, rows, weights.shape[1]], axis=2)


def _bits(weights: Floats) -> int:
    return int(np.abs(weights).max(initial=0.0)).bit_length()


def _multiplied(low: Lowering, left: ir.Value, right: ir.Value) -> ir.Value:
    return low.emit.op("MatMul", [left, right], [1, shape_of(left)[1], shape_of(right)[1]])


def _apart(
    low: Lowering, packed: ir.Value, shift: int, ranges: list[Interval]
) -> tuple[ir.Value, ir.Value]:
    """``first`` and ``second`` of ``first - 2^shift · second``, whose bounds are ``ranges``."""
    emit, shape = low.emit, shape_of(packed)
    unit, offset = 2.0**shift, 2.0 ** (shift - _ROOM_BITS)

    def op(kind: str, *operands: ir.Value, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        return emit.op(kind, operands, shape, dtype)

    def known(value: ir.Value, interval: Interval) -> ir.Value:
        emit.intervals.narrow(name_of(value), *interval)
        return value

    # Constants of different values: one that is used twice costs the engine another decomposition.
    shifted = op("Add", packed, emit.whole(np.array([offset])))
    quotient = emit.divide(shifted, shift)  # the second output, or one less
    back = op("Mul", quotient, emit.whole(np.array([unit])))
    rest = op("Add", packed, back)  # the first output, or that less 2^shift
    most = np.full((1, *shape), unit - 1)
    known(rest, (-most - offset, most - offset))
    below = op("Greater", emit.whole(np.array([-offset])), rest, dtype=ir.DataType.BOOL)
    less = emit.op("Cast", [below], shape, to=int(ir.DataType.FLOAT))
    missing = op("Mul", less, emit.whole(np.array([-unit])))
    first = known(op("Sub", rest, missing), ranges[0])
    second = known(op("Add", quotient, less), ranges[1])
    return first, second
