"""What a manifest says of how its graph was made, and the graph that is made of it again."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import Any

from circuits.calibration.samples import Range, draw
from circuits.committed.arithmetic import InputSteps
from circuits.errors import CircuitNotFaithful
from circuits.format.commitments import Commitments, Weights
from circuits.format.hidden import Hidden
from circuits.format.hints import Hints
from circuits.format.manifest import AppliedPass, CircuitManifest
from circuits.format.profile import Argument, Visibility
from circuits.format.tensors import Signature
from circuits.lower.graphs import FloatGraph


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a manifest says of how its graph was made."""

    accepted: dict[str, Range]
    limbs: int
    visibility: Visibility
    salt: bool
    lowering: dict[str, Any] | None
    lanes: int
    input_scales: tuple[int, ...]
    argument: Argument = Argument.AUTO
    weights: Weights = Weights.SEALED

    @property
    def expose(self) -> bool:
        """Whether the context goes out as an output, since inputs are not shown."""
        return not self.visibility.shows_input

    @classmethod
    def of(cls, manifest: CircuitManifest) -> Recipe:
        return cls(
            accepted={i.tensor.name: (i.lower, i.upper) for i in manifest.inputs},
            limbs=manifest.context.limbs,
            visibility=manifest.profile.visibility,
            salt=manifest.profile.salts_tables,
            lowering=manifest.lowering,
            lanes=manifest.lanes,
            input_scales=tuple(i.scale for i in manifest.inputs),
            argument=manifest.profile.argument,
            weights=manifest.profile.weights,
        )


@dataclass(frozen=True, kw_only=True)
class Recompiled:
    """A graph rebuilt. The scales are None where the engine chooses them (``scale`` is that of an
    integer graph's tables), ``hints`` where the circuit is given no results. With ``commitments``
    there are the ``network`` that computes hints, its size (k, columns, table) and, where a table
    bounds the input, the range that it accepts. ``reference``: the model whose answers count."""

    onnx: bytes
    passes: tuple[AppliedPass, ...]
    signature: Signature
    reference: bytes
    input_scales: tuple[int, ...] | None
    output_scales: tuple[int, ...] | None
    scale: int | None = None
    hints: Hints | None = None
    hidden: Hidden | None = None
    commitments: Commitments | None = None
    network: bytes | None = None
    arguments: tuple[int, int, tuple[int, int]] | None = None
    accepted: tuple[Range, ...] | None = None


def committed_anew(graph: FloatGraph, recipe: Recipe, *, judged: bool = True) -> Recompiled:
    """The graph with committed hints that a recipe stands for. Runs inside a sandbox child.

    It is held to the model on samples that nobody can know beforehand, unless it is not
    ``judged``: where only its size counts.
    """
    from circuits.lower.committed.candidates import ARGUMENT, recompiled
    from circuits.plan.committed import COMMITTED

    lowering = recipe.lowering or {}
    if set(lowering) != {"argument", "columns", "steps"} or lowering["argument"] != ARGUMENT:
        raise CircuitNotFaithful("the manifest has no recipe for committed hints")
    drawn = draw(graph.signature, recipe.accepted, seed=secrets.randbits(64))
    made, steps, scales = recompiled(
        graph,
        lowering,
        [*drawn.plan, *drawn.held_out] if judged else [],
        shown=not recipe.expose,
        weights=recipe.weights,
        lanes=recipe.lanes,
    )
    return Recompiled(
        onnx=made.onnx,
        passes=(*graph.passes[:-1], COMMITTED),
        signature=graph.signature,
        reference=graph.reference,
        input_scales=tuple(own.scale for own in steps.inputs),
        output_scales=tuple(scales),
        commitments=made.claim,
        network=made.arrangement.to_bytes(),
        arguments=(steps.logrows, made.columns, (steps.lowest, steps.base - 1)),
        accepted=tuple(_range(own, steps.base) for own in steps.inputs),
    )


def _range(own: InputSteps, base: int) -> Range:
    """The values of an input that a circuit with committed hints is made for: what its table
    accepts, or what its sums are bounded for where the verifier looks at the input."""
    low, high = -own.offset, base - 1 - own.offset
    return math.ldexp(low, -own.scale), math.ldexp(high, -own.scale)


def decomposes(bits: int) -> bool:
    """Whether an integer graph has decompositions, and so a range check's columns anyway. The one
    that a product's bias is multiplied by is decomposed too: that alone is not worth the columns.
    """
    return bits > 1
