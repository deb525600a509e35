"""Elements of BN254's scalar field, as EZKL writes them.

A *felt* is 64 lower-case hex digits, little-endian, no ``0x``: the form of a proof's ``instances``.
Signed integers are mapped to the field as EZKL does: a negative ``n`` is ``P + n``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

P = 0x30644E72E131A029B85045B68181585D2833E84879B97091_43E1F593F0000001

#: One tensor as felts, row-major.
Felts = list[str]

#: Integers further from zero than this are not read back as signed numbers.
SIGNED_LIMIT = 1 << 127

_FELT = re.compile(r"[0-9a-f]{64}\Z")


def to_felt(n: int) -> str:
    """The felt of a signed integer."""
    return (n % P).to_bytes(32, "little").hex()


def from_felt(felt: str) -> int:
    """The signed integer of a felt, in ``(-P/2, P/2]``.

    Raises ``ValueError`` when it is not 64 hex digits or not below the modulus (a second name for
    the same element would make two different byte strings equal statements).
    """
    if not _FELT.match(felt):  # bytes.fromhex would let blanks pass
        raise ValueError(f"not a field element: {felt[:80]!r}")
    n = int.from_bytes(bytes.fromhex(felt), "little")
    if n >= P:
        raise ValueError("field element is not below the modulus")
    return n - P if n > P // 2 else n


def felts_to_bytes(felts: Iterable[str]) -> bytes:
    """The concatenated 32-byte little-endian elements: what digests of instances are taken over."""
    return b"".join(bytes.fromhex(f) for f in felts)


def digits_end(base: int, legs: int) -> int:
    """``base ** legs``, the end of what so many digits hold.

    Raises ``ValueError`` where that is half of the field or more: a number would have several
    decompositions. Then no power is computed, since settings come from outside.
    """
    if legs * (base.bit_length() - 1) >= P.bit_length() or 2 * base**legs >= P:
        raise ValueError("digits hold more than the field: a number has several decompositions")
    return int(base**legs)
