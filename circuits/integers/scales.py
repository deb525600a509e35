"""The fixed-point scale that the engine keeps beside every value, and when it divides by itself.

EZKL gives each value a scale: what it stands for is ``n · 2^-scale``. It reads a scale only in a
few places (a table works in steps of its operand's scale, a sum brings its operands to one scale)
and divides a result whose scale passes the largest of ``input_scale`` and ``param_scale``. An
integer graph keeps everything at scale 0, where nothing is ever divided; what has gone through a
table stays at the scale that the table had.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Operators whose operands the engine multiplies up to the largest of their scales.
LEVELLED = frozenset({"Add", "Sub", "Greater", "Equal", "Concat"})
_MULTIPLYING = frozenset({"Mul", "MatMul"})
#: Operators whose results count from 0 whatever their operands are.
_COUNTING = frozenset({"Greater", "Equal", "ArgMax"})


def scale_after(op: str, scales: Sequence[int], most: int) -> tuple[int, int]:
    """The scale of an operator's result, and by how many bits the engine divides it to get there.

    ``scales`` are the operands' (0 for whole-number constants), ``most`` is the scale beyond which
    results are divided.
    """
    if op in _COUNTING:
        return 0, 0
    found = sum(scales) if op in _MULTIPLYING else max(scales)
    return min(found, most), max(0, found - most)
