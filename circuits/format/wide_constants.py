"""Constants of more bits than float32 has, in graphs of integers.

EZKL reads every constant as float32, which counts no further than 2^24 without gaps. A constant
beyond that is written twice: under its name with ``.exact``, which no node reads, as what it is;
under its name as numbers that stand nowhere else in the graph, so that what EZKL makes of them can
be found again. Whoever runs the graph exactly puts the first in the place of the second: the
interpreter as it parses, the engine's port once a circuit is compiled. A constant that the engine
shall keep at a scale is written divided by it, since the engine multiplies what is not whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT = ".exact"
#: Bytes of one integer: little-endian, two's complement.
_BYTES = 32
#: Stand-ins are counted from here on: no weight is as large, and float32 still has each of them.
_FIRST, _LAST = (1 << 23) + 1, 1 << 24
#: Up to here float64 holds every integer.
_DOUBLE = 1 << 53


def fits_float32(values: NDArray[Any]) -> bool:
    """Whether float32 holds integers as they are."""
    if values.dtype == object:
        return all(abs(int(n)) < _LAST for n in values.reshape(-1))
    return bool(np.all(values.astype(np.float32).astype(np.float64) == values))


def written(
    values: NDArray[Any], before: int, scale: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Integers (float64, or Python integers of up to 255 bits) as their stand-ins and as what
    they are. ``before``: how many numbers of the graph have stand-ins already. ``scale``: the one
    that the engine shall keep beside them.

    Raises ``ValueError`` where there are no more stand-ins, or a number has more bits.
    """
    if before + values.size > _LAST - _FIRST:
        raise ValueError("the graph has more exact constants than can be told apart")
    first = _FIRST + before
    numbers = np.arange(first, first + values.size).astype(np.float32).reshape(values.shape)
    stand_ins = np.ldexp(numbers, -scale)
    try:
        data = b"".join(int(n).to_bytes(_BYTES, "little", signed=True) for n in values.reshape(-1))
    except OverflowError as error:
        raise ValueError("a constant outgrows the field") from error
    return stand_ins, np.frombuffer(data, dtype=np.uint8).reshape(*values.shape, _BYTES)


def stand_ins_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers that the engine makes of stand-ins, at whatever scale they were written: all have
    as many bits, so a half with them is their first bit."""
    mantissas, _ = np.frexp(values)
    return np.ldexp(mantissas, _LAST.bit_length() - 1)


def exact_constants(constants: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What the constants with stand-ins are, by name: float64 where that holds them, else Python
    integers."""
    return {name: _read(constants[name + EXACT]) for name in constants if name + EXACT in constants}


def _read(data: NDArray[np.uint8]) -> NDArray[Any]:
    flat = data.reshape(-1, _BYTES)
    numbers = [int.from_bytes(row.tobytes(), "little", signed=True) for row in flat]
    if all(abs(n) <= _DOUBLE for n in numbers):
        return np.array(numbers, dtype=np.float64).reshape(data.shape[:-1])
    out = np.empty(len(numbers), dtype=object)
    out[:] = numbers
    return out.reshape(data.shape[:-1])
