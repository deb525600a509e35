"""What a circuit for a model would cost, answered before any heavy work.

Prices a few typical number formats instead of measuring which one is exact enough, so the answer
takes about a second and a plan may end up cheaper or dearer by some tens of percent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits, Priced, RunArgs
from circuits.errors import ModelTooLarge
from circuits.plan.cost import CostModel, Prediction
from circuits.plan.graphs import FloatGraph, IntegerTask
from circuits.plan.shapes import Pricing
from circuits.plan.variants import base_args
from circuits.profile import Profile
from circuits.tensors import ContextEncoding

_TYPICAL = "circuits.compiler:typical_integers"
#: Bits that a fixed-point circuit at scale 7 decomposes: products rescaled, and not rescaled.
_FIXED_POINT = ((1, 28), (10, 56))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The cheapest shape found: what it would cost, and whether it fits the limits given."""

    logrows: int
    columns: int
    predicted: Prediction
    setup_s: float
    fits: bool
    limit_bytes: int
    source: str
    error: dict[str, float]

    @property
    def advice(self) -> str:
        """What would make it fit; empty when it does."""
        if self.fits:
            return ""
        gib = 1 << 30
        return (
            f"It needs about {self.predicted.peak_bytes / gib:.1f} GiB of the"
            f" {self.limit_bytes / gib:.1f} GiB allowed: raise ZKML_ENGINE_MEMORY_MB on a machine"
            " that has it, allow a larger error, or export a smaller model."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "logrows": self.logrows,
            "columns": self.columns,
            **asdict(self.predicted),
            "setup_s": round(self.setup_s, 3),
            "fits": self.fits,
            "advice": self.advice,
            "limit_bytes": self.limit_bytes,
            "cost_model": {"source": self.source, "error": self.error},
        }


def estimate(
    engine: EzklEngine,
    graph: FloatGraph,
    task: IntegerTask,
    profile: Profile,
    context: ContextEncoding,
    limits: Limits,
    costs: CostModel,
) -> Estimate:
    """The cheapest typical shape of a model. Raises ``ModelTooLarge`` when no shape exists at all
    (more than 2^26 rows), with what was tried."""
    found: list[tuple[Prediction, Priced]] = []
    pricing = Pricing(engine=engine, limits=limits, profile=profile, context=context)
    for onnx, args, bits, lookups in _candidates(engine, graph, task, profile, limits):
        found += [(costs.predict(p), p) for p in pricing.shapes(onnx, args, bits, lookups)]
    if not found:
        raise ModelTooLarge(
            "no shape of this model fits 2^26 rows",
            hint="Export a smaller model: fewer channels, a smaller image, fewer steps.",
        )
    predicted, priced = min(found, key=lambda f: f[0].of(profile.target))
    return Estimate(
        logrows=priced.args.logrows,
        columns=priced.args.num_inner_cols,
        predicted=predicted,
        # Key generation transforms about the same columns once: it takes about as long as a proof.
        setup_s=predicted.prove_s,
        fits=predicted.peak_bytes <= limits.memory_bytes,
        limit_bytes=limits.memory_bytes,
        source=costs.source,
        error=costs.error,
    )


def _candidates(
    engine: EzklEngine, graph: FloatGraph, task: IntegerTask, profile: Profile, limits: Limits
) -> list[tuple[bytes, RunArgs, int, tuple[int, int] | None]]:
    """Graphs to price, each with its settings, bits to decompose and lookup range."""
    integers = engine.sandbox.call(_TYPICAL, graph, task, limits=limits)
    if not isinstance(integers, str):
        args = base_args(profile, input_scale=0, param_scale=0, scale_rebase_multiplier=1)
        bits = max(1, integers.bound.bit_length())
        return [(integers.onnx, args, bits, integers.lookup_range)]
    return [
        (
            graph.onnx,
            base_args(profile, input_scale=7, param_scale=7, scale_rebase_multiplier=multiplier),
            bits,
            (-(1 << 14), 1 << 14),
        )
        for multiplier, bits in _FIXED_POINT
    ]
