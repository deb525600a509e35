"""All models by name. Builders cite the definitions of published networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.demo import digits
from benchmarks.demo.digits.data import load
from benchmarks.errors import UnknownModel
from benchmarks.zoo import classical, neural, sequence
from benchmarks.zoo.entry import Built, Entry


def _digits() -> Built:
    split = load()
    with np.load(digits.CALIBRATION) as archive:
        calibration = archive["image"][:, None]
    return Built(
        onnx=digits.MODEL.read_bytes(),
        calibration={"image": calibration},
        held_out={"image": split.test_images[:, None]},
        labels=split.test_labels,
    )


ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="digits",
        title="digits CNN 8×8",
        build=_digits,
        multiplications=832,
        activations=32,
        bound_by="32 ReLUs",
        quick=True,
    ),
    *neural.entries(),
    *classical.entries(),
    *sequence.entries(),
)

ZOO = {entry.name: entry for entry in ENTRIES}


def choose(names: Sequence[str], *, quick: bool) -> list[Entry]:
    """The models of these names, or all (of quick runs). Raises ``UnknownModel``."""
    if not names:
        return [entry for entry in ENTRIES if entry.quick or not quick]
    for name in names:
        if name not in ZOO:
            raise UnknownModel(
                f"there is no model {name!r} in the zoo", advice=f"There are: {', '.join(ZOO)}."
            )
    return [ZOO[name] for name in names]
