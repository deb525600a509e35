"""The input range for a batch's circuit without calibration data.

It covers the bulk of the rows. A few outliers must not make the circuit coarse or impossible for
all other rows: they are excluded and reported as out of range.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.format.tensors import TensorSpec

#: Share of the rows that the range always covers.
_BULK = 0.99
#: With fewer rows that share is meaningless.
_FEW = 10
#: Rows this many times larger than the next smaller one are outliers, if most rows are smaller.
_JUMP_BITS = 8
#: Rows up to this many times larger than the bulk are covered too.
_REACH_BITS = 3
_LEAST, _MOST = -20, 1100


@dataclass
class Tally:
    """Counts rows by the magnitude of their largest value, for each input."""

    counts: dict[str, Counter[int]] = field(default_factory=dict)

    def add(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        for name, values in inputs.items():
            largest = float(np.abs(np.asarray(values, dtype=np.float64)).max(initial=0.0))
            bits = math.ceil(math.log2(largest)) if largest > 0 else _LEAST
            self.counts.setdefault(name, Counter())[min(max(bits, _LEAST), _MOST)] += 1

    def ranges(self, tensors: Iterable[TensorSpec] = ()) -> dict[str, tuple[float, float]]:
        """Symmetric power-of-two ranges, at least ±1, by input; for ``tensors`` that are masks or
        categories what they are."""
        found = {name: _covering(counts) for name, counts in self.counts.items()}
        for tensor in tensors:
            if tensor.missing_of is not None and tensor.name in found:
                found[tensor.name] = 0.0, float(any(b >= 0 for b in self.counts[tensor.name]))
            elif tensor.categories is not None and tensor.name in found:
                found[tensor.name] = 0.0, float(tensor.places - 1)
        return found


def _covering(counts: Counter[int]) -> tuple[float, float]:
    rows = counts.total()
    most = rows // 2 + 1
    needed = rows if rows < _FEW else min(rows - 1, math.ceil(_BULK * rows))
    seen = bulk = 0
    for bits in sorted(counts):
        if seen >= needed or (seen >= most and bits - max(bulk, 0) > _JUMP_BITS):
            break
        seen += counts[bits]
        bulk = bits
    bits = max((b for b in counts if b <= max(bulk, 0) + _REACH_BITS), default=bulk)
    bound = 2.0 ** max(0, bits)
    return -bound, bound
