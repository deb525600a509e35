"""That the weights a proof commits to are those of an identity: commitments differ in salt alone.

Let D be the difference of a proof's commitment and the identity's, all columns added up under
powers of a challenge. It is zero on every row but the first six, where salt stands, exactly if it
is a multiple of Z(X) = Π_{i ≥ 6} (X − ω^i). The prover commits to q = D / Z; a second challenge ζ
is a hash of that; one opening shows that D − Z(ζ) · q vanishes at ζ. docs/decisions/0015 has the
argument, and why nothing of this tells more than the commitments do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any

from circuits.format.commitments import (
    COLUMN_SALT,
    POINT_BYTES,
    Binding,
    challenge,
    usable_rows,
)
from circuits.format.field import P
from circuits.srs.g2 import Q

#: Bytes of the argument: the commitment to q, and the opening.
ARGUMENT_BYTES = 2 * POINT_BYTES
_GENERATOR = 7  # of the scalar field's multiplicative group
_COLUMNS, _POINT = "identity-columns", "identity-point"
_UNMONTGOMERY = pow(1 << 256, -1, Q)

#: Affine coordinates of a point of BN254's first group, other than zero.
Point = tuple[int, int]
#: Commits to values on the usable rows, whatever stands on the rows behind them.
Commit = Callable[[list[int]], bytes]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What both sides know: the ``seed`` of the proof's challenges, its ``points`` and the
    ``identity``'s, column by column, as bytes of the proof."""

    seed: bytes
    points: tuple[bytes, ...]
    identity: tuple[bytes, ...]
    logrows: int

    @classmethod
    def of(cls, binding: Binding, committed: bytes, logrows: int) -> Comparison:
        """That of a proof which begins with these commitments."""
        return cls(
            seed=binding.seed(committed),
            points=binding.claim.private_points(committed, logrows),
            identity=tuple(bytes.fromhex(point) for point in binding.claim.identity),
            logrows=logrows,
        )

    @property
    def powers(self) -> list[int]:
        """What each column is multiplied by."""
        first = challenge(self.seed, _COLUMNS)
        return list(accumulate(repeat(first, len(self.points)), lambda a, b: a * b % P))

    def place(self, quotient: bytes) -> int:
        """ζ. (What the seed hashes fixes both commitments, and so D.)"""
        fixed = hashlib.sha256(self.seed + hashlib.sha256(quotient).digest())
        return challenge(fixed.digest(), _POINT)

    @property
    def root(self) -> int:
        """ω, in the order of rows."""
        return root_of(self.logrows)

    def vanishing(self, at: int) -> int:
        """Z(ζ) = (ζ^n − 1) / Π_{i < 6} (ζ − ω^i). Raises ``ValueError`` where ζ is on a row."""
        rows = 1 << self.logrows
        head = reduce(lambda a, i: a * (at - pow(self.root, i, P)) % P, range(COLUMN_SALT), 1)
        found = (pow(at, rows, P) - 1) * pow(head, -1, P) % P
        if found == 0:
            raise ValueError("the identity's challenge is a row")
        return found


def root_of(logrows: int) -> int:
    """ω of so many rows: row i stands for its i-th power."""
    return pow(_GENERATOR, (P - 1) >> logrows, P)


def prove(
    comparison: Comparison,
    weights: Sequence[int],
    identity_salt: Sequence[int],
    srs: Path,
    commit: Commit,
) -> bytes:
    """The argument, for the tensor that the proof commits to and the identity's salt."""
    rows, root = 1 << comparison.logrows, comparison.root
    own = zip(salts(weights, comparison.logrows), identity_salt, strict=True)
    each = [(a - b) % P for a, b in own]
    differences = [
        sum(p * d for p, d in zip(comparison.powers, each[i::COLUMN_SALT], strict=True)) % P
        for i in range(COLUMN_SALT)
    ]
    coefficients = _quotient(differences, root, rows)
    powers = [on_curve(p) for p in powers_of(srs, 0, COLUMN_SALT)]
    quotient = to_bytes(combined(zip(powers, coefficients, strict=True)))
    at = comparison.place(quotient)
    scale = comparison.vanishing(at)
    xs = list(accumulate(repeat(root, rows - 1), lambda a, b: a * b % P, initial=1))
    inverses = _inverses([(x - at) % P for x in xs])
    values = [-scale * _evaluated(coefficients, x) for x in xs]
    for i, difference in enumerate(differences):
        values[i] += difference
    opened = [v * inverse % P for v, inverse in zip(values, inverses, strict=True)]
    return quotient + committed_values(opened, comparison.logrows, srs, commit)


def committed_values(values: Sequence[int], logrows: int, srs: Path, commit: Commit) -> bytes:
    """The commitment to a polynomial by its values on all rows, also those that no tensor has."""
    rows, usable = 1 << logrows, usable_rows(logrows)
    last = [on_curve(p) for p in powers_of(srs, rows + usable, rows - usable)]
    head, behind = (on_curve(to_point(commit(list(v)))) for v in (values[:usable], [0] * usable))
    return to_bytes(combined([(head, 1), (behind, -1), *zip(last, values[usable:], strict=True)]))


def salts(tensor: Sequence[int], logrows: int) -> list[int]:
    """The salt of a tensor, column after column."""
    starts = range(0, len(tensor), usable_rows(logrows))
    return [tensor[start + i] for start in starts for i in range(COLUMN_SALT)]


def check(comparison: Comparison, argument: bytes, srs_part: bytes) -> None:
    """Raises ``ValueError`` unless the commitments are to the same weights, each under salt of its
    own. ``srs_part``: checked before (``circuits.srs.verify_part``)."""
    from circuits.srs.curve import bn128 as curve
    from circuits.srs.curve import is_one

    if len(argument) != ARGUMENT_BYTES:
        raise ValueError(f"the argument has {len(argument)} bytes, not {ARGUMENT_BYTES}")
    if not len(comparison.points) == len(comparison.identity) > 0:
        raise ValueError("the identity has another number of commitments than the proof")
    quotient, opening = (
        on_curve(to_point(argument[n : n + POINT_BYTES])) for n in (0, POINT_BYTES)
    )
    at = comparison.place(argument[:POINT_BYTES])
    terms = [(quotient, -comparison.vanishing(at)), (opening, at)]
    for power, mine, public in zip(
        comparison.powers, comparison.points, comparison.identity, strict=True
    ):
        if mine == public:
            raise ValueError("a commitment has the identity's own salt")
        difference = curve.add(on_curve(to_point(mine)), curve.neg(on_curve(to_point(public))))
        terms.append((difference, power))
    pair = curve.pairing(curve.G2, combined(terms), final_exponentiate=False) * curve.pairing(
        g2(srs_part[-128:]), curve.neg(opening), final_exponentiate=False
    )
    if not is_one(pair):
        raise ValueError("the commitments are to other weights than the identity's")


def fault(comparison: Comparison, argument: bytes, srs_part: bytes) -> str | None:
    """Why ``check`` refuses; None where it does not."""
    try:
        check(comparison, argument, srs_part)
    except ValueError as error:
        return str(error)
    return None


def to_point(data: bytes) -> Point:
    """A point as proofs have it: x, then y, big-endian. Raises ``ValueError`` for zero, a number
    that is not below the modulus, or a point off the curve."""
    x, y = (int.from_bytes(data[n : n + 32], "big") for n in (0, 32))
    if len(data) != POINT_BYTES or x >= Q or y >= Q or (y * y - x * x * x - 3) % Q:
        raise ValueError("a commitment is no point of the curve")
    return x, y


def to_bytes(point: Any) -> bytes:
    """The inverse, of a point in py_ecc's coordinates."""
    from circuits.srs.curve import bn128 as curve

    return b"".join(int(c).to_bytes(32, "big") for c in curve.normalize(point))


def on_curve(point: Point) -> Any:
    """A point in py_ecc's coordinates."""
    from circuits.srs.curve import bn128 as curve

    return curve.FQ(point[0]), curve.FQ(point[1]), curve.FQ.one()


def combined(terms: Any) -> Any:
    """The sum of points times numbers."""
    from circuits.srs.curve import bn128 as curve

    return reduce(curve.add, (curve.multiply(p, n % P) for p, n in terms))


def g2(data: bytes) -> Any:
    """s·G2 as an SRS file has it, in py_ecc's coordinates."""
    from circuits.srs.curve import bn128 as curve

    raw = [
        int.from_bytes(data[n : n + 32], "little") * _UNMONTGOMERY % Q for n in range(0, 128, 32)
    ]
    return curve.FQ2(raw[:2]), curve.FQ2(raw[2:]), curve.FQ2.one()


def powers_of(srs: Path, first: int, count: int) -> list[Point]:
    """Points of an SRS file's first group: 2^k powers of s, then as many Lagrange polynomials."""
    with srs.open("rb") as handle:
        handle.seek(4 + first * POINT_BYTES)
        data = handle.read(count * POINT_BYTES)
    raw = [
        int.from_bytes(data[n : n + 32], "little") * _UNMONTGOMERY % Q
        for n in range(0, len(data), 32)
    ]
    return list(zip(raw[::2], raw[1::2], strict=True))


def _quotient(differences: Sequence[int], root: int, rows: int) -> list[int]:
    """The coefficients of q, from the constant one on: Σ_i d_i · ω^i / n · Π_{j ≠ i} (X − ω^j)."""
    heads = [pow(root, i, P) for i in range(COLUMN_SALT)]
    found = [0] * COLUMN_SALT
    for i, difference in enumerate(differences):
        product = [difference * heads[i] * pow(rows, -1, P) % P]
        for j, head in enumerate(heads):
            if j != i:
                product = [
                    (a - head * b) % P for a, b in zip([0, *product], [*product, 0], strict=True)
                ]
        found = [(a + b) % P for a, b in zip(found, product, strict=True)]
    return found


def _evaluated(coefficients: Sequence[int], x: int) -> int:
    return reduce(lambda found, c: (found * x + c) % P, reversed(coefficients), 0)


def _inverses(values: Sequence[int]) -> list[int]:
    """Of all at once. Raises ``ValueError`` where one is zero."""
    before = list(accumulate(values, lambda a, b: a * b % P, initial=1))
    inverse = pow(before[-1], -1, P)
    found = [0] * len(values)
    for n in reversed(range(len(values))):
        found[n] = before[n] * inverse % P
        inverse = inverse * values[n] % P
    return found
