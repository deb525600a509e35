"""Where an integer graph's assignments go, without asking the engine."""

from __future__ import annotations

from dataclasses import dataclass

from circuits.lower.variant import BitWidths, GraphVariant

#: Bits that most models do well with.
TYPICAL = BitWidths(input=5, weights=(8,))
#: Bits of a digit in the engine's usual decomposition.
_DIGIT_BITS = 14


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one node of the rewritten float graph costs in integers."""

    layer: str
    op: str
    assignments: int


def cost_by_layer(variant: GraphVariant, legs: int) -> tuple[LayerCost, ...]:
    """Estimated costs, in graph order, of the layers that cost anything: in total within some per
    cent of the engine's own count, which adds one a value of input and output."""
    totals: dict[tuple[str, str], int] = {}
    for node in variant.nodes:
        if cells := node.cells + node.cells_per_leg * legs:
            totals[node.source] = totals.get(node.source, 0) + cells
    return tuple(
        LayerCost(layer=layer, op=op, assignments=cells) for (layer, op), cells in totals.items()
    )


def cells_of(variant: GraphVariant, legs: int) -> int:
    """All assignments, those for what goes in and comes out among them: one a value."""
    nodes = (node.cells + node.cells_per_leg * legs for node in variant.nodes)
    return variant.border + sum(nodes)


def typical_legs(variant: GraphVariant) -> int:
    """The legs that a graph's decompositions need at the engine's usual base."""
    return max(2, -(-variant.value_bounds.decomposed.bit_length() // _DIGIT_BITS))
