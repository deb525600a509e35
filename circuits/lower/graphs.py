"""Graphs as the compiler hands them over: plain data, so that no caller has to load onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from circuits.calibration.samples import Range, Sample, Samples, accepted_ranges
from circuits.format.commitments import Commitments
from circuits.format.hidden import Hidden
from circuits.format.manifest import AppliedPass, model_outputs
from circuits.format.profile import Profile, Visibility
from circuits.format.tensors import ContextEncoding, InputEncoding, OutputEncoding, Signature


@dataclass(frozen=True, kw_only=True)
class FloatGraph:
    """A model after the float passes, for the engine's own fixed point.

    ``onnx`` has the context input bound; ``plain`` has not (lowering to integers starts there).
    ``reference`` is the model whose outputs are the correct ones (``Rewritten.reference``).
    """

    onnx: bytes
    plain: bytes
    passes: tuple[AppliedPass, ...]
    signature: Signature
    reference: bytes

    def encodings(
        self, scales: Sequence[int], accepted: Mapping[str, Range]
    ) -> tuple[InputEncoding, ...]:
        """The inputs at these scales."""
        return tuple(
            InputEncoding(tensor=t, scale=s, lower=accepted[t.name][0], upper=accepted[t.name][1])
            for t, s in zip(self.signature.inputs, scales, strict=True)
        )

    def decodings(self, scales: Sequence[int]) -> tuple[OutputEncoding, ...]:
        """The outputs at these scales."""
        outputs = zip(self.signature.outputs, scales, strict=True)
        return tuple(OutputEncoding(tensor=t, scale=s) for t, s in outputs)


@dataclass(frozen=True, kw_only=True)
class LoweringTask:
    """What lowering has to keep: the accepted range of each input (margins included), the
    tolerance on the ``plan`` samples, and how the context enters (by ``visibility``). ``held_out``
    samples are only run, to be judged by the planner. ``salt``: whether tables are salted
    (``circuits.format.hidden``), ``checked``: whether the engine decomposes inputs and outputs.
    ``finer``: bits added to each choice, where the planner found those without not exact enough on
    other samples. ``input_scale``: as a profile has it. ``margin``: what ranges were widened by."""

    accepted: dict[str, Range]
    limbs: int
    visibility: Visibility = Visibility.PUBLIC
    salt: bool = False
    checked: bool = False
    plan: tuple[Sample, ...] = ()
    held_out: tuple[Sample, ...] = ()
    max_error: float = 0.01
    agreement: float = 0.99
    finer: int = 0
    input_scale: int | None = None
    margin: float = 0.0

    @classmethod
    def of(cls, profile: Profile, samples: Samples, signature: Signature) -> LoweringTask:
        """What a profile asks for. On drawn samples the top answer is judged by the planner, where
        it is decided at all."""
        return cls(
            accepted=accepted_ranges(signature, samples.ranges, profile.range_margin),
            limbs=context_encoding(profile).limbs,
            visibility=profile.visibility,
            salt=profile.salts_tables,
            checked=profile.checks_ranges,
            plan=samples.plan,
            held_out=samples.held_out,
            max_error=profile.max_error,
            agreement=profile.agreement if samples.calibrated else 0.0,
            input_scale=profile.input_scale,
            margin=profile.range_margin,
        )


def context_encoding(profile: Profile) -> ContextEncoding:
    """How the context digest enters a circuit of this profile.

    Where the engine range-checks inputs a 248-bit element would not pass, so it is cut into limbs
    that do.
    """
    if profile.checks_ranges:
        return ContextEncoding(limbs=16, bits=16)
    return ContextEncoding(limbs=1, bits=248)


@dataclass(frozen=True, kw_only=True)
class LoweredGraph:
    """A graph for the engine, context input bound: of integers at scale 0, its tables at ``scale``
    (0 without), or for the engine's own fixed point (None).

    ``bound_bits``: every value that is decomposed stays below ``2^bound_bits`` in magnitude;
    ``lookup_range``: what tables must hold, or None when there are none. ``recipe`` rebuilds it;
    ``answers`` are the circuit's exact ones for the held-out samples; ``hidden`` says how values
    are bounded that are not shown. With ``commitments`` hints are committed to: ``network``
    computes them, and the circuit has the one ``size``: k, columns, cells. ``estimated_s``: seconds
    of a proof by the count of its layers, to be compared among one model's graphs.
    ``holds_corners``: whether every corner of the accepted range leads to a proof.
    """

    label: str
    onnx: bytes
    passes: tuple[AppliedPass, ...]
    inputs: tuple[InputEncoding, ...]
    outputs: tuple[OutputEncoding, ...]
    scale: int | None = 0
    bound_bits: int = 1
    lookup_range: tuple[int, int] | None = None
    recipe: dict[str, Any] | None = None
    answers: list[list[NDArray[Any]]] = field(default_factory=list, repr=False)
    hidden: Hidden | None = None
    network: bytes | None = field(default=None, repr=False)
    commitments: Commitments | None = None
    size: tuple[int, int, int] | None = None
    estimated_s: float = 0.0
    holds_corners: bool = True

    def model_outputs(self, simulated: Sequence[list[str]]) -> list[list[str]]:
        """The model's outputs among all that the engine's arithmetic gives out of a graph without
        commitments."""
        residues = 0 if self.hidden is None else self.hidden.residues
        return model_outputs(simulated, len(self.outputs), residues)
