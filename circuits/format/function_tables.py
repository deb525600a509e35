"""The functions that the engine looks up, entry by entry as its tables have them.

A table works in steps of 2^-scale on both sides: ``n`` gives ``round(2^scale · f(n / 2^scale))``,
half away from zero, computed in doubles (EZKL 23.0.5, ``tensor/ops.rs``, ``nonlinearities``). Only
powers beyond 2^40 show a double's last bit, in which two libraries may differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.format.tensors import quantised

Floats = NDArray[np.float64]

#: Euler's number as the engine's table of powers has it: a float32.
_BASE = float(np.float32(math.e))


@dataclass(frozen=True, kw_only=True)
class Table:
    """An increasing function and where it still moves.

    ``useful(scale)`` gives the lowest and highest argument of interest, in the model's units:
    beyond, the result is within half a step of a constant. None where there is no such end.
    """

    function: Callable[[Floats], Floats]
    useful: Callable[[int], tuple[float | None, float | None]]


def _both(reach: Callable[[int], float]) -> Callable[[int], tuple[float, float]]:
    return lambda scale: (-reach(scale), reach(scale))


def _sigmoid(x: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-x))
    return result


def _log(x: Floats) -> Floats:
    """The logarithm, for arguments above 0 (no others are let into the table)."""
    result: Floats = np.log(np.maximum(x, np.finfo(np.float64).tiny))
    return result


_erf = np.vectorize(math.erf, otypes=[np.float64])

#: By the name of the ONNX operator.
TABLES: Mapping[str, Table] = {
    "Sigmoid": Table(function=_sigmoid, useful=_both(lambda s: (s + 1) * math.log(2))),
    "Tanh": Table(function=np.tanh, useful=_both(lambda s: (s + 2) * math.log(2) / 2)),
    "Erf": Table(function=_erf, useful=_both(lambda s: math.sqrt((s + 1) * math.log(2)))),
    "Exp": Table(
        function=lambda x: np.power(_BASE, x),
        useful=lambda s: (-(s + 1) * math.log(2), None),
    ),
    "Log": Table(function=_log, useful=lambda s: (None, None)),
}


def entries(op: str, numbers: NDArray[Any], scale: int) -> Floats:
    """The table's entries for integers; infinite where they outgrow a double."""
    one = 2.0**scale
    with np.errstate(over="ignore"):
        exact = one * TABLES[op].function(np.asarray(numbers, dtype=np.float64) / one)
    return quantised(exact, 0)
