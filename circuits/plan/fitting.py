"""Tables that just fit: layers looked up are counted in steps a little longer than a power of two.

A table of 70 000 entries takes two columns of 2^16 rows, each a lookup argument over all of them,
or 2^17 rows: as much as one of 130 000. Steps that are powers of two leave it there or halve it; a
step a quarter longer makes it fit 2^16, for a loss of exactness that is a third of a bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from circuits.lower.errors import CannotLower
from circuits.lower.variant import PARTS, BitWidths, GraphVariant, LoweringOptions
from circuits.plan.layouts import RESERVED_ROWS

#: How many times as long a step is made at most; from there a whole bit less is not far.
_LONGEST = 1.6
#: Bits that the layers after may have back, to make up for what the longer steps cost.
_GIVEN_BACK = (0, 1, 2)


def fitted(
    choice: BitWidths,
    make: Callable[[BitWidths, LoweringOptions], GraphVariant],
    exact_enough: Callable[[BitWidths], bool],
    most_tables: int,
) -> Iterator[tuple[BitWidths, int]]:
    """Choices near this one with which a table of the first ReLUs fits half the rows, each with how
    many ReLUs that are; only what is ``exact_enough``."""
    for tables in range(1, most_tables + 1):
        over = _entries(make(choice, LoweringOptions(relu_tables=tables)))
        if not over:  # magnitudes of the model's own, which are no ReLUs
            continue
        room = (1 << (math.ceil(math.log2(over + RESERVED_ROWS)) - 1)) - RESERVED_ROWS
        if over > _LONGEST * room:
            continue
        parts = math.ceil((over / room - 1) * PARTS)
        # Rounding may leave it an entry too long: then one part more.
        for extra, more in itertools.product((0, 1), _GIVEN_BACK):
            bits = _stretched(choice, tables, parts + extra, more)
            if _fits(make, bits, tables, room) and exact_enough(bits):
                yield bits, tables
                break


def _stretched(choice: BitWidths, layers: int, parts: int, more: int) -> BitWidths:
    """The first layers in longer steps, those after them finer; the last is fine already."""
    last = len(choice.weights) - 1
    weights = tuple(b + more * (layers <= i < last) for i, b in enumerate(choice.weights))
    return replace(choice, weights=weights, longer=(parts,) * min(layers, last))


def _fits(
    make: Callable[[BitWidths, LoweringOptions], GraphVariant],
    bits: BitWidths,
    tables: int,
    room: int,
) -> bool:
    try:
        return _entries(make(bits, LoweringOptions(relu_tables=tables))) <= room
    except CannotLower:
        return False


def _entries(variant: GraphVariant) -> int:
    """Entries of a variant's tables, 0 where it has none."""
    if variant.value_bounds.lookup is None:
        return 0
    low, high = variant.value_bounds.lookup
    return high - low + 1
