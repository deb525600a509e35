"""The fewest bits with which a network is exact enough, in a table of a given length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from circuits.calibration.accuracy import Measured, compare, far_off
from circuits.calibration.samples import corner_samples, draw
from circuits.committed.arithmetic import (
    InputSteps,
    Steps,
    lengths,
    lengths_of,
    output_scales,
)
from circuits.committed.network import Floats, Function, Kind, Network
from circuits.format.commitments import Weights
from circuits.format.tensors import InputEncoding, dtype_bounds, scale_wanted
from circuits.lower.committed.choosing.input_steps import (
    accepted_input,
    choose_inputs,
    finest_wanted,
    is_tested,
    least_scale,
)
from circuits.lower.committed.choosing.sampling import (
    Answers,
    answers_of,
    inputs_of,
    run_samples,
    shaped,
)
from circuits.lower.committed.quantising.functions import BENDS
from circuits.lower.committed.quantising.steps import choose_steps, integer_network
from circuits.lower.committed.quantising.tables import asks
from circuits.lower.committed.reading.columns import Group, within_columns
from circuits.lower.committed.reading.network import Read
from circuits.lower.committed.reading.responses import Extent, comparisons, gap, responses
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweringTask
from circuits.lower.thresholds import bits_for_thresholds

#: Bits of activations that are tried, and by how many a table is longer at least.
_LEAST_BITS, _MOST_BITS, _TABLE_BITS = 6, 15, 1
#: By how much hidden results may exceed those seen on samples, the least that does first.
_MARGINS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
#: Inputs drawn from the accepted range that a circuit holds which does not hold its corners.
_DRAWN = 32
#: How much further sums reach on others, where each column is drawn from a range of its own.
_MORE = 1.25
#: Rebuilds of which none may refuse a circuit.
_REBUILDS = 16
#: Share of the tolerance that the sides of a comparison may be off by.
_DECISIVE = 0.5


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Integers that are exact enough on the samples planned on, with the inputs that they accept;
    their ``answers`` for the held-out ones, and how exact these are. ``rebuilds``: whether a
    rebuild, which draws its inputs, will mostly find them near the model."""

    steps: Steps
    integers: Network
    accepted: tuple[InputEncoding, ...]
    scales: list[int]
    answers: Answers
    held_out: Measured
    rebuilds: bool


class Search:
    """A network and what it is held to. ``tried``: how exact each choice of bits was."""

    def __init__(
        self,
        read: Read,
        graph: FloatGraph,
        task: LoweringTask,
        shown: bool,
        weights: Weights,
        *,
        corners: bool = True,
        columns: Sequence[Sequence[Group]],
        function: str | None = None,
    ) -> None:
        """``shown``: whether inputs are public; ``corners``: whether those of the accepted range
        have their entries in the table, too, or only inputs drawn from it; ``columns``: of each
        input, those that have steps of their own; ``function``: the operator of a second table."""
        self.read, self.graph, self.task = read, graph, task
        self.shown, self.weights, self.corners = shown, weights, corners
        self.columns, self.function = columns, function
        self.tried: list[Measured] = []
        plan, held_out = inputs_of(graph, task.plan), inputs_of(graph, task.held_out)
        self._values = [np.concatenate(both) for both in zip(plan, held_out, strict=True)]
        self._seen = responses(read.network, plan)
        self._reference = shaped(graph, self._seen.outputs)
        self._unseen = shaped(graph, responses(read.network, held_out).outputs)
        self._corners: dict[Any, tuple[list[Floats], list[Extent]]] = {}
        terms = [term for _, step in read.network.sums for term in step.terms]
        functions = [term for term in terms if isinstance(term, Function)]
        bent = any(function is None or asks(term) != function for term in functions)
        self._bends: tuple[int, ...] = BENDS if bent else BENDS[:1]
        self._least, self._most = _LEAST_BITS, _MOST_BITS if shown else _bits_of_inputs(graph)
        self._told_apart = _told_apart(read.network, graph, task)
        self._least_scales = finest_wanted(read, graph, task.plan)

    def coarsest(self, logrows: int) -> Trial | None:
        """Of one bit more than the least that does, since inputs differ, or of the first beyond
        that which serves held-out samples too, if one does; None where nothing is exact enough.

        Called with one length after another, the shortest first: what did not do in a shorter table
        is not tried again.
        """
        most = min(self._most, logrows - _TABLE_BITS)
        for number, bend in enumerate(self._bends):
            trial = lru_cache(partial(self._trial, logrows=logrows, bend=bend))
            finest = trial(most)
            if finest is None:
                continue
            self._bends = self._bends[number:]
            if self.weights is not Weights.SEALED or self._told_apart is not None:
                return finest  # the table is the same for all, and finer costs nothing or less
            enough = most
            while self._least < enough:
                middle = (self._least + enough) // 2
                tried = trial(middle)
                if tried is None or (finest.rebuilds and not tried.rebuilds):
                    self._least = middle + 1
                else:
                    enough = middle
            more = (trial(bits) for bits in range(enough + 1, most))
            return next((t for t in more if t is not None and self.serves(t)), finest)
        return None

    def serves(self, trial: Trial) -> bool:
        """Whether integers are exact enough on held-out samples too, and near the model on what a
        rebuild draws."""
        return self._exact(trial.held_out) and trial.rebuilds

    def holds_corners(self, trial: Trial) -> bool:
        """Whether integers were held to every corner of the accepted range: the model may have no
        answer at some."""
        if not self.corners:
            return False
        (answered, *_), _ = self._others(trial.accepted, trial.steps.inputs, trial.steps.base)
        return len(answered) == len(corner_samples(trial.accepted))

    def _exact(self, measured: Measured) -> bool:
        task = self.task
        return measured.max_error <= task.max_error and measured.agreement >= task.agreement

    def _trial(self, bits: int, logrows: int, bend: int) -> Trial | None:
        """Integers of so many bits, if they are exact enough on the samples planned on."""
        inside = self._inside(bits, logrows, bend)
        if inside is None:
            return None
        steps, integers, rows = inside
        scales = output_scales(self.read.network, steps)
        planned = len(self.task.plan)
        seen, unseen = (
            [r[:planned] for r in rows],
            [r[planned : len(self._values[0])] for r in rows],
        )
        self.tried.append(compare(self._reference, answers_of(self.graph, integers, scales, seen)))
        if not self._exact(self.tried[-1]):
            return None
        if _misjudged(integers, steps, seen, self._seen.gaps) > _DECISIVE * self.task.max_error:
            return None
        answers = answers_of(self.graph, integers, scales, unseen)
        measured = compare(self._unseen, answers)
        self.tried.append(measured)
        return Trial(
            steps=steps,
            integers=integers,
            accepted=self._accepted(steps.inputs, steps.base),
            scales=scales,
            answers=answers,
            held_out=measured,
            rebuilds=self._rebuilds(steps, integers),
        )

    def _rebuilds(self, steps: Steps, integers: Network) -> bool:
        """Whether inputs drawn as a rebuild draws them are near the model's answers: where a
        function is of an input as it comes and steep, as a logarithm next to zero, samples need not
        say so."""
        network = self.read.network
        given = {*range(len(network.inputs) + len(steps.of_columns))}
        terms = [term for _, step in network.sums for term in step.terms]
        if not any(isinstance(t, Function) and given.issuperset(t.view.rows) for t in terms):
            return True
        signature = self.graph.signature
        edges = self._accepted(steps.inputs, steps.base)
        ranges = {own.tensor.name: (own.lower, own.upper) for own in edges}
        for seed in range(_REBUILDS):
            drawn = draw(signature, ranges, seed=seed)
            samples = within_columns(
                [*drawn.plan, *drawn.held_out], signature, ranges, steps.inputs, steps.base
            )
            values = inputs_of(self.graph, samples)
            wanted, made = responses(network, values).outputs, run_samples(integers, steps, values)
            inside = np.all([np.isfinite(output).all(axis=1) for output in wanted], axis=0)
            inside &= ~made.outside
            scales = output_scales(network, steps)
            found = answers_of(self.graph, integers, scales, [row[inside] for row in made.rows])
            far = far_off(shaped(self.graph, [output[inside] for output in wanted]), found)
            if np.any(far):
                return False
        return True

    def _inside(
        self, bits: int, logrows: int, bend: int
    ) -> tuple[Steps, Network, list[Any]] | None:
        """Steps under which every sample has its entries in the table, the integers, and their
        rows; None where there are none."""
        base = 1 << bits
        inputs = choose_inputs(
            self.read.network,
            self.graph,
            self.task,
            base,
            self.shown,
            self._told_apart,
            self._least_scales,
            self.columns,
        )
        if inputs is None:
            return None
        others, extremes = self._others(self._accepted(inputs, base), inputs, base)
        every = [np.concatenate(both) for both in zip(self._values, others, strict=True)]
        for margin in _MARGINS:
            try:
                steps = choose_steps(
                    self.read,
                    [
                        e.reaching(least, margin)
                        for e, least in zip(self._seen.extents, extremes, strict=True)
                    ],
                    base=base,
                    logrows=logrows,
                    inputs=inputs,
                    margin=margin,
                    bend=bend,
                    function=self.function,
                    packs=self.weights is Weights.SEALED,
                    largest_weight=base // 2 - 1 if self.weights is Weights.PRIVATE else None,
                )
                integers = integer_network(self.read, steps)
            except CannotLower:
                return None
            if self.function is not None and integers.function_table is None:
                return None
            made = run_samples(integers, steps, every)
            if not np.any(made.outside):
                return steps, integers, made.rows
        return None

    def _accepted(self, inputs: Sequence[InputSteps], base: int) -> tuple[InputEncoding, ...]:
        """The inputs as a circuit of these steps accepts them."""
        return tuple(
            accepted_input(self.task.accepted[t.name], t, own, base, self.shown)
            for t, own in zip(self.graph.signature.inputs, inputs, strict=True)
        )

    def _others(
        self, edges: tuple[InputEncoding, ...], inputs: Sequence[InputSteps], base: int
    ) -> tuple[list[Floats], list[Extent]]:
        """Of other accepted inputs those at which the model has an answer, and what its sums reach
        there: the corners of the accepted range, or inputs drawn from all of it, as a rebuild
        draws them."""
        key = tuple(
            (own.lower, own.upper, *(part.range(base) for part in steps.columns))
            for own, steps in zip(edges, inputs, strict=True)
        )
        if key not in self._corners:
            ranges = {own.tensor.name: (own.lower, own.upper) for own in edges}
            drawn = draw(self.graph.signature, ranges)
            samples = corner_samples(edges) if self.corners else drawn.plan[:_DRAWN]
            samples = within_columns(samples, self.graph.signature, ranges, inputs, base)
            corners = inputs_of(self.graph, samples)
            found = responses(self.read.network, corners)
            finite = [np.isfinite(output).all(axis=1) for output in found.outputs]
            answered = [values[np.all(finite, axis=0)] for values in corners]
            extents = found.extents
            if any(self.columns):
                extents = [replace(e, low=_MORE * e.low, high=_MORE * e.high) for e in extents]
            self._corners[key] = answered, extents
        return self._corners[key]


def _bits_of_inputs(graph: FloatGraph) -> int:
    """The most bits of a table that lets no number pass as an input which its dtype does not hold.
    Raises ``CannotLower`` where that is too few."""
    most = _MOST_BITS
    for tensor in graph.signature.inputs:
        low, high = dtype_bounds(tensor.dtype)
        if (bits := (high - low + 1).bit_length() - 1) < _LEAST_BITS:
            raise CannotLower(f"input {tensor.name!r} has a range of its own")
        most = min(most, bits)
    return most


def _told_apart(network: Network, graph: FloatGraph, task: LoweringTask) -> int | None:
    """Fractional bits that tell inputs from the constants that they are compared with. Raises
    ``CannotLower`` where the scale that is asked for does not even tell these apart."""
    if not any(step.kind is Kind.DECIDED for _, step in network.sums):
        return None
    least = 0
    for row, tensor in enumerate(graph.signature.inputs):
        if not is_tested(network, row):
            continue
        own, asked = least_scale(network, row, tensor.dtype), task.input_scale
        if asked is not None and scale_wanted(tensor.dtype, asked) < own:
            raise CannotLower(
                f"in steps of 2^{-asked}, constants that an input is compared with are not told"
                f" apart: that takes 2^{-own}"
            )
        least = max(least, own)
    found = bits_for_thresholds(graph.plain, task.plan)
    return max(found, least) if found else found


def _misjudged(
    network: Network, steps: Steps, rows: Sequence[Any], gaps: Sequence[Floats]
) -> float:
    """By how much the sides of comparisons are off, over the range of their differences: an answer
    that is only a class says nothing of how near the decision was."""
    every, worst = lengths(network, steps), 0.0
    for number, wanted in zip(comparisons(network), gaps, strict=True):
        step = network.steps[number]
        length = lengths_of(step.views[0], every).reshape(-1)
        found = gap(network, number, rows) / np.where(length == 0, 1.0, length)
        width = float(np.ptp(wanted)) or float(np.abs(wanted).max(initial=0.0)) or 1.0
        worst = max(worst, float(np.abs(found - wanted).max(initial=0.0)) / width)
    return worst
