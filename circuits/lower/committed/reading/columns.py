"""Columns of one input that are of very different size, such as years beside cents.

An input's elements count in steps of one length, and what is accepted is one range for all of them.
Of a table's entries a small column would then have few, and so would one that varies little, far
from zero. So such an input counts in steps that are fine enough for its narrowest column, more of
them than the table has entries, and the network begins with a sum for all columns of about one
range: it counts them as if they were an input of their own, from the lower end of that range on.
Everything else reads these sums, whose table bounds each column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.samples import Range, Sample, widened
from circuits.committed.arithmetic import InputSteps, Steps
from circuits.committed.network import (
    ZERO,
    Convolution,
    Integers,
    Kind,
    Network,
    Step,
    Sum,
    View,
    alone,
)
from circuits.format.tensors import Signature, TensorSpec
from circuits.lower.committed.reading.simplifying import seen
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import LoweringTask

#: Places of the columns of about one size in each input; none where its columns are not split.
Places = Sequence[Sequence[tuple[int, ...]]]
#: Columns are split where one is so many powers of two narrower than what holds all of them; and
#: first of all where that leaves a table few entries for it.
_APART, _FAR_APART = 3, 8
#: A column that hardly varies is accepted in this share of its size, on both sides.
_NARROWEST = 256
#: Bits by which a column's steps are longer than its input's at most.
_LONGEST = 60


@dataclass(frozen=True, kw_only=True)
class Group:
    """Elements of about one size: their places in an input, and their own accepted range."""

    places: tuple[int, ...]
    accepted: Range


def grouped(signature: Signature, task: LoweringTask) -> list[tuple[Group, ...]]:
    """The groups of each input's columns, of ranges alike in width and place; none where columns
    are of about one size.

    A column is a place along the last axis. A range is that of the samples, with the margin, and
    does not go below zero where they do not: powers and logarithms may be far larger there.
    """
    return [_groups(tensor, task) for tensor in signature.inputs]


def _groups(tensor: TensorSpec, task: LoweringTask) -> tuple[Group, ...]:
    if not tensor.dtype.startswith("float") or not tensor.shape or task.input_scale is not None:
        return ()
    count = tensor.shape[-1]
    samples = [*task.plan, *task.held_out]
    rows = np.array([np.asarray(s[tensor.name], dtype=np.float64) for s in samples])
    rows = rows.reshape(-1, count)
    if not rows.size:
        return ()
    ranges = [_range(*ends, task) for ends in zip(rows.min(axis=0), rows.max(axis=0), strict=True)]
    known = [own or task.accepted[tensor.name] for own in ranges]
    power = [math.ceil(math.log2(high - low)) for low, high in known]
    if _span(known) < 2.0**_APART:
        return ()
    found: list[list[int]] = []
    for column in sorted(range(count), key=lambda n: (-power[n], known[n])):
        near = bool(found) and power[found[-1][0]] == power[column]
        if near and known[column][1] - known[found[-1][0]][0] <= 2.0 ** power[column]:
            found[-1].append(column)
        else:
            found.append([column])
    columns = np.arange(tensor.size) % count
    return tuple(
        Group(
            places=tuple(np.flatnonzero(np.isin(columns, own)).tolist()),
            accepted=(known[own[0]][0], max(known[n][1] for n in own)),
        )
        for own in found
    )


def _range(low: float, high: float, task: LoweringTask) -> Range | None:
    """What a column is accepted in; None where it is always 0, and nobody knows."""
    size = max(abs(low), abs(high))
    if size == 0:
        return None
    lower, upper = widened((low, high), task.margin)
    if upper - lower < size / _NARROWEST:
        lower, upper = low - size / _NARROWEST, high + size / _NARROWEST
    return (max(lower, 0.0) if low >= 0 else lower), upper


def _span(ranges: Sequence[Range]) -> float:
    """How many times as wide as the narrowest one is what holds all of these, and zero."""
    widest = max(max(0.0, *own) - min(0.0, *own) for own in ranges)
    return widest / min(high - low for low, high in ranges)


def are_far_apart(columns: Sequence[Sequence[Group]]) -> bool:
    """Whether an input has columns for which one table's steps can hardly do."""
    return any(
        _span([own.accepted for own in groups]) >= 2.0**_FAR_APART for groups in columns if groups
    )


def places_of(steps: Steps) -> list[list[tuple[int, ...]]]:
    return [[part.places for part in own.columns] for own in steps.inputs]


def group_numbers(groups: Sequence[Sequence[int]]) -> Integers:
    """Of which group each element of an input is."""
    found = np.empty(sum(len(own) for own in groups), dtype=np.int64)
    for number, own in enumerate(groups):
        found[[*own]] = number
    return found


def check_columns(steps: Steps, signature: Signature) -> None:
    """Raises ``CannotLower`` where an input is not split as this compiler splits one."""
    if len(steps.inputs) != len(signature.inputs):
        raise CannotLower("the steps are those of another network")
    for own, tensor in zip(steps.inputs, signature.inputs, strict=True):
        if not own.columns:
            continue
        every = [n for part in own.columns for n in part.places]
        whole = all(type(n) is int for n in every) and sorted(every) == [*range(tensor.size)]
        ordered = all(part.places and [*part.places] == sorted(part.places) for part in own.columns)
        floats = tensor.dtype.startswith("float")
        if not (whole and ordered and floats) or steps.base.bit_count() != 1:
            raise CannotLower("an input's columns are not split as any are")
        for part in own.columns:
            if type(part.scale) is not int or not own.scale - _LONGEST < part.scale <= own.scale:
                raise CannotLower("a column counts in steps that its input does not have")
            if type(part.offset) is not int:
                raise CannotLower("a column is offset as no table allows")


def within_columns(
    samples: Sequence[Sample],
    signature: Signature,
    accepted: Mapping[str, Range],
    steps: Sequence[InputSteps],
    base: int,
) -> list[Sample]:
    """Samples of the accepted ranges, each element moved in proportion to where its column's table
    ends within that."""
    moved: dict[str, tuple[float, float, NDArray[Any], NDArray[Any]]] = {}
    for tensor, own in zip(signature.inputs, steps, strict=True):
        if not own.columns:
            continue
        lower, upper = accepted[tensor.name]
        ends = np.array([(lower, upper)] * tensor.size)
        for part in own.columns:
            low, high = part.range(base)
            ends[[*part.places]] = max(lower, low), min(upper, high)
        least, most = (ends[:, n].reshape(tensor.shape) for n in (0, 1))
        moved[tensor.name] = lower, (upper - lower) or 1.0, least, most - least

    def one(name: str, x: NDArray[Any]) -> NDArray[Any]:
        if name not in moved:
            return x
        lower, width, least, room = moved[name]
        return np.asarray(least + (x.astype(np.float64) - lower) / width * room, dtype=x.dtype)

    return [{name: one(name, x) for name, x in sample.items()} for sample in samples]


def split(network: Network, places: Places) -> tuple[Network, Callable[[int], int]]:
    """A network that begins with a sum for each group of columns, and the new numbers of its rows.
    Comparisons of inputs with constants still read these as they come."""
    first, steps = len(network.inputs), list[Step]()
    moved: dict[int, Integers] = {}
    for row, groups in enumerate(places):
        if not groups:
            continue
        moved[row] = np.empty((2, network.inputs[row]), dtype=np.int64)
        for own in groups:
            moved[row][:, [*own]] = np.full(len(own), first + len(steps)), np.arange(len(own))
            steps.append(_column_sum(row, own))
    more = len(steps)

    def number(row: int) -> int:
        return row if row < first else row + more

    sizes = [*network.inputs, *(step.size for step in steps)]
    sizes += network.sizes[first:]

    def view(old: View) -> View:
        if not moved.keys() & {*old.rows} or np.all(old.places == ZERO):
            return View(rows=tuple(number(row) for row in old.rows), places=old.places)
        starts = np.cumsum([0, *(network.sizes[row] for row in old.rows)])
        part = np.searchsorted(starts[1:], old.places, side="right")
        rows, elements = np.array(old.rows)[part], old.places - starts[part]
        new = np.where(rows < first, rows, rows + more)
        for row, to in moved.items():
            mine = (rows == row) & (old.places != ZERO)
            new[mine], elements[mine] = to[:, elements[mine]]
        there = old.places != ZERO
        kept = np.unique(new[there])
        begins = np.cumsum([0, *(sizes[row] for row in kept)])[np.searchsorted(kept, new)]
        found = np.where(there, begins + elements, ZERO)
        return View(rows=tuple(int(row) for row in kept), places=found)

    for step in network.steps:
        compares = isinstance(step, Sum) and step.kind is Kind.DECIDED
        steps.append(step if compares else seen(step, view))
    outputs = tuple(view(output) for output in network.outputs)
    return Network(inputs=network.inputs, steps=tuple(steps), outputs=outputs), number


def _column_sum(row: int, places: Sequence[int]) -> Sum:
    """A sum that has these elements of an input as they are."""
    view = View(rows=(row,), places=np.array(places, dtype=np.int64).reshape(1, 1, -1))
    ones = np.ones((len(places), 1, 1, 1))
    term = Convolution(view=view, weights=ones, height=alone(1), width=alone(1))
    shape = (1, 1, len(places))
    return Sum(kind=Kind.SIGNED, shape=shape, terms=(term,), bias=np.zeros(len(places)))
