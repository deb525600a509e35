"""The exact arithmetic of a network in integers.

A hidden sum h, with half of the base in its bias, is held as ``h = base · q + lo``; its activation
is ``max(q, 0)``. Activations lie in ``0 … base - 1`` and q where the table has entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuits.committed.network import (
    Dense,
    Integers,
    Layer,
    Network,
    Numbers,
    feeds,
    product,
    read_by,
    results,
    weights_of,
    with_numbers,
)

#: Rows of a table's column that hold no entry of their own.
UNUSED_ROWS = 8
#: Sums stay below this, so that int64 holds them and the field tells them apart.
LARGEST_SUM = 1 << 60
#: Doubles hold every integer up to here.
_DOUBLE = 1 << 53


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How a network's numbers become integers, as its recipe has it.

    ``base``: activations are below it; ``logrows``: that of the circuit, whose table has
    ``2^logrows - 8`` entries and ends at ``base - 1``. ``input_scale`` and ``output_scale``:
    integers of input and output are the values times 2 to these. ``offset`` is added to inputs that
    a table bounds. ``tops``: for each hidden layer the largest result that it can hold, ``shifts``:
    by how many bits the steps of each channel are finer than that takes.
    """

    base: int
    logrows: int
    input_scale: int
    offset: int
    output_scale: int
    tops: tuple[float, ...]
    shifts: tuple[tuple[int, ...], ...]

    @property
    def lowest(self) -> int:
        """The table's first entry."""
        return self.base - entries(self.logrows)

    def to_json(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "logrows": self.logrows,
            "input_scale": self.input_scale,
            "offset": self.offset,
            "output_scale": self.output_scale,
            "tops": list(self.tops),
            "shifts": [list(s) for s in self.shifts],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Steps:
        return cls(
            base=data["base"],
            logrows=data["logrows"],
            input_scale=data["input_scale"],
            offset=data["offset"],
            output_scale=data["output_scale"],
            tops=tuple(data["tops"]),
            shifts=tuple(tuple(s) for s in data["shifts"]),
        )


def entries(logrows: int) -> int:
    """How many different entries a table of one column has."""
    return (1 << logrows) - UNUSED_ROWS


def largest(layer: Layer, steps: Steps) -> int:
    """No sum of an integer layer, border included, is larger than this in magnitude, whatever lies
    in the range of its inputs."""
    total = int(np.abs(layer.bias.astype(np.float64)).max(initial=0.0) * (1 + 2.0**-40)) + 1
    for feed, weights in zip(feeds(layer), weights_of(layer), strict=True):
        each = (steps.base - 1) * feed.area
        sums = np.abs(weights.astype(np.float64))
        axis = 0 if isinstance(layer, Dense) else (1, 2, 3)
        total += int(each * sums.sum(axis=axis).max(initial=0.0) * (1 + 2.0**-40)) + 1
    return total


@dataclass(frozen=True, kw_only=True)
class Split:
    """A hidden layer on a batch of samples: its products with the border (what ``product`` gives),
    and quotients and remainders of its sums."""

    products: Integers
    quotients: Integers
    remainders: Integers


def run(network: Network, steps: Steps, inputs: Integers) -> tuple[list[Split], Integers]:
    """The hidden layers on integer inputs ``[samples, height, width, channels]``, and the
    result."""
    # Doubles hold such integers exactly, and numpy multiplies matrices of them far faster.
    exact = max(largest(layer, steps) for layer in network.layers) < _DOUBLE

    def cast(array: Numbers) -> Numbers:
        return array.astype(np.float64) if exact else array.astype(np.int64)

    known = [cast(inputs)]
    found: list[Split] = []
    for layer in network.layers:
        own = with_numbers(layer, [cast(w) for w in weights_of(layer)], cast(layer.bias))
        products = product(own, read_by(own, known))
        sums = results(own, products).astype(np.int64)
        if layer is network.layers[-1] and network.raw:
            return found, sums
        split = Split(
            products=products.astype(np.int64),
            quotients=sums // steps.base,
            remainders=sums % steps.base,
        )
        found.append(split)
        known.append(cast(np.maximum(split.quotients, 0)))
    return found, known[-1].astype(np.int64)


def outside(splits: Sequence[Split], steps: Steps) -> bool:
    """Whether a quotient of some sample has no entry in the table."""
    return any(
        s.quotients.size and (s.quotients.max() >= steps.base or s.quotients.min() < steps.lowest)
        for s in splits
    )
