"""How fine an input's steps are at least, for integers to decide what its model decides of it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from circuits.calibration.samples import Sample
from circuits.committed.network import Integers
from circuits.lower.committed.reading.jumps import jumps
from circuits.lower.thresholds import bits_between, bits_between_thresholds

#: Of what is compared with nothing.
_LEAST = -(1 << 10)


def bits_for_decisions(
    plain: bytes, sample: Sample, among: Collection[str] | None = None
) -> dict[str, Integers]:
    """Fractional bits that each element of an input takes at least, by the input's name: such as
    tell from each other and from 0 the numbers at which a rewritten model decides otherwise of it
    alone, whatever comes between it and the comparison. Integers count in ones.

    ``sample`` only runs the model. ``among``: see ``bits_between_thresholds``.
    """
    found = {
        name: np.array([bits_between(own, _LEAST) if len(own) else _LEAST for own in elements])
        for name, elements in jumps(plain).items()
    }
    for (name, place), least in bits_between_thresholds(plain, sample, among).items():
        found[name][place] = max(found[name][place], least)
    floats = {name for name in found if sample[name].dtype.kind == "f"}
    return {n: bits if n in floats else np.minimum(bits, 0) for n, bits in found.items()}
