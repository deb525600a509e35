"""Where on integers a comparison with a constant is decided, so that it is decided as on floats.

A value counts as ``n``, its multiple of a step, rounded half away from zero as inputs are. Rounding
keeps order, so that ``n`` decides rightly wherever value and threshold do not round to the same
integer; where they are equal, the cut below decides rightly too. What is left are values beside a
threshold by less than a step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from circuits.format.tensors import quantised

Floats = NDArray[np.float64]

#: Digits that a value of measured data has at most.
_SHORT = 5
#: No value of data but 0 is smaller.
_TINY = 1e-30
#: Comparisons that are the negation of the two that are decided: ``>`` and ``>=``.
NEGATED = frozenset({"Less", "LessOrEqual"})


def decided(op: str, raw: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """``(level, inclusive)``: a comparison, or its negation for ``Less`` and ``LessOrEqual``, asks
    whether ``x > level``, or ``x >= level`` where it is inclusive.

    An exporter's threshold one float beside a value of the data stands for the other comparison
    with that value (skl2onnx writes such), and one beside 0 for a comparison with 0 (LightGBM's
    1e-35).
    """
    inclusive = op in ("GreaterOrEqual", "Less")
    tiny = (raw != 0) & (np.abs(raw) < _TINY)
    beside = _neighbour(raw, -np.inf if inclusive else np.inf)
    moved = ~np.isnan(beside)
    level = np.where(moved, beside, raw)
    turned = np.where(moved, not inclusive, inclusive)
    return np.where(tiny, 0.0, level), np.where(tiny, raw < 0, turned)


def cut(op: str, raw: Floats, steps: Floats) -> Floats:
    """The integer c with which ``n > c`` decides a comparison (or its negation, see ``decided``).

    Of what counts in integers nothing was rounded, and there the floor decides ``x > t``.
    """
    level, inclusive = decided(op, raw)
    rounded = quantised(level / steps, 0)
    exact = raw / steps
    whole = np.ceil(exact) - 1 if op in ("GreaterOrEqual", "Less") else np.floor(exact)
    return np.where(steps < 1, np.where(inclusive, rounded - 1, rounded), whole)


def _neighbour(raw: Floats, towards: float) -> Floats:
    """The next float32 in a direction where it is a short decimal and ``raw`` is none, else NaN."""
    own = raw.astype(np.float32)
    with np.errstate(over="ignore"):
        beside = np.nextafter(own, np.float32(towards))
    distinct, where = np.unique(
        np.stack([own.reshape(-1), beside.reshape(-1)]), return_inverse=True
    )
    digits = np.array([_digits(number) for number in distinct])[where].reshape(2, -1)
    short = (digits[1] <= _SHORT) & (digits[0] > _SHORT)
    return np.where(short.reshape(raw.shape), beside.astype(np.float64), np.nan)


def _digits(number: np.float32) -> int:
    """Significant decimal digits of the shortest text that reads back as this float32."""
    mantissa = np.format_float_scientific(number, unique=True, trim="-").partition("e")[0]
    return len(mantissa.replace(".", "").lstrip("-"))
