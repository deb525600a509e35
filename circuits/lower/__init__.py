"""Lowering to integers: we quantise, layer by layer; the engine proves integers at scale 0.

``lower`` turns a rewritten float graph into a graph of integers, ``bounds`` proves how large its
values can get, ``bits`` chooses how many bits each layer needs. ``committed`` writes circuits whose
hints a proof commits to; ``graphs`` has what is handed to the planner.
"""

from circuits.lower.bits import choose_bits
from circuits.lower.errors import CannotLower
from circuits.lower.lower_graph import lower
from circuits.lower.running import run_integers
from circuits.lower.variant import BitWidths, GraphVariant, ValueBounds

__all__ = [
    "BitWidths",
    "CannotLower",
    "GraphVariant",
    "ValueBounds",
    "choose_bits",
    "lower",
    "run_integers",
]
