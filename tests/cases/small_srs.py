"""A reference string of sixteen rows whose secret is known, and commitments over it."""

from __future__ import annotations

from pathlib import Path

from circuits.format.commitments import usable_rows
from circuits.format.field import P
from circuits.srs.curve import bn128 as curve
from circuits.srs.g2 import Q
from circuits.srs.identity import to_bytes

LOGROWS, SECRET = 4, 1234567
ROWS, USABLE = 1 << LOGROWS, usable_rows(LOGROWS)
ROOT = pow(7, (P - 1) // ROWS, P)


def montgomery(*numbers: int) -> bytes:
    return b"".join((int(n) * (1 << 256) % Q).to_bytes(32, "little") for n in numbers)


def lagrange(row: int) -> int:
    x = pow(ROOT, row, P)
    return (pow(SECRET, ROWS, P) - 1) * x * pow(ROWS * (SECRET - x), -1, P) % P


def commit(values: list[int]) -> bytes:
    """As the engine does: with ones behind."""
    filled = [*values, *[0] * (USABLE - len(values)), *[1] * (ROWS - USABLE)]
    total = sum(v * lagrange(row) for row, v in enumerate(filled))
    return to_bytes(curve.multiply(curve.G1, total % P))


def written(folder: Path) -> Path:
    """The string as a file."""
    powers = [pow(SECRET, n, P) for n in range(ROWS)] + [lagrange(row) for row in range(ROWS)]
    points = [curve.normalize(curve.multiply(curve.G1, n)) for n in powers]
    high = [curve.normalize(p) for p in (curve.G2, curve.multiply(curve.G2, SECRET))]
    data = LOGROWS.to_bytes(4, "little") + b"".join(montgomery(*p) for p in points)
    data += b"".join(montgomery(*x.coeffs, *y.coeffs) for x, y in high)
    path = folder / f"kzg{LOGROWS}.srs"
    path.write_bytes(data)
    return path
