"""One small model for each operator (and each way of using it) that the compiler says it supports.

``cases()`` names each ``"Operator, variant"``.
"""

from __future__ import annotations

from tests.cases.operators import (
    arithmetic,
    elementwise,
    layers,
    logic,
    movements,
    recurrent,
    reductions,
)
from tests.cases.operators.case import Case

__all__ = ["Case", "cases"]


def cases() -> dict[str, Case]:
    """Every case by its name."""
    groups = elementwise, arithmetic, logic, reductions, layers, recurrent, movements
    found: dict[str, Case] = {}
    for group in groups:
        made = group.cases()
        assert not found.keys() & made.keys()
        found |= made
    return found
