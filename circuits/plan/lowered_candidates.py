"""What the planner compares: lowered candidates, whose number formats are exact enough, in layouts.

Three lowering paths make them: ``committed``, ``integers`` and ``fixed_point``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from circuits.calibration.accuracy import Measured, compare
from circuits.calibration.samples import Sample, Samples, corner_samples
from circuits.cost.model import Prediction
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits, RunArgs
from circuits.evm.contract import MAX_CONTRACT_BYTES, PREDICTION_ERROR
from circuits.format.field import Felts, to_felt
from circuits.format.hidden import Salt
from circuits.format.profile import Profile, Target
from circuits.format.tensors import ContextEncoding, InputEncoding
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask, context_encoding
from circuits.plan.layouts import Layouts

#: Decomposition width while accuracy is measured: wide enough to hold anything sensible.
WIDE_BASE, WIDE_LEGS = 1 << 28, 4
_PROBE_LOOKUPS = (-(1 << 24), 1 << 24)
#: Samples, besides the corners, that a circuit is tried on.
BOUND_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class LoweredCandidate(LoweredGraph):
    """A lowered graph with the engine's settings, and how exact it is.

    ``proven``: whether its bounds hold for *every* accepted input (interval arithmetic) or were
    seen on samples and, where it ``holds_corners``, at those of the accepted range, with a margin.
    """

    args: RunArgs
    proven: bool
    measured: Measured
    samples: tuple[list[Felts], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, graph: LoweredGraph, **judged: Any) -> LoweredCandidate:
        """A graph that was judged."""
        return cls(**vars(graph) | judged)

    @property
    def salt(self) -> Salt | None:
        """The random look-ups that the circuit takes."""
        return None if self.hidden is None else self.hidden.salt(1)


@dataclass(frozen=True, kw_only=True)
class Measurement(Prediction):
    """What one shape really cost: the faster of two proofs, and its setup in seconds."""

    setup_s: float


@dataclass(frozen=True, kw_only=True)
class ContractSize:
    """Bytes of a verifier contract as deployed: ``compiled`` by ``solc`` (its version), or
    predicted from the contract's source where there is no compiler."""

    size: int
    solc: str | None

    @property
    def compiled(self) -> bool:
        return self.solc is not None

    @property
    def deployable(self) -> bool:
        """Whether a chain takes it; a size that is only predicted has to leave room for error."""
        size = self.size if self.compiled else self.size * (1 + PREDICTION_ERROR)
        return size <= MAX_CONTRACT_BYTES

    @property
    def why_not(self) -> str:
        if self.compiled:
            return f"contract of {self.size:,} bytes > {MAX_CONTRACT_BYTES:,}"
        return (
            f"contract of about {self.size:,} bytes, not compiled; allowed: {MAX_CONTRACT_BYTES:,}"
        )

    def to_json(self) -> dict[str, Any]:
        return {"contract_bytes": self.size, "contract_compiled": self.compiled, "solc": self.solc}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One variant in one shape, measured at its own k, with what it is predicted to cost, and what
    it did cost if it was timed.

    ``contract``: for the target ``evm``, the size of its verifier contract, or of its like.
    """

    variant: LoweredCandidate
    layout: LayoutStats
    predicted: Prediction
    timed: Measurement | None = None
    contract: ContractSize | None = None

    @property
    def args(self) -> RunArgs:
        return self.layout.args

    @property
    def headroom_bits(self) -> float:
        """Bits by which decompositions hold more than the variant's bound."""
        return self.args.decomp_legs * math.log2(self.args.decomp_base) - self.variant.bound_bits

    def cost(self, target: Target) -> float:
        """What the target makes small: as measured where it was, else as predicted."""
        return (self.timed or self.predicted).of(target)

    def to_json(self) -> dict[str, Any]:
        variant = self.variant
        return (self.contract.to_json() if self.contract else {}) | {
            "variant": variant.label,
            "args": asdict(self.args),
            "rows": self.layout.rows,
            "assignments": self.layout.assignments,
            "predicted": self.predicted.to_json(),
            "measured": asdict(self.timed) if self.timed else None,
            "error": asdict(variant.measured),
            "headroom_bits": round(self.headroom_bits, 2),
            "bounds_proven": variant.proven,
            "recipe": variant.recipe,
        }


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A variant that was tried and lost before layouts."""

    label: str
    reason: str
    measured: Measured | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every lowering path needs to know."""

    engine: EzklEngine
    limits: Limits
    graph: FloatGraph
    lowering: LoweringTask
    samples: Samples
    reference: dict[str, list[list[NDArray[Any]]]]  # "plan" and "held_out", as onnxruntime says
    profile: Profile
    dominated: Callable[[Task, bytes, RunArgs], bool]
    on_progress: Callable[[str], None] | None = None

    def say(self, text: str) -> None:
        """Tells whoever watches what is being tried."""
        if self.on_progress is not None:
            self.on_progress(text)

    @property
    def context(self) -> ContextEncoding:
        return context_encoding(self.profile)

    @property
    def layouts(self) -> Layouts:
        """This task as ``shapes`` sees it."""
        return Layouts(engine=self.engine, limits=self.limits, profile=self.profile)

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


def judged(
    task: Task,
    graph: LoweredGraph,
    args: RunArgs,
    answers: Sequence[Sequence[NDArray[Any]]],
    *,
    proven: bool,
) -> LoweredCandidate | Rejected:
    """A graph held to the model by its answers for the first held-out samples."""
    measured = compare(task.reference["held_out"][: len(answers)], answers, decisive=task.decisive)
    if not measured.meets(task.profile):
        return Rejected(label=graph.label, reason="not exact enough", measured=measured)
    corners = corner_samples(graph.inputs) if graph.holds_corners else []
    tried = [*corners, *task.samples.held_out[:BOUND_SAMPLES]]
    samples = tuple(task.encode(graph.inputs, s) for s in tried)
    return LoweredCandidate.of(graph, args=args, proven=proven, measured=measured, samples=samples)


def base_args(
    profile: Profile, *, input_scale: int, param_scale: int, scale_rebase_multiplier: int
) -> RunArgs:
    """The settings that a profile fixes, with a shape that holds everything."""
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
    )


def integer_args(profile: Profile, scale: int) -> RunArgs:
    """The settings of an integer graph whose tables work at ``scale``: whole constants stay whole,
    and what comes out of a table is the only thing at a scale of its own."""
    args = base_args(profile, input_scale=0, param_scale=scale, scale_rebase_multiplier=1)
    return replace(args, rebase_frac_zero_constants=scale > 0)
