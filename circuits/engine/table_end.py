"""Whether the lookup tables in a verifying key are those that committed hints lean on.

Remainders and inputs are bounded by where a table ends. The engine keeps tables in a cache that it
finds by their range, not by their content; so the commitments to the tables' columns are computed
here, from what the columns have to hold, and have to be in the key.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from circuits.committed.network import FunctionTable
from circuits.format.field import to_felt
from circuits.srs.g2 import Q

#: A point of BN254's first group in affine coordinates.
Point = tuple[int, int]
#: Commits to a column's elements, as felts; the rows behind them are the same for every column.
Commit = Callable[[list[str]], Point]
#: Rows of a column that are not for elements, and those of them that tables leave unused as well.
_RESERVED_ROWS, _UNUSED_ROWS = 6, 8
#: Points are kept as their first coordinate, whose highest byte holds flags too.
_PLAIN_BYTES = 31


def has_tables(
    vk: bytes, low: int, logrows: int, commit: Commit, function: FunctionTable | None = None
) -> bool:
    """Whether a key has the columns of the table that rectifies integers, from ``low`` on, in as
    many entries as a column has, and those of the table of a ``function``."""
    entries = (1 << logrows) - _UNUSED_ROWS
    rows = (1 << logrows) - _RESERVED_ROWS
    taken = np.array([*range(low, low + entries), *[low] * (rows - entries)])
    columns = [taken, np.maximum(taken, 0)]
    if function is not None:
        columns.append(function.entries(taken))
    behind = commit([to_felt(0)] * rows)
    return all(
        _holds(vk, _minus(commit([to_felt(int(n)) for n in column]), behind)) for column in columns
    )


def _holds(vk: bytes, point: Point) -> bool:
    """Whether a point stands in the key, compressed or as the engine holds it in memory."""
    raw = b"".join((c * (1 << 256) % Q).to_bytes(32, "little") for c in point)
    return raw in vk or point[0].to_bytes(32, "little")[:_PLAIN_BYTES] in vk


def _minus(a: Point, b: Point) -> Point:
    """The difference of two different points that are not each other's inverse."""
    (ax, ay), (bx, by) = a, (b[0], -b[1] % Q)
    slope = (by - ay) * pow(bx - ax, -1, Q) % Q
    x = (slope * slope - ax - bx) % Q
    return x, (slope * (ax - x) - ay) % Q
