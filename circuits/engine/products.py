"""How much room EZKL sets aside for checking products by Freivalds' argument.

The check has columns of its own, in blocks of 2^k rows. How many blocks there are is decided by the
summed lengths of the reductions of every product in the graph, also of those that are laid out in
the main columns in the end: products of a single row, and the digits of decompositions. So there
may be two blocks where the cells would fit one. Mirrors ``analyze_einsum_usage`` and
``input_reductions`` of EZKL 23.0.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

#: An equation such as ``mk,kn->mn`` with the length of each axis.
Equation = tuple[str, Mapping[str, int]]


def room_for_products(equations: Iterable[Equation]) -> int:
    """Cells of one column that the engine reckons with for all products together."""
    return sum(_output_length(e, axes) + _input_length(e, axes) for e, axes in equations)


def _sides(equation: str, axes: Mapping[str, int]) -> tuple[list[str], str]:
    """Operands and result, without the axes of length 1."""
    inputs, output = equation.split("->")
    operands = ["".join(c for c in operand if axes[c] > 1) for operand in inputs.split(",")]
    return operands, "".join(c for c in output if axes.get(c, 1) > 1)


def _output_length(equation: str, axes: Mapping[str, int]) -> int:
    """The result is folded with random numbers, its last axis first."""
    _, output = _sides(equation, axes)
    return sum(math.prod(axes[c] for c in output[:end]) for end in range(1, len(output) + 1))


def _input_length(equation: str, axes: Mapping[str, int]) -> int:
    """Operands are multiplied or folded along the result's axes, then summed along the others."""
    operands, output = _sides(equation, axes)
    length = 0
    for axis in output:
        while any(axis in operand for operand in operands):
            cells, operands = _reduced(operands, axis, axis in output, axes)
            length += cells
    for axis in sorted(set("".join(operands))):
        cells, operands = _reduced(operands, axis, False, axes)
        length += cells
    return length


def _reduced(
    operands: list[str], axis: str, kept: bool, axes: Mapping[str, int]
) -> tuple[int, list[str]]:
    """Cells of one reduction along ``axis``, and the operands after it.

    Several operands that share an axis of the result are multiplied along it and keep it.
    """
    joined = [operand for operand in operands if axis in operand]
    multiplied = kept and len(joined) > 1
    left = sorted(set("".join(joined)) - (set() if multiplied else {axis}))
    cells = math.prod(axes[c] for c in left) * (1 if multiplied else axes[axis])
    if len(joined) > 2:  # multiplied in pairs, then summed
        cells *= len(joined)
    others = [operand for operand in operands if operand not in joined]
    return cells, [*others, "".join(left)]
