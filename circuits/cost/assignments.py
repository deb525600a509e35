"""What a model costs to prove, layer by layer, before anything is planned.

Counted in assignments: cells of the circuit that a proof must fill, with the Freivalds products of
EZKL's defaults included.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits, RunArgs
from circuits.errors import EngineError

LAYERS = "circuits.compiler.process:layer_costs"

#: The settings that EZKL comes with.
ENGINE_DEFAULT = RunArgs(
    input_scale=7,
    param_scale=7,
    scale_rebase_multiplier=1,
    logrows=17,
    ignore_range_check_inputs_outputs=False,
    disable_freivalds=False,
)
#: A setting of its fixed point that most rewritten models do well with.
FIXED_POINT = RunArgs(
    input_scale=8,
    param_scale=8,
    scale_rebase_multiplier=10,
    logrows=20,
    decomp_base=1 << 14,
    decomp_legs=4,
    lookup_range=(-(1 << 20), 1 << 20),
)


@dataclass(frozen=True, kw_only=True)
class IntegerLayers:
    """An integer graph with typical bits: ``onnx``, the legs that its decompositions need, the
    ``scale`` of its tables, and each layer's cost as ``circuits.lower.LayerCost`` in JSON."""

    onnx: bytes
    legs: int
    scale: int
    layers: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ModelCosts:
    """Assignments of the model ``as_exported`` under EZKL's defaults, ``rewritten`` in fixed point,
    in ``integers``, and with ``committed`` hints; None where the engine refuses or there is no such
    form.

    ``layers`` splits the integer graph's cost by the rewritten model's nodes. Without one,
    ``integer_unsupported`` says why. An estimate with typical bits: ``zkml plan`` chooses them.
    """

    as_exported: int | None
    rewritten: int | None
    integers: int | None
    committed: int | None
    layers: tuple[dict[str, Any], ...]
    integer_unsupported: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"layers": list(self.layers)}


def model_costs(engine: EzklEngine, model: bytes, limits: Limits) -> ModelCosts:
    """Prices a model four ways; proves and sets up nothing.

    Raises what rewriting raises for a model that cannot be proved.
    """
    rewritten, lowered, committed = engine.sandbox.call(LAYERS, model, limits=limits)
    return priced_costs(engine, model, rewritten, lowered, committed, limits)


def priced_costs(
    engine: EzklEngine,
    model: bytes,
    rewritten: bytes,
    lowered: IntegerLayers | str,
    committed: int | None,
    limits: Limits,
) -> ModelCosts:
    """The same for a model that is rewritten and lowered
    (``circuits.compiler.process.layer_costs``)."""
    found = isinstance(lowered, IntegerLayers)
    return ModelCosts(
        as_exported=_assignments(engine, model, ENGINE_DEFAULT, limits),
        rewritten=_assignments(engine, rewritten, FIXED_POINT, limits),
        integers=_assignments(engine, lowered.onnx, _integer_args(lowered), limits)
        if isinstance(lowered, IntegerLayers)
        else None,
        committed=committed,
        layers=tuple(lowered.layers) if isinstance(lowered, IntegerLayers) else (),
        integer_unsupported="" if found else str(lowered),
    )


def _integer_args(lowered: IntegerLayers) -> RunArgs:
    return RunArgs(
        input_scale=0,
        param_scale=lowered.scale,
        rebase_frac_zero_constants=lowered.scale > 0,
        scale_rebase_multiplier=1,
        logrows=20,
        decomp_base=1 << 14,
        decomp_legs=lowered.legs,
    )


def _assignments(engine: EzklEngine, onnx: bytes, args: RunArgs, limits: Limits) -> int | None:
    try:
        (priced,) = engine.measure_layout(onnx, [args], limits)
    except EngineError:
        return None
    return priced.assignments if isinstance(priced, LayoutStats) else None
