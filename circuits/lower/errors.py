"""What the integer lowering raises."""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError


class CannotLower(ZkmlError):
    """The graph cannot be lowered to exact integer arithmetic."""

    code = "lower_impossible"
    fault = Fault.INPUT
    default_advice = "The planner falls back to the engine's fixed-point arithmetic."
