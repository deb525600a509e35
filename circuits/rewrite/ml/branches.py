"""Powers of one sign only: a branch that a mask multiplies is computed where it has a value.

skl2onnx writes a PowerTransformer (Yeo-Johnson) as ``f(x) · [x ≥ 0] + g(x) · [x < 0]``, with roots
and logarithms of negative numbers in the branch that does not count, whose NaN an Imputer takes
away. ``f(max(x, 0))`` and ``g(min(x, 0))`` are the same where they count and finite elsewhere.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import Builder, constant, expanding

_Floats = NDArray[np.float64]
#: Operators of one value and constants.
_ARITHMETIC = {"Add": np.add, "Div": np.divide, "Mul": np.multiply, "Sub": np.subtract}


class _Outside(Exception):
    """The branch holds what is not known to be finite."""


def _mul(node: ir.Node, build: Builder) -> ir.Value | None:
    """A branch times the mask of its sign."""
    for branch, mask in (node.inputs[:2], node.inputs[1::-1]):
        found = _sign(mask)
        if found is None or branch is None:
            continue
        x, positive = found
        if positive:
            held = build.op("Relu", x)
        else:
            held = build.op("Neg", build.op("Relu", build.op("Neg", x)))
        try:
            value, at_zero = _copied(branch, x, held, positive, build)
        except _Outside:
            return None
        if np.all(at_zero == 0):
            return value
        return build.op("Mul", value, mask)
    return None


def _sign(mask: ir.Value | None) -> tuple[ir.Value, bool] | None:
    """The value whose sign a mask of zeros and ones tells, and whether it is one from 0 on."""
    positive = False
    node = None if mask is None else mask.producer()
    if node is None or node.op_type != "Cast" or node.inputs[0] is None:
        return None
    node = node.inputs[0].producer()
    if node is not None and node.op_type == "Not" and node.inputs[0] is not None:
        positive, node = True, node.inputs[0].producer()
    if node is None or node.op_type != "Less" or node.inputs[0] is None:
        return None
    return (node.inputs[0], positive) if _is_zero(node.inputs[1]) else None


def _is_zero(value: ir.Value | None) -> bool:
    known = constant(value)
    if known is not None:
        return bool(np.all(known == 0))
    node = None if value is None else value.producer()
    return node is not None and node.op_type == "Sub" and node.inputs[0] is node.inputs[1]


def _copied(
    value: ir.Value, x: ir.Value, held: ir.Value, positive: bool, build: Builder
) -> tuple[ir.Value, _Floats]:
    """The branch computed of ``held`` in the place of x, and what it is where that is 0.

    Raises ``_Outside`` for an operator, or a base of a power, that may have no finite value.
    """

    def copy(value: ir.Value | None) -> tuple[ir.Value, _Floats]:
        known = constant(value)
        node = None if value is None else value.producer()
        if value is x:
            return held, np.zeros(())
        if known is not None and value is not None:
            return value, known.astype(np.float64)
        if node is None:
            raise _Outside
        if node.op_type in ("Cast", "Identity", "Imputer"):
            return copy(node.inputs[0])
        return power(node) if node.op_type in ("Log", "Pow") else arithmetic(node)

    def arithmetic(node: ir.Node) -> tuple[ir.Value, _Floats]:
        if node.op_type in ("Div", "Sub") and node.inputs[0] is node.inputs[1]:
            same = 1.0 if node.op_type == "Div" else 0.0
            return build.const(same), np.array(same)
        if node.op_type == "Neg":
            inner, zero = copy(node.inputs[0])
            return build.op("Neg", inner), -zero
        if node.op_type not in _ARITHMETIC:
            raise _Outside
        (left, first), (right, second) = copy(node.inputs[0]), copy(node.inputs[1])
        divides = node.op_type == "Div"
        if divides and (constant(node.inputs[1]) is None or np.any(second == 0)):
            raise _Outside
        return build.op(node.op_type, left, right), _ARITHMETIC[node.op_type](first, second)

    def power(node: ir.Node) -> tuple[ir.Value, _Floats]:
        logarithm = build.op("Log", base(node.inputs[0]))
        if node.op_type == "Log":
            return logarithm, np.zeros(())
        exponent = constant(node.inputs[1])
        if exponent is None:
            raise _Outside
        factor = build.const(exponent.astype(np.float32))
        return build.op("Exp", build.op("Mul", logarithm, factor)), np.ones(exponent.shape)

    def base(value: ir.Value | None) -> ir.Value:
        """1 + x of a positive x, or 1 - x of a negative one: no less than 1."""
        node = None if value is None else value.producer()
        if node is None or node.op_type != ("Add" if positive else "Sub"):
            raise _Outside
        left, right = node.inputs
        if positive and right is x:
            left, right = right, left
        one, other = (right, left) if positive else (left, right)
        if other is not x or not np.all(copy(one)[1] == 1):
            raise _Outside
        return copy(value)[0]

    return copy(value)


GUARD_BRANCHES = expanding(
    {"Mul": _mul},
    name="guard-branches",
    version=1,
    purpose="Clips the arguments of powers and logarithms to the sign whose results are used.",
    reference="scikit-learn, PowerTransformer; Yeo and Johnson (2000)",
)
