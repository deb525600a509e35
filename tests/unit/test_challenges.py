"""Challenges of committed hints: what they hash, and what is evaluated at them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from circuits.format.commitments import (
    CHALLENGES,
    Binding,
    Commitments,
    Lanes,
    Subject,
    Weights,
    columns,
    doubled,
    evaluation,
    halved,
    joined,
    usable_rows,
)
from circuits.format.field import P, from_felt, to_felt


def test_columns_of_a_committed_tensor() -> None:
    """As the engine lays them out: one more just below an edge."""
    rows = usable_rows(8)
    assert rows == 250
    sizes = (1, 247, 248, 249, 250, 251, 498, 499, 500)
    assert [columns(n, 8) for n in sizes] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def claim(**changes: object) -> Commitments:
    plain = Commitments(
        weights=Weights.SEALED,
        network_sha256="sha256:" + "0" * 64,
        elements=10,
        residues=2,
        output_bounds=(1000,),
        evaluated=None,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_challenges_are_hashes_of_all_that_a_prover_could_choose() -> None:
    plain = Binding(
        vk=b"key",
        settings=b"settings",
        srs_part=b"srs",
        claim=claim(),
        about=Subject(context=5, inputs=None),
    )
    first = plain.challenges(b"point")
    assert len({*first}) == len(CHALLENGES)
    others = [
        replace(plain, vk=b"yek"),
        replace(plain, settings=b"other"),
        replace(plain, srs_part=b"crs"),
        replace(plain, claim=claim(network_sha256="sha256:" + "1" * 64)),
        replace(plain, claim=claim(elements=11)),
        replace(plain, about=Subject(context=6, inputs=None)),
        replace(plain, about=Subject(context=5, inputs=[[]])),
        replace(plain, about=Subject(context=5, inputs=[[to_felt(1)]])),
    ]
    found = [tuple(b.challenges(b"point")) for b in others] + [tuple(plain.challenges(b"tniop"))]
    assert len({tuple(first), *found}) == len(found) + 1
    assert all(not {*first} & {*other} for other in found)


def test_the_lanes_challenge_hashes_every_lane_and_its_evaluation() -> None:
    subjects = [Subject(context=n, inputs=[[to_felt(n)]]) for n in range(3)]
    leaves = [s.leaf for s in subjects]
    plain = Binding(
        vk=b"key",
        settings=b"settings",
        srs_part=b"srs",
        claim=claim(lanes=3, evaluated=(1, 1)),
        about=leaves,
    )
    first = plain.challenges(b"point", lambda found: Lanes.of(subjects, (1, 1), found).evaluations)
    assert len({*first}) == len(CHALLENGES) + 1
    lanes = Lanes.of(subjects, (1, 1), first)
    assert plain.challenges(b"point", lambda _: lanes.evaluations) == first
    assert Lanes.from_bytes(lanes.to_bytes()) == lanes
    bent = [to_felt(from_felt(lanes.evaluations[0]) + 1), *lanes.evaluations[1:]]
    other = plain.challenges(b"point", lambda _: bent)
    assert (other[:-1], other[-1] != first[-1]) == (first[:-1], True)
    swapped = replace(plain, about=[leaves[1], leaves[0], leaves[2]])
    assert not {*swapped.challenges(b"point", lambda _: lanes.evaluations)} & {*first}
    for about in (leaves[:2], subjects[0]):
        with pytest.raises(ValueError, match="number of lanes"):
            replace(plain, about=about).challenges(b"point", lambda _: lanes.evaluations)
    for wrong in ((), lanes.evaluations[:2]):
        with pytest.raises(ValueError, match="evaluated"):
            plain.challenges(b"point", lambda _, given=wrong: given)  # type: ignore[misc]
    assert joined(lanes.evaluations, to_felt(10)) == to_felt(
        sum(from_felt(e) * 10 ** (n + 1) for n, e in enumerate(lanes.evaluations))
    )


def test_an_evaluation_depends_on_inputs_and_their_order() -> None:
    at = [to_felt(n) for n in (2, 3, 5, 7, 11)]
    value = evaluation([to_felt(n) for n in (4, -6, 9)], (2, 2), at)
    assert from_felt(value) == 7 * (11 * 4 - 11**2 * 6) + 7**2 * 11 * 9
    assert value != evaluation([to_felt(n) for n in (-6, 4, 9)], (2, 2), at)


def test_challenges_of_weights_hash_what_they_fold_to() -> None:
    shown = claim(weights=Weights.SHOWN, folded=4)
    plain = Binding(
        vk=b"key",
        settings=b"settings",
        srs_part=b"srs",
        claim=shown,
        about=Subject(context=5, inputs=None),
    )
    first = plain.challenges(b"point")
    both = plain.challenges(b"point", folded=b"folded")
    assert both[:-2] == first
    assert len({*both}) == len(shown.challenges) == len(CHALLENGES) + 2
    for others in (
        plain.challenges(b"point", folded=b"other"),
        plain.challenges(b"tniop", folded=b"folded"),
    ):
        assert not {*both[-2:]} & {*others}


def test_challenges_are_shown_doubled() -> None:
    assert doubled([to_felt(3), to_felt(-1)]) == [to_felt(6), to_felt(2 * (P - 1) - P)]
    assert halved(doubled([to_felt(3), to_felt(-1)])) == [to_felt(3), to_felt(-1)]
