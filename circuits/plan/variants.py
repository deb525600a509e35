"""Graphs with number formats that are exact enough: what is left to choose is the circuit's shape.

Two roads lead here, ``integers`` and ``fixed_point``; the types that they share are in this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from circuits.calibration.accuracy import Measured
from circuits.calibration.samples import Range, Sample, Samples
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits, RunArgs
from circuits.format.commitments import Commitments
from circuits.format.field import Felts, to_felt
from circuits.format.hidden import Hidden, Salt
from circuits.format.hints import Hints, HintSpec
from circuits.format.manifest import AppliedPass
from circuits.format.profile import Profile
from circuits.format.tensors import ContextEncoding, InputEncoding, OutputEncoding, Signature
from circuits.plan.layouts import Pricing

#: Decomposition width while accuracy is measured: wide enough to hold anything sensible.
WIDE_BASE, WIDE_LEGS = 1 << 28, 4
_PROBE_LOOKUPS = (-(1 << 24), 1 << 24)
#: Samples, besides the corners, that a circuit is tried on.
BOUND_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Network:
    """A circuit's committed hints: the network that computes them (``Arrangement.to_bytes``), what
    its manifest says of them, and the one shape that the circuit has, by its own count."""

    data: bytes
    claim: Commitments
    shape: LayoutStats


@dataclass(frozen=True, kw_only=True)
class LoweredCandidate:
    """A graph ready for the engine (context input bound), with scales, and how exact it is.

    ``bound_bits``: every value that is decomposed stays below ``2^bound_bits`` in magnitude;
    ``lookup_range``: what tables must hold, or None when there are none; ``proven``: whether these
    bounds hold for *every* accepted input (interval arithmetic) or were seen on samples and at
    the corners of the accepted range, with a margin. ``given``: what the circuit is given beside
    its inputs, where it is given anything. ``hidden``: how inputs are bounded that are not shown.
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
    given: HintSpec | None = None
    hidden: Hidden | None = None
    network: Network | None = None

    @property
    def salt(self) -> Salt | None:
        """The random look-ups that the circuit takes."""
        return None if self.hidden is None else self.hidden.salt(1)

    @property
    def hints(self) -> bytes | None:
        """What computes hints, where the circuit has any: a graph, or a network."""
        if self.network is not None:
            return self.network.data
        return None if self.given is None else self.given.graph

    @property
    def claim(self) -> Hints | None:
        """What the manifest says of what the circuit is given."""
        return None if self.given is None else self.given.claim

    def write_hints(self, folder: Path) -> Path | None:
        """That as a file in a folder."""
        if self.hints is None:
            return None
        path = folder / ("hints.onnx" if self.network is None else "network")
        path.write_bytes(self.hints)
        return path

    @property
    def commitments(self) -> Commitments | None:
        """What the manifest says of committed hints."""
        return None if self.network is None else self.network.claim


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One variant in one shape, priced at its own k."""

    variant: LoweredCandidate
    priced: LayoutStats

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
    dominated: Callable[[Task, bytes, RunArgs], bool]
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
    visible = profile.visibility
    return RunArgs(
        input_scale=input_scale,
        param_scale=param_scale,
        scale_rebase_multiplier=scale_rebase_multiplier,
        logrows=17,
        decomp_base=WIDE_BASE,
        decomp_legs=WIDE_LEGS,
        lookup_range=_PROBE_LOOKUPS,
        ignore_range_check_inputs_outputs=not profile.checks_ranges,
        input_visibility=profile.engine_input,
        param_visibility=visible.engine_params,
    )


def integer_args(profile: Profile, scale: int) -> RunArgs:
    """The settings of an integer graph whose tables work at ``scale``: whole constants stay whole,
    and what comes out of a table is the only thing at a scale of its own."""
    args = base_args(profile, input_scale=0, param_scale=scale, scale_rebase_multiplier=1)
    return replace(args, rebase_frac_zero_constants=scale > 0)


def binds(hints: Hints, args: RunArgs) -> bool:
    """Whether results that a circuit is given are bound in this shape of it."""
    return hints.bind(args.decomp_base, args.decomp_legs, args.lookup_range, args.logrows)
