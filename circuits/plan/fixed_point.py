"""The lowering path of EZKL's own fixed point: the float graph and a scale.

Low scales make small numbers, so few legs and little work; the accuracy that the profile asks for
decides how low one can go. With a high ``scale_rebase_multiplier`` products are never rescaled (46
assignments each), at the price of larger numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from circuits.calibration.accuracy import Measured, compare
from circuits.calibration.samples import Sample, corner_samples
from circuits.engine.port import LayoutStats, RunArgs, Simulated
from circuits.errors import EngineError
from circuits.format.field import Felts
from circuits.format.hidden import Hidden
from circuits.format.profile import Profile
from circuits.lower.graphs import LoweredGraph
from circuits.plan.graphs import bound_float
from circuits.plan.lowered_candidates import (
    BOUND_SAMPLES,
    WIDE_LEGS,
    LoweredCandidate,
    Rejected,
    Task,
    base_args,
)

FIRST_SCALE = 7
SCALES = (2, 20)
MULTIPLIERS = (10, 1)
_HALF_BIT = 0.5
#: Samples that a scale is tried on before it is measured on the held-out ones.
_QUICK = 8
#: Assignments that simulating one variant's held-out samples may take; at least ``_QUICK`` are run.
_MEASURE_CELLS = 8_000_000


def fixed_point(task: Task) -> Iterator[LoweredCandidate | Rejected]:
    """For each multiplier, the lowest scale that is exact enough, and what was tried on the way.

    A bit of scale halves the error, so each measurement says how many bits to go up or down.
    """
    for multiplier in MULTIPLIERS:
        tried: dict[int, bool] = {}
        scale = FIRST_SCALE
        while scale not in tried:
            label = f"fixed-point scale {scale}" + (", no rescaling" if multiplier > 1 else "")
            args = base_args(
                task.profile,
                input_scale=scale,
                param_scale=scale,
                scale_rebase_multiplier=multiplier,
            )
            if task.dominated(task, task.graph.onnx, args):
                yield Rejected(label=label, reason="predicted no faster even in its cheapest shape")
                break
            task.say(label)
            result = _try_fixed_point(task, label, args)
            yield result
            tried[scale] = isinstance(result, LoweredCandidate)
            scale = _next_scale(scale, result, tried, task.profile)


def _next_scale(
    scale: int, result: LoweredCandidate | Rejected, tried: dict[int, bool], profile: Profile
) -> int:
    """Where the lowest scale that is exact enough may lie; one already tried ends the search."""
    if result.measured is None:
        return scale
    error = max(result.measured.max_error, 1e-9)
    bits = math.log2(error / max(profile.max_error, 1e-9))
    if isinstance(result, LoweredCandidate):
        lower = max(SCALES[0], scale - max(1, math.floor(-bits)))
        failed = [s for s, good in tried.items() if not good]
        return max([lower, *(s + 1 for s in failed)]) if bits < -_HALF_BIT else scale
    higher = min(SCALES[1], scale + max(1, math.ceil(bits)))
    good = [s for s, ok in tried.items() if ok]
    return min([higher, *good])


def _try_fixed_point(task: Task, label: str, args: RunArgs) -> LoweredCandidate | Rejected:
    try:
        lowered, layout = _bounded(task, label, args)
    except EngineError as error:
        return Rejected(label=label, reason=error.detail)
    probe = Probe(task, lowered, layout)
    measured = probe.measure_in_two_steps()
    if isinstance(measured, str):
        return Rejected(label=label, reason=measured)
    if not measured.meets(task.profile):
        return Rejected(label=label, reason="not exact enough", measured=measured)
    bounds = probe.bounds()
    if isinstance(bounds, str):
        return Rejected(label=label, reason=bounds, measured=measured)
    bits, lookups = bounds
    return LoweredCandidate.of(
        replace(lowered, bound_bits=bits, lookup_range=lookups),
        args=args,
        proven=False,
        measured=measured,
        samples=tuple(probe.seen),
    )


def _bounded(task: Task, label: str, args: RunArgs) -> tuple[LoweredGraph, LayoutStats]:
    """The graph at the engine's scales, with what nobody sees bounded, layout. Raises
    ``EngineError`` where it cannot be."""
    graph, accepted, visibility = task.graph, task.lowering.accepted, task.profile.visibility
    onnx, passes, hidden = graph.onnx, graph.passes, None
    layout = _measured_layout(task, onnx, args)
    scales = layout.input_scales[: len(graph.signature.inputs)]
    outputs = graph.decodings(layout.output_scales[-len(graph.signature.outputs) :])
    if not visibility.shows_input:
        made = task.engine.sandbox.run(task.limits, bound_float, onnx, accepted, list(scales))
        if isinstance(made, str):
            raise EngineError(made)
        onnx, passes = made[0], (*passes, made[1])
        hidden = Hidden(inputs="digits")
        layout = _measured_layout(task, onnx, args)
    lowered = LoweredGraph(
        label=label,
        onnx=onnx,
        passes=passes,
        inputs=graph.encodings(scales, accepted),
        outputs=outputs,
        scale=None,
        hidden=hidden,
    )
    return lowered, layout


def _measured_layout(task: Task, onnx: bytes, args: RunArgs) -> LayoutStats:
    (layout,) = task.engine.measure_layout(onnx, [args], task.limits)
    if isinstance(layout, EngineError):
        raise layout
    return layout


class Probe:
    """Runs samples through one layout candidate's arithmetic."""

    def __init__(self, task: Task, graph: LoweredGraph, layout: LayoutStats) -> None:
        self.task, self.graph, self.layout = task, graph, layout
        self.seen: list[list[Felts]] = []
        self._lookups: tuple[int, int] = (0, 0)

    def measure_in_two_steps(self) -> Measured | str:
        """Accuracy on the held-out samples, or on a few others if those are far off already."""
        few = self.task.samples.plan[:_QUICK]
        quick = self.measure(few, self.task.reference["plan"][:_QUICK])
        if isinstance(quick, str) or quick.max_error > self.task.profile.max_error:
            return quick
        count = max(_QUICK, _MEASURE_CELLS // max(1, self.layout.assignments))
        held_out = self.task.samples.held_out[:count]
        return self.measure(held_out, self.task.reference["held_out"][:count])

    def measure(
        self, samples: Sequence[Sample], reference: Sequence[Sequence[NDArray[Any]]]
    ) -> Measured | str:
        """Accuracy on samples, or why one of them failed."""
        encoded = [self.task.encode(self.graph.inputs, s) for s in samples]
        self.seen += encoded
        outputs = []
        for result in self._simulate(self.layout.settings, encoded):
            if isinstance(result, EngineError):
                return result.detail
            felts = self.graph.model_outputs(result.outputs)
            try:
                outputs.append(
                    [o.decode(f) for o, f in zip(self.graph.outputs, felts, strict=True)]
                )
            except ValueError as error:
                return f"the circuit's output is not a number: {error}"
        return compare(reference, outputs, decisive=self.task.decisive)

    def bounds(self) -> tuple[int, tuple[int, int] | None] | str:
        """Bits that decompositions must hold, and the range of tables.

        Over the corners of the accepted range and a few samples; ``holds`` checks the rest once a
        shape is chosen. A bit of headroom is added to the first, a quarter of its width to each
        side of the second.
        """
        corners = [
            self.task.encode(self.graph.inputs, c) for c in corner_samples(self.graph.inputs)
        ]
        for result in self._simulate(self.layout.settings, corners):
            if isinstance(result, EngineError):
                return f"fails at a corner of the accepted range: {result.detail}"
        bits = self._decomposition_bits([*corners, *self.seen[:BOUND_SAMPLES]])
        self.seen += corners
        lookups = None
        if self.layout.lookups:
            low, high = self._lookups
            room = (high - low) // 4 + 1
            lookups = (low - room, high + room)
        return bits + 1, lookups

    def _decomposition_bits(self, encoded: Sequence[list[Felts]]) -> int:
        """The least multiple of four bits, found by halving, at which nothing overflows.

        A base of 2^b with four legs holds 4b bits; simulation builds no table, so any base will do.
        """
        low, high = 1, 28
        while low < high:
            middle = (low + high) // 2
            args = replace(self.layout.args, decomp_base=1 << middle, decomp_legs=WIDE_LEGS)
            layout = self.task.engine.measure_layout(self.graph.onnx, [args], self.task.limits)[0]
            fits = not isinstance(layout, EngineError) and not any(
                isinstance(r, EngineError) for r in self._simulate(layout.settings, encoded)
            )
            low, high = (low, middle) if fits else (middle + 1, high)
        return WIDE_LEGS * low

    def _simulate(
        self, settings: str, encoded: Sequence[list[Felts]]
    ) -> list[Simulated | EngineError]:
        results = self.task.engine.simulate(self.graph.onnx, settings, encoded, self.task.limits)
        for result in results:
            if isinstance(result, Simulated):
                low, high = self._lookups
                self._lookups = (min(low, result.lookup_min), max(high, result.lookup_max))
        return results
