"""What the engine assigns for a node of an integer graph, without asking it.

Read off EZKL 23.0.5: movements and constant Gathers are free, an elementwise operator costs one
assignment an element, a magnitude ``5 + 3 · legs``, a ReLU ``10 + 3 · legs``, a division
``28 + 9 · legs``, a table look-up one, a product one a multiplication.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from circuits.format.function_tables import TABLES

_FREE = frozenset({"Reshape", "Gather", "Identity", "Concat", "Pad"})
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Neg", "HardSwish", "Cast", *TABLES})
_DIVISION = (28, 9)
_DECOMPOSED = {
    "Abs": (5, 3),
    "Relu": (10, 3),
    "Greater": (17, 3),
    "Equal": (6, 0),
    "ArgMax": (50, 6),
}


def cells(
    op: str, operands: Sequence[Sequence[int]], shape: Sequence[int], *, divided: bool
) -> tuple[int, int]:
    """Assignments of a node, and how many more for each leg of a decomposition. Shapes are those of
    its operands and its result; ``divided``: the engine divides the result."""
    base, each = _cells(op, operands, shape)
    if divided:
        size = math.prod(shape)
        return base + _DIVISION[0] * size, each + _DIVISION[1] * size
    return base, each


def _cells(op: str, operands: Sequence[Sequence[int]], shape: Sequence[int]) -> tuple[int, int]:
    out, first = math.prod(shape), operands[0]
    if op in _ELEMENTWISE:
        return out, 0
    if op == "ReduceSum":
        return math.prod(first), 0
    if op == "MatMul":
        return out * (first[-1] + first[-1] % 2), 0  # whole rows of the usual two inner columns
    if op in _DECOMPOSED:
        base, each = _DECOMPOSED[op]
        size = math.prod(first) if op == "ArgMax" else out
        return size * base, size * each
    if op in _FREE:
        return 0, 0
    raise ValueError(f"no cost is known for {op}")
