"""Graphs and number formats that are exact enough: what is left is the circuit's shape.

The *integer* road is the main one: we quantise input and weights ourselves and hand EZKL a graph of
whole numbers at scale 0. Nothing is rescaled, its answers are known without running the engine,
and interval arithmetic proves how large its numbers get.

The *fixed-point* road hands EZKL the float graph and a scale. Low scales make small numbers, so few
legs and little work; the accuracy that the profile asks for decides how low one can go. With a high
``scale_rebase_multiplier`` products are never rescaled (46 assignments each), at the price of
larger numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Felts, Limits, Priced, RunArgs, Simulated
from circuits.errors import EngineError
from circuits.field import to_felt
from circuits.manifest import AppliedPass
from circuits.plan.accuracy import Measured, compare
from circuits.plan.graphs import FloatGraph, IntegerGraph, IntegerTask
from circuits.plan.samples import Range, Sample, Samples
from circuits.plan.shapes import Pricing
from circuits.profile import Profile, Soundness
from circuits.tensors import ContextEncoding, InputEncoding, OutputEncoding, Signature

_LOWER = "circuits.compiler:integer_graphs"
FIRST_SCALE = 7
SCALES = (2, 14)
_HALF_BIT = 0.5
MULTIPLIERS = (10, 1)
#: Decomposition width while accuracy is measured: wide enough to hold anything sensible.
_WIDE_BASE, _WIDE_LEGS = 1 << 28, 4
_PROBE_LOOKUPS = (-(1 << 24), 1 << 24)
#: Samples that a scale is tried on before it is measured on the held-out ones.
_QUICK = 8
#: Seconds that simulating one variant's held-out samples may take; at least ``_QUICK`` are.
_MEASURE_S = 5.0
#: Samples, besides the corners, that the width of decompositions is found on.
_BOUND_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A graph ready for the engine (context input bound), with scales, and how exact it is.

    ``bound_bits``: every value that is decomposed stays below ``2^bound_bits`` in magnitude;
    ``lookup_range``: what tables must hold, or None when there are none; ``proven``: whether these
    bounds hold for *every* accepted input (interval arithmetic) or were seen on samples and at
    the corners of the accepted range, with a margin.
    """

    label: str
    onnx: bytes
    passes: tuple[AppliedPass, ...]
    args: RunArgs
    inputs: tuple[InputEncoding, ...]
    context: ContextEncoding
    outputs: tuple[OutputEncoding, ...]
    bound_bits: int
    lookup_range: tuple[int, int] | None
    proven: bool
    measured: Measured
    samples: tuple[list[Felts], ...] = field(default=(), repr=False)
    recipe: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One variant in one shape, priced at its own k."""

    variant: Variant
    priced: Priced

    @property
    def args(self) -> RunArgs:
        return self.priced.args

    @property
    def headroom_bits(self) -> float:
        """Bits by which decompositions hold more than the variant's bound."""
        return self.args.decomp_legs * math.log2(self.args.decomp_base) - self.variant.bound_bits


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A variant that was tried and lost before pricing."""

    label: str
    reason: str
    measured: Measured | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all roads need to know."""

    engine: EzklEngine
    limits: Limits
    signature: Signature
    accepted: dict[str, Range]  # margins included
    samples: Samples
    reference: dict[str, list[list[NDArray[Any]]]]  # "plan" and "held_out", as onnxruntime says
    profile: Profile
    context: ContextEncoding
    hopeless: Callable[[Task, bytes, RunArgs], bool]
    on_progress: Callable[[str], None] | None = None

    def say(self, text: str) -> None:
        """Tells whoever watches what is being tried."""
        if self.on_progress is not None:
            self.on_progress(text)

    @property
    def pricing(self) -> Pricing:
        """This task as ``shapes`` sees it."""
        return Pricing(
            engine=self.engine, limits=self.limits, profile=self.profile, context=self.context
        )

    @property
    def decisive(self) -> float | None:
        """See ``compare``: drawn samples on which the reference is undecided do not count."""
        return None if self.samples.calibrated else self.profile.max_error

    def encode(self, inputs: Sequence[InputEncoding], sample: Sample) -> list[Felts]:
        """A sample as the engine takes it, under context zero."""
        tensors = [[to_felt(n) for n in e.quantise(sample[e.tensor.name])] for e in inputs]
        if self.context.limbs:
            tensors.append(self.context.encode(0))
        return tensors

    def encodings(self, scales: Sequence[int]) -> tuple[InputEncoding, ...]:
        return tuple(
            InputEncoding(
                tensor=t, scale=s, lower=self.accepted[t.name][0], upper=self.accepted[t.name][1]
            )
            for t, s in zip(self.signature.inputs, scales, strict=True)
        )

    def decodings(self, scales: Sequence[int]) -> tuple[OutputEncoding, ...]:
        return tuple(
            OutputEncoding(tensor=t, scale=s)
            for t, s in zip(self.signature.outputs, scales, strict=True)
        )


def base_args(
    profile: Profile, *, input_scale: int, param_scale: int, scale_rebase_multiplier: int
) -> RunArgs:
    """The settings that a profile fixes, with a shape that holds everything."""
    conservative = profile.soundness is Soundness.CONSERVATIVE
    visible = profile.visibility
    return RunArgs(
        input_scale=input_scale,
        param_scale=param_scale,
        scale_rebase_multiplier=scale_rebase_multiplier,
        logrows=17,
        decomp_base=_WIDE_BASE,
        decomp_legs=_WIDE_LEGS,
        lookup_range=_PROBE_LOOKUPS,
        ignore_range_check_inputs_outputs=not conservative,
        disable_freivalds=conservative,
        input_visibility=visible.engine_input,
        param_visibility=visible.engine_params,
    )


def integers(task: Task, graph: FloatGraph) -> Iterator[Variant | Rejected]:
    """The integer road: every choice of bits and form that keeps the tolerance."""
    task.say("choosing bits for each layer")
    made: list[IntegerGraph] | str = task.engine.sandbox.call(
        _LOWER, graph, _integer_task(task), limits=task.limits
    )
    if isinstance(made, str):
        yield Rejected(label="integers", reason=made)
        return
    if not made:
        yield Rejected(label="integers", reason="no choice of bits is exact enough")
    for candidate in made:
        yield _judged(task, candidate)


def _integer_task(task: Task) -> IntegerTask:
    calibrated = task.samples.calibrated
    return IntegerTask(
        accepted=task.accepted,
        limbs=task.context.limbs,
        hand_on=not task.profile.visibility.shows_input,
        plan=task.samples.plan,
        held_out=task.samples.held_out,
        max_error=task.profile.max_error,
        # On drawn samples the top answer is judged by the planner, where it is decided at all.
        agreement=task.profile.agreement if calibrated else 0.0,
    )


def _judged(task: Task, graph: IntegerGraph) -> Variant | Rejected:
    measured = compare(task.reference["held_out"], graph.outputs, decisive=task.decisive)
    if not measured.meets(task.profile):
        return Rejected(label=graph.label, reason="not exact enough", measured=measured)
    inputs = task.encodings(graph.input_scales)
    tried = [*corner_samples(inputs), *task.samples.held_out[:_BOUND_SAMPLES]]
    return Variant(
        label=graph.label,
        onnx=graph.onnx,
        passes=graph.passes,
        args=base_args(task.profile, input_scale=0, param_scale=0, scale_rebase_multiplier=1),
        inputs=inputs,
        context=task.context,
        outputs=task.decodings(graph.output_scales),
        bound_bits=max(1, graph.bound.bit_length()),
        lookup_range=graph.lookup_range,
        proven=True,
        measured=measured,
        samples=tuple(task.encode(inputs, s) for s in tried),
        recipe=graph.recipe,
    )


def fixed_point(
    task: Task, onnx: bytes, passes: tuple[AppliedPass, ...]
) -> Iterator[Variant | Rejected]:
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
            if task.hopeless(task, onnx, args):
                yield Rejected(label=label, reason="predicted no faster even in its cheapest shape")
                break
            task.say(label)
            result = _try_fixed_point(task, label, onnx, passes, args)
            yield result
            tried[scale] = isinstance(result, Variant)
            scale = _next_scale(scale, result, tried, task.profile)


def _next_scale(
    scale: int, result: Variant | Rejected, tried: dict[int, bool], profile: Profile
) -> int:
    """Where the lowest scale that is exact enough may lie; one already tried ends the search."""
    if result.measured is None:
        return scale
    error = max(result.measured.max_error, 1e-9)
    bits = math.log2(error / max(profile.max_error, 1e-9))
    if isinstance(result, Variant):
        lower = max(SCALES[0], scale - max(1, math.floor(-bits)))
        failed = [s for s, good in tried.items() if not good]
        return max([lower, *(s + 1 for s in failed)]) if bits < -_HALF_BIT else scale
    higher = min(SCALES[1], scale + max(1, math.ceil(bits)))
    good = [s for s, ok in tried.items() if ok]
    return min([higher, *good])


def _try_fixed_point(
    task: Task, label: str, onnx: bytes, passes: tuple[AppliedPass, ...], args: RunArgs
) -> Variant | Rejected:
    priced = task.engine.price(onnx, [args], task.limits)[0]
    if isinstance(priced, EngineError):
        return Rejected(label=label, reason=priced.detail)
    inputs = task.encodings(priced.input_scales[: len(task.signature.inputs)])
    outputs = task.decodings(priced.output_scales[-len(task.signature.outputs) :])
    probe = Probe(task, onnx, priced, inputs, outputs)
    measured = probe.measure_in_two_steps()
    if isinstance(measured, str):
        return Rejected(label=label, reason=measured)
    if not measured.meets(task.profile):
        return Rejected(label=label, reason="not exact enough", measured=measured)
    bounds = probe.bounds()
    if isinstance(bounds, str):
        return Rejected(label=label, reason=bounds, measured=measured)
    bits, lookups = bounds
    return Variant(
        label=label,
        onnx=onnx,
        passes=passes,
        args=args,
        inputs=inputs,
        context=task.context,
        outputs=outputs,
        bound_bits=bits,
        lookup_range=lookups,
        proven=False,
        measured=measured,
        samples=tuple(probe.seen),
    )


class Probe:
    """Runs samples through one priced candidate's arithmetic."""

    def __init__(
        self,
        task: Task,
        onnx: bytes,
        priced: Priced,
        inputs: tuple[InputEncoding, ...],
        outputs: tuple[OutputEncoding, ...],
    ) -> None:
        self.task, self.onnx, self.priced = task, onnx, priced
        self.inputs, self.outputs = inputs, outputs
        self.seen: list[list[Felts]] = []
        self._lookups: tuple[int, int] = (0, 0)

    def measure_in_two_steps(self) -> Measured | str:
        """Accuracy on the held-out samples, or on a few others if those are far off already."""
        few = self.task.samples.plan[:_QUICK]
        started = time.monotonic()
        quick = self.measure(few, self.task.reference["plan"][:_QUICK])
        if isinstance(quick, str) or quick.max_error > self.task.profile.max_error:
            return quick
        each = (time.monotonic() - started) / len(few)
        count = max(_QUICK, min(len(self.task.samples.held_out), int(_MEASURE_S / each)))
        held_out = self.task.samples.held_out[:count]
        return self.measure(held_out, self.task.reference["held_out"][:count])

    def measure(
        self, samples: Sequence[Sample], reference: Sequence[Sequence[NDArray[Any]]]
    ) -> Measured | str:
        """Accuracy on samples, or why one of them failed."""
        encoded = [self.task.encode(self.inputs, s) for s in samples]
        self.seen += encoded
        outputs = []
        for result in self._simulate(self.priced.settings, encoded):
            if isinstance(result, EngineError):
                return result.detail
            felts = result.outputs[-len(self.outputs) :]
            try:
                outputs.append([o.decode(f) for o, f in zip(self.outputs, felts, strict=True)])
            except ValueError as error:
                return f"the circuit's output is not a number: {error}"
        return compare(reference, outputs, decisive=self.task.decisive)

    def bounds(self) -> tuple[int, tuple[int, int] | None] | str:
        """Bits that decompositions must hold, and the range of tables.

        Over the corners of the accepted range and a few samples; ``holds`` checks the rest once a
        shape is chosen. A bit of headroom is added to the first, a quarter of its width to each
        side of the second.
        """
        corners = [self.task.encode(self.inputs, c) for c in corner_samples(self.inputs)]
        for result in self._simulate(self.priced.settings, corners):
            if isinstance(result, EngineError):
                return f"fails at a corner of the accepted range: {result.detail}"
        bits = self._decomposition_bits([*corners, *self.seen[:_BOUND_SAMPLES]])
        self.seen += corners
        lookups = None
        if self.priced.lookups:
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
            args = replace(self.priced.args, decomp_base=1 << middle, decomp_legs=_WIDE_LEGS)
            priced = self.task.engine.price(self.onnx, [args], self.task.limits)[0]
            fits = not isinstance(priced, EngineError) and not any(
                isinstance(r, EngineError) for r in self._simulate(priced.settings, encoded)
            )
            low, high = (low, middle) if fits else (middle + 1, high)
        return _WIDE_LEGS * low

    def _simulate(
        self, settings: str, encoded: Sequence[list[Felts]]
    ) -> list[Simulated | EngineError]:
        results = self.task.engine.simulate(self.onnx, settings, encoded, self.task.limits)
        for result in results:
            if isinstance(result, Simulated):
                low, high = self._lookups
                self._lookups = (min(low, result.lookup_min), max(high, result.lookup_max))
        return results


def corner_samples(inputs: tuple[InputEncoding, ...]) -> list[Sample]:
    """Inputs at the edges of what is accepted: all low, all high, alternating, random signs."""
    rng = np.random.default_rng(1)

    def patterns(size: int) -> list[NDArray[np.bool_]]:
        order = np.arange(size)
        fixed = [order < 0, order >= 0, order % 2 == 0, order % 2 == 1]
        return fixed + [rng.random(size) < 0.5 for _ in range(4)]

    columns = {
        e.tensor.name: [
            np.where(low, e.lower, e.upper).astype(np.float64).reshape(e.tensor.shape)
            for low in patterns(e.tensor.size)
        ]
        for e in inputs
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
