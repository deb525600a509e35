"""A plan: what was chosen for a model, and why the others were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from circuits.calibration.samples import Sample
from circuits.cost.model import CostModel
from circuits.format.digests import canonical_json
from circuits.format.manifest import Accuracy
from circuits.format.profile import Profile, Target
from circuits.plan.effort import Effort
from circuits.plan.lowered_candidates import Candidate, Rejected

_RUNNERS_UP = 20


_MEASURE = {
    Target.SPEED: "time",
    Target.MEMORY: "memory",
    Target.PROOF_SIZE: "proof length",
    Target.EVM: "proof length",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was chosen, and why the others were not. Frozen with the circuit.

    ``reference`` is the model that accuracy was measured against, ``trial`` a held-out sample.
    ``near_thresholds`` (see ``circuits.lower.thresholds``) counts the samples that lie within one
    quantum of a constant that the model compares with, and ``near_graph`` tells it of any input;
    None when it compares with none.

    ``reference``: the model that accuracy was measured against. ``output_ranges``: the width of
    each output's values on the held-out samples, which errors are given as shares of.
    """

    choice: Candidate
    ranked: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...]
    profile: Profile
    effort: Effort
    accuracy: Accuracy
    reference: bytes = field(repr=False)
    trial: Sample = field(repr=False)
    near_thresholds: dict[str, Any] | None
    near_graph: bytes | None = field(repr=False)
    output_ranges: tuple[float, ...]
    cost_model: CostModel

    def to_json(self) -> dict[str, Any]:
        best = self.choice
        others = _without_duplicates(self.ranked[1:], best)
        return {
            "schema": 1,
            "profile": self.profile.to_json(),
            "effort": self.effort.value,
            "choice": best.to_json(),
            "runners_up": [
                r.to_json() | {"rejected_because": _why(best, r, self.profile.target)}
                for r in others[:_RUNNERS_UP]
            ],
            "rejected": [
                {
                    "label": r.label,
                    "rejected_because": r.reason,
                    "error": asdict(r.measured) if r.measured else None,
                }
                for r in self.rejected
            ],
            "considered": len(self.ranked) + len(self.rejected),
            "accuracy": asdict(self.accuracy),
            "output_ranges": list(self.output_ranges),
            "near_thresholds": self.near_thresholds,
            "calibrated": self.accuracy.calibrated,
            "cost_model": {"source": self.cost_model.source, "error": self.cost_model.error},
        }

    def canonical(self) -> bytes:
        return canonical_json(self.to_json())


def _without_duplicates(ranked: Sequence[Candidate], best: Candidate) -> list[Candidate]:
    """Candidates that differ in more than legs: of those that do not, the first."""

    def kind(r: Candidate) -> tuple[object, ...]:
        args = r.args
        return (r.variant.label, args.logrows, args.num_inner_cols)

    kinds = {kind(r): r for r in reversed([best, *ranked])}
    return [r for r in ranked if kinds[kind(r)] is r]


def _why(best: Candidate, other: Candidate, target: Target) -> str:
    if other.contract is not None and not other.contract.deployable:
        return other.contract.why_not
    if best.timed and other.timed:
        ratio = other.cost(target) / max(1e-9, best.cost(target))
        return f"measured at {ratio:.2f} times the {_MEASURE[target]} of the choice"
    mine, theirs = best.predicted, other.predicted
    ratio = theirs.of(target) / max(1e-9, mine.of(target))
    return f"predicted at {ratio:.2f} times the {_MEASURE[target]} of the choice"
