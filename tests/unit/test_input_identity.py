"""The argument that a proof's input is the one of an identity, over a small reference string."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from circuits.errors import SrsError
from circuits.format.commitments import COLUMN_SALT, POINT_BYTES, input_identity
from circuits.format.field import P
from circuits.srs.curve import bn128 as curve
from circuits.srs.g2 import Q
from circuits.srs.identity import to_bytes
from circuits.srs.input_identity import (
    ARGUMENT_BYTES,
    Evaluated,
    NamedInput,
    check,
    fault,
    least_logrows,
)
from circuits.srs.verify_part import extract
from tests.cases.small_srs import LOGROWS, SECRET, commit, written

pytestmark = pytest.mark.slow  # pairings in Python

INPUT, SALT, PLACE = (5, -7, 0, 3, 2, -9, 1), bytes(range(32)), 987654321


def value(known: NamedInput, place: int = PLACE) -> int:
    """What a circuit shows: its input and this proof's own random elements, at the challenge."""
    return sum(c * pow(place, n, P) for n, c in enumerate([*known.integers, *known.blinding])) % P


def shown(known: NamedInput, place: int = PLACE) -> Evaluated:
    return Evaluated(elements=len(known.integers), place=place, value=value(known, place))


@pytest.fixture(scope="module")
def srs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("srs"))


@pytest.fixture
def known(srs: Path) -> NamedInput:
    return NamedInput.of(INPUT, SALT, srs)


def test_an_identity_is_a_commitment_to_the_input_behind_the_constant(known: NamedInput) -> None:
    told = [*INPUT, *known.elements]
    total = sum(c * pow(SECRET, n, P) for n, c in enumerate(told)) % P
    assert known.point == to_bytes(curve.multiply(curve.G1, total))


def test_proofs_of_an_identity_share_nothing_else(srs: Path, known: NamedInput) -> None:
    again = NamedInput.of(INPUT, SALT, srs)
    made = [k.argument(PLACE, LOGROWS, commit) for k in (known, again)]
    for one, argument in zip((known, again), made, strict=True):
        assert len(argument) == ARGUMENT_BYTES
        check(shown(one), argument, extract(srs))
    points = [{a[n : n + POINT_BYTES] for n in range(0, ARGUMENT_BYTES, POINT_BYTES)} for a in made]
    assert points[0] & points[1] == {known.point}
    assert len({*known.blinding, *again.blinding, *known.elements}) == 3 * COLUMN_SALT
    assert value(known) != value(again)


@pytest.mark.parametrize("at", [0, len(INPUT) - 1])
def test_another_input_is_refused(srs: Path, known: NamedInput, at: int) -> None:
    """Also one whose last element differs, where the salt begins behind it."""
    bent = list(INPUT)
    bent[at] += 1
    other = replace(known, integers=tuple(bent))
    public = known.argument(PLACE, LOGROWS, commit)
    for argument in (public, known.point + other.argument(PLACE, LOGROWS, commit)[POINT_BYTES:]):
        assert fault(shown(other), argument, extract(srs)) == (
            "the input is another one than the identity's"
        )


def test_what_an_identity_names_has_a_length(srs: Path, known: NamedInput) -> None:
    """Of fewer elements the last one counts as salt, so that any would do: under another name."""
    other = replace(known, integers=(*INPUT[:-1], INPUT[-1] + 1))
    part, fewer = extract(srs), len(INPUT) - 1
    names = {input_identity(known.point, part, [(n, 4)]) for n in (len(INPUT), fewer)}
    assert len(names) == 2
    claimed = replace(shown(other), elements=fewer)
    assert fault(claimed, known.argument(PLACE, LOGROWS, commit), part) is not None


def test_a_name_is_of_all_that_gives_the_integers_a_meaning(srs: Path, known: NamedInput) -> None:
    part = extract(srs)
    named = [
        input_identity(known.point, part, [(7, 4)]),
        input_identity(known.point, part, [(7, 5)]),
        input_identity(known.point, part, [(3, 4), (4, 4)]),
        input_identity(known.point, part[:-1] + b"\0", [(7, 4)]),
        input_identity(known.point[::-1], part, [(7, 4)]),
    ]
    assert len({*named}) == len(named)


def test_a_salt_of_one_input_is_not_that_of_another(srs: Path, known: NamedInput) -> None:
    """Or two identities under one salt would tell by how much their inputs differ."""
    other = NamedInput.of([*INPUT[:-1], 0], SALT, srs)
    assert not {*known.elements} & {*other.elements}
    assert NamedInput.of(INPUT, SALT, srs).point == known.point
    assert NamedInput.of(INPUT, SALT[::-1], srs).point != known.point
    with pytest.raises(ValueError, match="32 bytes"):
        NamedInput.of(INPUT, SALT[:-1], srs)


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (lambda a: bytes(64) + a[64:], "no point"),
        (lambda a: a[:64] + bytes(64) + a[128:], "no point"),
        (lambda a: a[:128] + bytes(64), "no point"),
        (lambda a: a[:-1] + bytes([a[-1] ^ 1]), "no point"),
        (lambda a: (int.from_bytes(a[:32], "big") + Q).to_bytes(32, "big") + a[32:], "no point"),
        (lambda a: a[64:128] + a[:64] + a[128:], "another one"),
        (lambda a: a[:64] + a[128:] + a[64:128], "another one"),
        (lambda a: a[:-1], "191 bytes"),
        (lambda a: a + b"\0", "193 bytes"),
        (lambda a: b"", "0 bytes"),
    ],
)
def test_a_bent_argument_is_refused(
    srs: Path, known: NamedInput, bend: Callable[[bytes], bytes], reason: str
) -> None:
    argument = known.argument(PLACE, LOGROWS, commit)
    assert reason in (fault(shown(known), bend(argument), extract(srs)) or "")


def test_an_argument_is_for_its_place_value_and_proof(srs: Path, known: NamedInput) -> None:
    argument, part = known.argument(PLACE, LOGROWS, commit), extract(srs)
    own = shown(known)
    again = NamedInput.of(INPUT, SALT, srs)
    for bent in (
        replace(own, place=PLACE + 1),
        replace(own, value=own.value + 1),
        replace(own, elements=own.elements + 1),
        shown(known, PLACE + 1),
        shown(again),
    ):
        assert fault(bent, argument, part) is not None


def test_a_reference_string_has_to_be_long_enough(srs: Path) -> None:
    most = (1 << LOGROWS) - COLUMN_SALT
    assert (least_logrows(most), least_logrows(most + 1)) == (LOGROWS, LOGROWS + 1)
    assert NamedInput.of([1] * most, SALT, srs).point
    with pytest.raises(SrsError, match="k = 5"):
        _ = NamedInput.of([1] * (most + 1), SALT, srs).point
