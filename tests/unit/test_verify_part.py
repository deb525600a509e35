"""The 516 bytes of an SRS that verification needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuits.errors import SrsError
from circuits.srs.g2 import Q
from circuits.srs.verify_part import PUBLIC_CEREMONY, SIZE, Ceremony, ceremony, check, extract

SHARED = Path(__file__).parents[3] / "shared" / "vectors" / "public_ceremony" / "verify_part.srs"
#: y of a point of the curve with x = 1, found by a square root in Fp2.
OUTSIDE = (
    0x2869111D5381F072F8E2728FDB825A51AADD70E52C9830E9AB4B871C0531F1BB,
    0x0D1271953ED9EA0836846E70A1934187998C7F790CB4D7511B7F8DA82DE048A4,
)


def srs_file(path: Path, logrows: int, tail: bytes = PUBLIC_CEREMONY[-256:]) -> Path:
    """A file of the right length whose G1 points, but the first, are not looked at."""
    points = PUBLIC_CEREMONY[4:68] + bytes(128 * (1 << logrows) - 64)
    path.write_bytes(logrows.to_bytes(4, "little") + points + tail)
    return path


def test_the_part_of_a_larger_file_of_the_ceremony_is_the_pinned_one(tmp_path: Path) -> None:
    assert len(PUBLIC_CEREMONY) == SIZE == 516
    part = extract(srs_file(tmp_path / "srs", logrows=3))
    assert part == PUBLIC_CEREMONY
    assert ceremony(part) is Ceremony.PUBLIC


@pytest.mark.skipif(not SHARED.exists(), reason="the shared vectors are not here")
def test_the_pinned_part_verifies_third_party_proofs() -> None:
    assert SHARED.read_bytes() == PUBLIC_CEREMONY


def test_another_secret_is_another_ceremony(tmp_path: Path) -> None:
    tail = 2 * PUBLIC_CEREMONY[-256:-128]  # the secret 1
    assert ceremony(extract(srs_file(tmp_path / "srs", 3, tail))) is Ceremony.OTHER


def test_a_file_that_is_no_srs_is_refused(tmp_path: Path) -> None:
    path = srs_file(tmp_path / "srs", logrows=3)
    good = path.read_bytes()
    for data in (
        b"",
        good[:-1],
        good + b"\0",
        b"\xff" + good[1:],
        good[:4] + bytes(64) + good[68:],
    ):
        path.write_bytes(data)
        with pytest.raises(SrsError):
            extract(path)


def test_a_part_has_one_length_and_the_curves_generators() -> None:
    for data in (b"", PUBLIC_CEREMONY + b"\0", b"\x02" + PUBLIC_CEREMONY[1:]):
        with pytest.raises(SrsError):
            check(data)
    flipped = PUBLIC_CEREMONY[:300] + bytes([PUBLIC_CEREMONY[300] ^ 1]) + PUBLIC_CEREMONY[301:]
    with pytest.raises(SrsError):
        check(flipped)


def point(*coordinates: int) -> bytes:
    """A point of the second group's curve as an SRS file holds it: c0, c1 of x, then of y."""
    return b"".join((n * (1 << 256) % Q).to_bytes(32, "little") for n in coordinates)


@pytest.mark.parametrize(
    ("s_g2", "said"),
    [
        (bytes(128), "zero"),
        (PUBLIC_CEREMONY[-128:-1] + b"\x00", "not a point of the curve"),
        (b"\xff" * 32 + PUBLIC_CEREMONY[-96:], "not below"),
        # On the curve, as the engine asks, and yet not a multiple of the generator.
        (point(1, 0, *OUTSIDE), "not a point of the group"),
    ],
    ids=["zero", "off the curve", "a coordinate's second name", "outside the group"],
)
def test_s_g2_is_a_point_of_the_group(s_g2: bytes, said: str) -> None:
    with pytest.raises(SrsError, match=said):
        check(PUBLIC_CEREMONY[:-128] + s_g2)
