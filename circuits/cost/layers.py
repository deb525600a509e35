"""What each layer of an uploaded model costs to prove once it is rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox

_COUNT = "circuits.cost.by_layer:count_layers"


@dataclass(frozen=True, kw_only=True)
class LayerCosts:
    """Assignments of one layer; 0 in a form in which it is no longer there."""

    layer: str
    op: str
    fixed_point: int
    integers: int | None

    @property
    def least(self) -> int:
        """What it costs in the cheaper form that does not commit to hints."""
        return self.fixed_point if self.integers is None else self.integers

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """Assignments of a model in EZKL's ``fixed_point``, in ``integers``, and with ``committed``
    hints: the total, and for the first two also layer by layer; None where there is no such form
    (``integer_unsupported`` says why). By formula, with typical bits: ``zkml plan`` chooses them.
    """

    fixed_point: int
    integers: int | None
    committed: int | None
    integer_unsupported: str
    layers: tuple[LayerCosts, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"layers": [layer.to_json() for layer in self.layers]}


def cost_report(sandbox: Sandbox, model: bytes, limits: Limits) -> CostReport:
    """Counts a model layer by layer, in a child process.

    Raises what rewriting raises for a model that cannot be proved.
    """
    report: CostReport = sandbox.compute(_COUNT, model, limits=limits)
    return report


def largest_first(layers: Sequence[LayerCosts]) -> list[LayerCosts]:
    """Layers by what they cost, most expensive first."""
    return sorted(layers, key=lambda layer: -layer.least)


def in_words(report: CostReport) -> str:
    """The totals: ``12,345 in fixed point, …``."""
    known = {
        "in fixed point": report.fixed_point,
        "in integers": report.integers,
        "with committed hints": report.committed,
    }
    return ", ".join(f"{count:,} {name}" for name, count in known.items() if count is not None)
