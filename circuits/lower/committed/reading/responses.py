"""A network in the model's own units on samples: its rows, how far its sums reach, and how near its
comparisons are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import (
    Floats,
    Kind,
    Local,
    Network,
    Sum,
    View,
    gathered,
    local,
    results,
    summed,
)

#: Signed values reach a little beyond zero, by rounding, even where samples never do: this many
#: bits below the base.
SLACK = 5


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The least and the largest of a sum's values in each channel, as far as samples show them, and
    of what its functions read."""

    low: Floats
    high: Floats

    def reaching(self, least: Extent, margin: float) -> Extent:
        """What, ``margin`` times as far, holds ``least`` as well, rounded."""
        within = (1 + 2.0**-SLACK) / margin
        return Extent(
            low=np.minimum(self.low, least.low * within),
            high=np.maximum(self.high, least.high * within),
        )


@dataclass(frozen=True, kw_only=True)
class Responses:
    """A float network on samples: its outputs ``[samples, elements]``, the extents of its sums, and
    by how much the sides of each of its ``comparisons`` differ."""

    outputs: list[Floats]
    extents: list[Extent]
    gaps: list[Floats]


def responses(network: Network, inputs: Sequence[Floats]) -> Responses:
    """A network in the model's own units, on inputs ``[samples, elements]``."""
    extents = []

    def seen(step: Sum, sums: Floats) -> None:
        flat = sums.reshape(-1, step.shape[2])
        flat = np.where(np.isfinite(flat), flat, 0.0)  # what is no number decides no steps
        extents.append(Extent(low=flat.min(axis=0), high=flat.max(axis=0)))

    known = float_rows(network, inputs, seen)
    return Responses(
        outputs=[gathered(o, known) for o in network.outputs],
        extents=extents,
        gaps=[gap(network, number, known) for number in comparisons(network)],
    )


def float_rows(
    network: Network,
    inputs: Sequence[Floats],
    seen: Callable[[Sum, Floats], None] = lambda step, sums: None,
    threes: bool = False,
) -> list[Any]:
    """Every row of a network in the model's own units, of inputs ``[samples, elements]``. ``seen``
    is given each sum and its values ``[samples, …]``, before they are rectified. ``threes``: each
    sample is one of three, and what is compared is equal on the second where it changes places from
    the first to the third."""
    known: list[Any] = list(inputs)
    for step in network.steps:
        if isinstance(step, Local):
            with np.errstate(invalid="ignore", over="ignore"):
                found = local(step, known)
                if step.in_ones and threes:
                    found[1::3][_changes(step, known)] = 0.0
                known.append(found)
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.asarray(results(step, summed(step, known)) + step.bias, dtype=np.float64)
        sums = np.rint(sums) if step.rounded else sums
        seen(step, sums)
        read = np.maximum(sums, 0) if step.kind is Kind.RECTIFIED else sums
        if step.kind is Kind.DECIDED:
            read = (sums >= 0 if step.inclusive else sums > 0).astype(np.float64)
        known.append(read.reshape(len(read), -1))
    return known


def _changes(step: Local, known: Sequence[Any]) -> NDArray[np.bool_]:
    """Of samples in threes, where sides change places from the first to the last."""
    right = gathered(step.right, known) if isinstance(step.right, View) else step.right
    signs = np.sign(gathered(step.left, known) - right).reshape(len(known[0]), -1)
    return np.asarray(signs[::3] * signs[2::3] < 0)


def comparisons(network: Network) -> list[int]:
    """The numbers of the steps that compare computed values which no other comparison decides."""
    jumping: set[int] = set()
    found = []
    for number, step in enumerate(network.steps):
        after = not jumping.isdisjoint(row for view in step.views for row in view.rows)
        compares = isinstance(step, Local) and step.in_ones
        if compares and not after:
            found.append(number)
        if compares or after or (isinstance(step, Sum) and step.kind is Kind.DECIDED):
            jumping.add(len(network.inputs) + number)
    return found


def gap(network: Network, number: int, rows: Sequence[Any]) -> Floats:
    """By how much the sides of a comparison differ, ``[samples, elements]``."""
    step = network.steps[number]
    assert isinstance(step, Local)
    right = gathered(step.right, rows) if isinstance(step.right, View) else step.right
    found = np.asarray(gathered(step.left, rows) - right, dtype=np.float64)
    return found.reshape(len(found), -1)
