"""The integer road: we quantise, layer by layer; the engine proves integers at scale 0.

``compiler`` turns a rewritten float graph into a graph of integers, ``integers`` runs such a
graph exactly in numpy, ``bounds`` proves how large its values can get, ``bits`` chooses how many
bits each layer needs.
"""

from circuits.lower.bits import choose_bits
from circuits.lower.errors import CannotLower
from circuits.lower.lower_graph import lower
from circuits.lower.running import run_integers
from circuits.lower.variant import BitWidths, GraphVariant, LoweringOptions, ValueBounds

__all__ = [
    "BitWidths",
    "CannotLower",
    "LoweringOptions",
    "GraphVariant",
    "ValueBounds",
    "choose_bits",
    "lower",
    "run_integers",
]
