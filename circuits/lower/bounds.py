"""How large values can get: interval arithmetic, carried along while a graph is emitted.

Bounds hold for every input within the accepted ranges. They are computed in float64 and widened by
one part in 2^30, far more than the rounding of any sum here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from circuits.format.function_tables import TABLES
from circuits.integers.interpreter import evaluate, rescaled
from circuits.lower.variant import ValueBounds

Array = NDArray[np.float64]
Interval = tuple[Array, Array]
Attributes = Mapping[str, object]

#: Operators that split their operand into digits, and by how much its size may grow in there.
_DECOMPOSING = frozenset({"Abs", "Relu", "Greater", "Equal", "ArgMax"})


#: What a ReLU, or a maximum, comes down to.
_RECTIFYING = frozenset({"Abs", "Relu", "HardSwish"})
#: Operators that look their operand up.
_TABLES = frozenset({"HardSwish", *TABLES})


class Intervals:
    """Lowest and highest value of everything emitted so far, by name."""

    def __init__(self) -> None:
        self.known: dict[str, Interval] = {}
        #: The engine's tables: operator and scale.
        self.lookups: set[tuple[str, int]] = set()
        self._decomposed = 0.0
        self._largest = 0.0
        self._tables: list[tuple[float, float]] = []

    def declare(
        self, name: str, shape: Sequence[int], low: float | Array, high: float | Array
    ) -> None:
        """An input and its range, in integers. Arrays carry a leading axis of one sample."""
        self.known[name] = (np.full((1, *shape), low), np.full((1, *shape), high))

    def magnitude(self, name: str) -> int:
        """The largest magnitude that the value can have."""
        return widened(_magnitude(self.known[name]))

    def narrow(self, name: str, low: Array, high: Array) -> None:
        """Adds what the compiler knows of a value beyond its formula (unbatched bounds)."""
        known = self.known[name]
        self.known[name] = (np.maximum(known[0], low), np.minimum(known[1], high))

    def after(
        self,
        op: str,
        names: Sequence[str],
        constants: Mapping[str, Array],
        attributes: Attributes,
        shift: int,
    ) -> Interval:
        """The interval of a new node's output; ``names`` are its operands.

        The engine divides the result by 2^shift.
        """
        operands = [
            self.known[n] if n in self.known else (constants[n], constants[n]) for n in names
        ]
        result = _apply(op, operands, attributes)
        self._largest = max(self._largest, _magnitude(result))  # also of what is then divided
        if shift:
            low, high = result
            result = rescaled(low, shift), rescaled(high, shift)
            self._decomposed = max(self._decomposed, _magnitude(result), 2.0 ** (shift + 1))
        self._note(op, operands, attributes)
        return result

    def _note(self, op: str, operands: list[Interval], attributes: Attributes) -> None:
        reach = _magnitude(operands[0])
        if op == "MatMul":
            partial = evaluate(op, [_reach(x) for x in operands], attributes)
            self._largest = max(self._largest, float(partial.max(initial=0.0)))
        if op in _TABLES:
            low, high = operands[0]
            self._tables.append((float(low.min()), float(high.max())))
            self.lookups.add((op, int(str(attributes["scale"]))))
        elif op in _DECOMPOSING:
            other = None if op in _RECTIFYING else operands[-1]
            both = reach + (_magnitude(other) if other is not None else 0.0)
            self._decomposed = max(self._decomposed, both)

    def summary(self) -> ValueBounds:
        """The bounds that a planner chooses table and digit sizes by."""
        lookup = None
        if self._tables:
            lowest = min(low for low, _ in self._tables)
            lookup = (-widened(-lowest), widened(max(high for _, high in self._tables)))
        return ValueBounds(
            decomposed=widened(self._decomposed), lookup=lookup, largest=widened(self._largest)
        )


def widened(value: float) -> int:
    """An integer safely above a computed bound."""
    if not math.isfinite(value):
        raise ValueError("its values outgrow the engine's integers")
    return math.ceil(max(value, 0.0) * (1 + 2**-30)) + 1


def _reach(interval: Interval) -> Array:
    return np.maximum(np.abs(interval[0]), np.abs(interval[1]))


def _magnitude(interval: Interval) -> float:
    return float(_reach(interval).max(initial=0.0))


def _apply(op: str, x: list[Interval], attributes: Attributes) -> Interval:
    rule = _RULES.get(op)
    if rule is not None:
        return rule(op, x, attributes)
    # Movements, sums, ReLU: growing in every operand.
    low, high = ([operand[end] for operand in x] for end in (0, 1))
    return evaluate(op, low, attributes), evaluate(op, high, attributes)


def _difference(op: str, x: list[Interval], attributes: Attributes) -> Interval:
    return x[0][0] - x[1][1], x[0][1] - x[1][0]


def _absolute(op: str, x: list[Interval], attributes: Attributes) -> Interval:
    low, high = x[0]
    apart = np.maximum(np.maximum(low, -high), 0.0)  # zero where the interval holds zero
    return apart, np.maximum(np.abs(low), np.abs(high))


def _negation(op: str, x: list[Interval], attributes: Attributes) -> Interval:
    return -x[0][1], -x[0][0]


def _product(op: str, x: list[Interval], attributes: Attributes) -> Interval:
    corners = [a * b for a in x[0] for b in x[1]]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _truth(op: str, x: list[Interval], attributes: Attributes) -> Interval:
    shape = np.broadcast_shapes(x[0][0].shape, x[1][0].shape)
    return np.zeros(shape), np.ones(shape)


def _place(op: str, x: list[Interval], attributes: Attributes) -> Interval:
    found = evaluate(op, [x[0][0]], attributes)
    extent = x[0][0].shape[int(str(attributes.get("axis", 0))) + 1]
    return np.zeros_like(found), np.full_like(found, extent - 1)


def _linear(op: str, x: list[Interval], attributes: Attributes) -> Interval:
    weights = x[1]
    if weights[0] is not weights[1]:
        most = evaluate(op, [_reach(x[0]), _reach(weights)], attributes)
        return -most, most
    return _by_constant(op, x[0], weights[0], attributes)


def _by_constant(op: str, x: Interval, weights: Array, attributes: Attributes) -> Interval:
    """Centre and radius: |W x - W c| <= |W| r for a constant W, tight for each output. Centres that
    cancel out leave what rounding them was off: that grows with ``|W| |c|``."""
    low, high = x
    centre, radius = (low + high) / 2, (high - low) / 2
    middle = evaluate(op, [centre, weights], attributes)
    rounding = np.abs(centre) * (weights.size * 2.0**-50)
    spread = evaluate(op, [radius + rounding, np.abs(weights)], attributes)
    return middle - spread, middle + spread


_RULES: Mapping[str, Callable[[str, list[Interval], Attributes], Interval]] = {
    "Abs": _absolute,
    "ArgMax": _place,
    "Equal": _truth,
    "Greater": _truth,
    "MatMul": _linear,
    "Mul": _product,
    "Neg": _negation,
    "Sub": _difference,
}
