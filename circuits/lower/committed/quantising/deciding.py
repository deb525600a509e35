"""Comparisons of inputs with constants in integers: sums whose quotient is the answer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from circuits.committed.arithmetic import LARGEST_SUM, Bounds, Steps, SumSteps, is_decided
from circuits.committed.network import Floats, Sum
from circuits.lower.errors import CannotLower
from circuits.lower.levels import cut


def deciding(
    step: Sum, lengths: Floats, bounds: Sequence[Bounds], table: Steps
) -> tuple[SumSteps, Sum]:
    """The sum n - cut - 1 + divisor of each integer n, whose quotient is 1 beyond the cut and else
    0, and its steps: the fewest digits of a remainder with which it is no other number.

    ``lengths``: what the values that are compared are multiplied by; ``bounds``: of each row.
    Raises ``CannotLower`` where that takes more than 60 bits.
    """
    (term,) = step.convolutions
    cuts = cut("GreaterOrEqual" if step.inclusive else "Greater", -step.bias, 1 / lengths)
    ones = replace(term, weights=term.weights.astype(np.int64))
    for digits in itertools.count(1):
        divisor = table.base**digits
        if divisor >= LARGEST_SUM or not np.all(np.abs(cuts) < LARGEST_SUM):
            raise CannotLower("an input that is compared has more bits than 60")
        bias = divisor - 1 - cuts.astype(np.int64)
        made = replace(step, terms=(ones,), bias=bias, inclusive=False)
        if is_decided(made, divisor, bounds):
            break
    none = (0,) * step.shape[2]
    return SumSteps(scale=1.0, offset=0, digits=digits, shifts=none), made
