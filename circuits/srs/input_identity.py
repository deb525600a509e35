"""That the input of a proof is the one that an identity names, whatever the circuit.

An identity is a commitment J to the polynomial Σ x_i X^i + X^n · Σ s_j X^j of an input's integers x
and of six elements s that only its owner knows. A circuit evaluates the same polynomial with other
random elements t in the place of s, at a challenge ζ. The proof commits beforehand to
Q = Σ (t_j − s_j) X^j, so that the circuit's polynomial is J + X^n · Q; one opening shows that
J + ζ^n · Q has at ζ the value that the circuit shows. docs/decisions/0015 has the argument.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any

from circuits.errors import SrsError
from circuits.format.commitments import COLUMN_SALT, POINT_BYTES
from circuits.format.field import P, felts_to_bytes, to_felt
from circuits.srs.identity import (
    Commit,
    combined,
    committed_values,
    g2,
    on_curve,
    powers_of,
    root_of,
    to_bytes,
    to_point,
)
from circuits.srs.verify_part import extract

#: Bytes of the commitments J and Q, and of the whole argument with its opening.
NAMED_BYTES, ARGUMENT_BYTES = 2 * POINT_BYTES, 3 * POINT_BYTES
#: Bytes of an owner's salt.
SALT_BYTES = 32
_SALTED = b"zkml-prover/input-identity/v1"


@dataclass(frozen=True, kw_only=True)
class NamedInput:
    """An input as its prover knows it: its ``integers``, what ``salt`` of 32 bytes its identity
    has, and this proof's own random elements in the place of the identity's (``blinding``)."""

    integers: tuple[int, ...]
    salt: bytes
    srs: Path
    blinding: tuple[int, ...]

    @classmethod
    def of(cls, integers: Sequence[int], salt: bytes, srs: Path) -> NamedInput:
        """With new random elements: none may be used twice. Raises ``ValueError`` for a salt of
        another length."""
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes")
        blinding = tuple(secrets.randbelow(P) for _ in range(COLUMN_SALT))
        return cls(integers=tuple(integers), salt=salt, srs=srs, blinding=blinding)

    @cached_property
    def elements(self) -> list[int]:
        """The identity's random elements. Another input, and another reference string, has others
        under the same salt: the difference of two identities would tell that of their inputs, and
        identities over many strings whose makers tell their secrets would confirm a guess."""
        known = hashlib.sha256(felts_to_bytes(to_felt(n) for n in self.integers)).digest()
        string = hashlib.sha256(extract(self.srs)).digest()
        seed = hashlib.sha256(_SALTED + self.salt + known + string).digest()
        wide = (hashlib.sha512(seed + bytes([n])).digest() for n in range(COLUMN_SALT))
        return [int.from_bytes(data, "little") % P for data in wide]

    @cached_property
    def point(self) -> bytes:
        """The identity: J. It is the same in all proofs over this reference string. Raises
        ``SrsError`` where this is too short."""
        count = len(self.integers)
        with self.srs.open("rb") as handle:
            longest = int.from_bytes(handle.read(4), "little")
        if (k := least_logrows(count)) > longest:
            raise SrsError(f"an input of {count} elements needs a reference string of k = {k}")
        points = [on_curve(p) for p in powers_of(self.srs, 0, count + COLUMN_SALT)]
        salted = combined(zip(points[count:], self.elements, strict=True))
        return to_bytes(_small(points[:count], self.integers, salted))

    @cached_property
    def named(self) -> bytes:
        """J and Q, which the challenges hash."""
        points = [on_curve(p) for p in powers_of(self.srs, 0, COLUMN_SALT)]
        return self.point + to_bytes(combined(zip(points, self._added, strict=True)))

    @property
    def _added(self) -> list[int]:
        return [(t - s) % P for t, s in zip(self.blinding, self.elements, strict=True)]

    def argument(self, place: int, logrows: int, commit: Commit) -> bytes:
        """J, Q and the opening at ζ, by a circuit of so many rows."""
        count = len(self.integers)
        coefficients, power = [*self.integers, *self.elements], pow(place, count, P)
        for n, added in enumerate(self._added):
            coefficients[n] += power * added
        # Divided by X − ζ, from the highest on; what remains is the value there.
        divided = [*accumulate(reversed(coefficients), lambda high, c: (c + place * high) % P)]
        quotient = divided[-2::-1]
        values = _on_rows([*quotient, *repeat(0, (1 << logrows) - len(quotient))], root_of(logrows))
        return self.named + committed_values(values, logrows, self.srs, commit)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a verifier knows of an input: how many ``elements`` it has, and the ``value`` at the
    challenge ``place`` of the polynomial that the circuit evaluates."""

    elements: int
    place: int
    value: int


def check(known: Evaluated, argument: bytes, srs_part: bytes) -> None:
    """Raises ``ValueError`` unless the circuit's input is the one that the argument's first point
    commits to. ``srs_part``: checked before (``circuits.srs.verify_part``)."""
    from circuits.srs.curve import bn128 as curve
    from circuits.srs.curve import is_one

    if len(argument) != ARGUMENT_BYTES:
        raise ValueError(f"the argument has {len(argument)} bytes, not {ARGUMENT_BYTES}")
    public, added, opening = (
        on_curve(to_point(argument[n : n + POINT_BYTES]))
        for n in range(0, ARGUMENT_BYTES, POINT_BYTES)
    )
    terms = [
        (public, 1),
        (added, pow(known.place, known.elements, P)),
        (curve.G1, -known.value),
        (opening, known.place),
    ]
    pair = curve.pairing(curve.G2, combined(terms), final_exponentiate=False) * curve.pairing(
        g2(srs_part[-128:]), curve.neg(opening), final_exponentiate=False
    )
    if not is_one(pair):
        raise ValueError("the input is another one than the identity's")


def fault(known: Evaluated, argument: bytes, srs_part: bytes) -> str | None:
    """Why ``check`` refuses; None where it does not."""
    try:
        check(known, argument, srs_part)
    except ValueError as error:
        return str(error)
    return None


def least_logrows(elements: int) -> int:
    """k of the least reference string over which an input of so many elements has an identity."""
    return (elements + COLUMN_SALT - 1).bit_length()


def _small(points: Sequence[Any], numbers: Sequence[int], more: Any) -> Any:
    """The sum of points times integers of a few bits each, and of one more point."""
    from circuits.srs.curve import bn128 as curve

    signed = [(p if n > 0 else curve.neg(p), abs(n)) for p, n in zip(points, numbers, strict=True)]
    found = curve.Z1
    for bit in reversed(range(max(n.bit_length() for _, n in signed))):
        found = curve.double(found)
        for point, n in signed:
            if n >> bit & 1:
                found = curve.add(found, point)
    return curve.add(found, more)


def _on_rows(coefficients: list[int], root: int) -> list[int]:
    """A polynomial's values at all powers of the root, in order."""
    if len(coefficients) == 1:
        return coefficients
    square = root * root % P
    even, odd = (_on_rows(coefficients[n::2], square) for n in (0, 1))
    powers = accumulate(repeat(root, len(odd) - 1), lambda a, b: a * b % P, initial=1)
    turned = [power * value % P for power, value in zip(powers, odd, strict=True)]
    low = [(a + b) % P for a, b in zip(even, turned, strict=True)]
    return low + [(a - b) % P for a, b in zip(even, turned, strict=True)]
