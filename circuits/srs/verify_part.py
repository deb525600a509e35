"""The 516 bytes of a structured reference string that verification needs.

An EZKL SRS file of size k is a little-endian u32 k, 2^k G1 points, 2^k G1 points in Lagrange form,
G2 and s·G2, every coordinate a 32-byte little-endian number in Montgomery form. Verification looks
at the G1 generator, G2 and s·G2 only, so a file with k = 1 and these elements verifies proofs of
any k made over the same ceremony. All but the last 128 bytes is the same for every SRS; s·G2 tells
ceremonies apart.
"""

from __future__ import annotations

import enum
from pathlib import Path

from circuits.errors import SrsError
from circuits.srs.g2 import Q, check_g2

_G1_BYTES = 64
_G2_BYTES = 128
SIZE = 4 + 4 * _G1_BYTES + 2 * _G2_BYTES
_MAX_LOGROWS = 28


class Ceremony(enum.StrEnum):
    """Where an SRS comes from, as far as its s·G2 tells."""

    PUBLIC = "public-ceremony"  # the perpetual powers of tau, whose elements are pinned here
    OTHER = "other"  # unknown: whoever made it may be able to forge proofs


def _coordinate(n: int) -> bytes:
    return (n * (1 << 256) % Q).to_bytes(32, "little")


def _point(*coordinates: int) -> bytes:
    return b"".join(map(_coordinate, coordinates))


_G1 = _point(1, 2)
_G2 = _point(
    0x1800DEEF121F1E76426A00665E5C4479674322D4F75EDADD46DEBD5CD992F6ED,
    0x198E9393920D483A7260BFB731FB5D25F1AA493335A9E71297E485B7AEF312C2,
    0x12C85EA5DB8C6DEB4AAB71808DCB408FE3D1E7690C43D37B4CE6CC0166FA7DAA,
    0x090689D0585FF075EC9E99AD690C3395BC4B313370B38EF355ACDADCD122975B,
)
# s·G2 of the perpetual powers of tau ceremony; verifier contracts carry its negative, with the
# same x and y' = q - y.
_S_G2 = _point(
    0x17944351223333F260DDC3B4AF45191B856689EDA9EAB5CBCDDBBE570CE860D2,
    0x186282957DB913ABD99F91DB59FE69922E95040603EF44C0BD7AA3ADEEF8F5AC,
    Q - 0x06ECDB9F9567F59ED2EEE36E1E1D58797FD13CC97FAFC2910F5E8A12F202FA9A,
    Q - 0x06D971FF4A7467C3EC596ED6EFC674572E32FD6F52B721F97E35B0B3D3546753,
)
_FIXED = (1).to_bytes(4, "little") + 4 * _G1 + _G2

#: The verifying elements of the public ceremony, known without any file.
PUBLIC_CEREMONY = _FIXED + _S_G2


def extract(srs: Path) -> bytes:
    """The 516-byte verifying part of an SRS file.

    Reads a few hundred bytes of a file of any size. Raises ``SrsError`` when its length does not
    fit its own k, or its generators are not BN254's.
    """
    with srs.open("rb") as handle:
        header = handle.read(4 + _G1_BYTES)
        logrows = int.from_bytes(header[:4], "little")
        size = handle.seek(0, 2)
        if not 1 <= logrows <= _MAX_LOGROWS or size != 4 + 128 * (1 << logrows) + 256:
            raise SrsError(f"{srs.name} is not an SRS file: {size} bytes, k = {logrows}")
        handle.seek(size - 2 * _G2_BYTES)
        tail = handle.read()
    part = (1).to_bytes(4, "little") + 4 * header[4:] + tail
    check(part)
    return part


def check(part: bytes) -> None:
    """Raises ``SrsError`` unless ``part`` is 516 bytes with BN254's generators in their places and,
    as s·G2, a point of the group that they generate, other than zero.

    The engine looks at the curve only: a point outside the group would leave the pairing, and so
    the proof, without its meaning.
    """
    if len(part) != SIZE:
        raise SrsError(f"the SRS part has {len(part)} bytes, not {SIZE}")
    if part[: len(_FIXED)] != _FIXED:
        raise SrsError("the SRS part does not begin with k = 1 and BN254's generators")
    if part != PUBLIC_CEREMONY:
        check_g2(part[len(_FIXED) :])


def ceremony(part: bytes) -> Ceremony:
    """Which ceremony a checked part belongs to."""
    return Ceremony.PUBLIC if part == PUBLIC_CEREMONY else Ceremony.OTHER
