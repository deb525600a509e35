"""What a manifest says of how its graph was made, and the graph that is made of it again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from circuits.calibration.samples import Range, draw
from circuits.errors import CircuitNotFaithful
from circuits.format.commitments import COLUMN_SALT, Weights
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Argument, Visibility
from circuits.format.tensors import Signature
from circuits.lower.committed.choosing.candidates import ARGUMENT
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.graphs import FloatGraph, LoweredGraph


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
    """A graph made again: inputs and outputs are left out where the engine chooses their scales.
    ``reference``: the model whose answers count."""

    graph: LoweredGraph
    signature: Signature
    reference: bytes


def recompile_committed(graph: FloatGraph, recipe: Recipe, *, judged: bool = True) -> LoweredGraph:
    """The graph with committed hints that a recipe stands for. Runs inside a sandbox child.

    It is held to the model on samples that nobody can know beforehand, unless it is not
    ``judged``: where only its size counts.
    """
    lowering = recipe.lowering or {}
    if set(lowering) != {"argument", "columns", "steps"} or lowering["argument"] != ARGUMENT:
        raise CircuitNotFaithful("the manifest has no recipe for committed hints")
    drawn = draw(graph.signature, recipe.accepted, seed=secrets.randbits(64))
    return recompiled(
        graph,
        lowering,
        [*drawn.plan, *drawn.held_out] if judged else [],
        shown=not recipe.expose,
        weights=recipe.weights,
        lanes=recipe.lanes,
        blinding=COLUMN_SALT if recipe.visibility.names_input else 0,
        ranges=recipe.accepted,
    )
