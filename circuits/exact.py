"""Constants of more bits than float32 has, in graphs of whole numbers.

EZKL reads every constant as float32, which counts no further than 2^24 without gaps. A constant
beyond that is written in two parts: under its name what float32 holds of it, under that name with
``.rest`` what is missing. No node reads the rest. Whoever runs the graph exactly puts the two
together: the interpreter as it parses, the engine's port once a circuit is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

REST = ".rest"


def parted(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Whole numbers as what float32 holds of them and the rest, which is None where there is none.

    Raises ``ValueError`` for numbers that two float32 do not hold.
    """
    held = values.astype(np.float32)
    missing = values - held.astype(np.float64)
    rest = missing.astype(np.float32)
    if np.any(rest.astype(np.float64) != missing):
        raise ValueError("a constant has more bits than two float32 hold")
    return held, rest if np.any(rest) else None


def joined(constants: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """The constants that were written in two parts, whole again, by name."""
    return {
        name: constants[name].astype(np.float64) + constants[name + REST].astype(np.float64)
        for name in constants
        if name + REST in constants
    }
