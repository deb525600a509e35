"""Where an integer graph's assignments go, without asking the engine."""

from __future__ import annotations

from circuits.lower.variant import BitWidths, GraphVariant

#: Bits that most models do well with.
TYPICAL = BitWidths(input=5, weights=(8,))
#: Bits of a digit in the engine's usual decomposition.
_DIGIT_BITS = 14


def cells_of(variant: GraphVariant, legs: int) -> int:
    """All assignments, those for what goes in and comes out among them: one a value."""
    nodes = (node.cells + node.cells_per_leg * legs for node in variant.nodes)
    return variant.border + sum(nodes)


def typical_legs(variant: GraphVariant) -> int:
    """The legs that a graph's decompositions need at the engine's usual base."""
    return max(2, -(-variant.value_bounds.decomposed.bit_length() // _DIGIT_BITS))
