"""The argument that a proof's weights are those of an identity, over a small reference string."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from circuits.committed.arrangement import salted
from circuits.format.commitments import COLUMN_SALT, POINT_BYTES
from circuits.srs.curve import bn128 as curve
from circuits.srs.g2 import Q
from circuits.srs.identity import Comparison, check, fault, prove, salts, to_bytes
from circuits.srs.verify_part import extract
from tests.cases.small_srs import LOGROWS, SECRET, USABLE, commit, montgomery, written

pytestmark = pytest.mark.slow  # pairings in Python

WEIGHTS = [5, 0, 7, 3, 2, 9]  # of two columns


@pytest.fixture(scope="module")
def srs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("srs"))


def committed(tensor: list[int]) -> tuple[bytes, ...]:
    return tuple(commit(tensor[at : at + USABLE]) for at in range(0, len(tensor), USABLE))


MINE, PUBLIC = salted(WEIGHTS, LOGROWS), salted(WEIGHTS, LOGROWS)
KNOWN = Comparison(
    seed=b"seed", points=committed(MINE), identity=committed(PUBLIC), logrows=LOGROWS
)


@pytest.fixture(scope="module")
def argument(srs: Path) -> bytes:
    return prove(KNOWN, MINE, salts(PUBLIC, LOGROWS), srs, commit)


def test_commitments_under_other_salt_are_to_the_same_weights(srs: Path, argument: bytes) -> None:
    assert len(KNOWN.points) == 2
    check(KNOWN, argument, extract(srs))


@pytest.mark.parametrize("row", [COLUMN_SALT, USABLE - 1, USABLE + COLUMN_SALT])
def test_another_weight_is_refused(srs: Path, row: int) -> None:
    """The first one, the last of a column and the first of the next: whatever can be argued."""
    bent = list(MINE)
    bent[row] += 1
    known = replace(KNOWN, points=committed(bent))
    made = prove(known, bent, salts(PUBLIC, LOGROWS), srs, commit)
    assert fault(known, made, extract(srs)) == (
        "the commitments are to other weights than the identity's"
    )


def test_columns_do_not_cancel(srs: Path) -> None:
    """A weight moved from one column to the other, at the same row."""
    bent = list(MINE)
    bent[COLUMN_SALT] += 1
    bent[USABLE + COLUMN_SALT] -= 1
    known = replace(KNOWN, points=committed(bent))
    made = prove(known, bent, salts(PUBLIC, LOGROWS), srs, commit)
    assert fault(known, made, extract(srs)) is not None


def _point(which: int, change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    def bend(data: bytes) -> bytes:
        at = which * POINT_BYTES
        raw = data[at : at + POINT_BYTES]
        point = tuple(curve.FQ(int.from_bytes(raw[n : n + 32], "big")) for n in (0, 32))
        made = to_bytes(change((*point, curve.FQ.one())))
        return data[:at] + made + data[at + POINT_BYTES :]

    return bend


def _more(point: Any) -> Any:
    return curve.add(point, curve.G1)


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (_point(0, _more), "other weights"),
        (_point(1, _more), "other weights"),
        (_point(0, curve.neg), "other weights"),
        (lambda data: data[POINT_BYTES:] + data[:POINT_BYTES], "other weights"),
        (lambda data: bytes(POINT_BYTES) + data[POINT_BYTES:], "no point"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "no point"),
        (lambda data: (int.from_bytes(data[:32], "big") + Q).to_bytes(32, "big") + data[32:], "no"),
        (lambda data: data[:-1], "127 bytes"),
        (lambda data: data + b"\0", "129 bytes"),
        (lambda data: b"", "0 bytes"),
    ],
)
def test_a_bent_argument_is_refused(
    srs: Path, argument: bytes, bend: Callable[[bytes], bytes], reason: str
) -> None:
    assert reason in (fault(KNOWN, bend(argument), extract(srs)) or "")


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (replace(KNOWN, seed=b"another"), "other weights"),
        (replace(KNOWN, logrows=LOGROWS + 1), "other weights"),
        (replace(KNOWN, points=KNOWN.points[::-1]), "other weights"),
        (replace(KNOWN, points=KNOWN.points[:1]), "another number"),
        (replace(KNOWN, points=(), identity=()), "another number"),
        (replace(KNOWN, points=(KNOWN.identity[0], KNOWN.points[1])), "own salt"),
        (replace(KNOWN, points=(bytes(64), KNOWN.points[1])), "no point"),
        (replace(KNOWN, points=(KNOWN.points[0][:63], KNOWN.points[1])), "no point"),
        (replace(KNOWN, identity=(KNOWN.identity[0], bytes(64))), "no point"),
    ],
)
def test_other_commitments_are_refused(
    srs: Path, argument: bytes, known: Comparison, reason: str
) -> None:
    assert reason in (fault(known, argument, extract(srs)) or "")


def test_another_reference_string_is_refused(srs: Path, argument: bytes) -> None:
    part = extract(srs)[:-128] + montgomery(
        *(c for p in curve.normalize(curve.multiply(curve.G2, SECRET + 1)) for c in p.coeffs)
    )
    assert fault(KNOWN, argument, part) is not None


def test_the_curve_leaves_the_recursion_limit_alone() -> None:
    """Or hostile JSON of ten thousand levels would end the process."""
    program = (
        "import sys; before = sys.getrecursionlimit(); import circuits.srs.curve;"
        " assert 'py_ecc' in sys.modules; assert sys.getrecursionlimit() == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
