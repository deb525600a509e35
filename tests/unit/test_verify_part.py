"""The 516 bytes of an SRS that verification needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuits.errors import SrsError
from circuits.srs.verify_part import PUBLIC_CEREMONY, SIZE, Ceremony, ceremony, check, extract

SHARED = Path(__file__).parents[3] / "shared" / "vectors" / "public_ceremony" / "verify_part.srs"


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
def test_the_pinned_part_is_the_one_that_others_proofs_verify_with() -> None:
    assert SHARED.read_bytes() == PUBLIC_CEREMONY


def test_another_secret_is_another_ceremony(tmp_path: Path) -> None:
    tail = PUBLIC_CEREMONY[-256:-1] + b"\x00"
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
