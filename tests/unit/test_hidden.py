"""Salt: how much of it hides a table, and where its look-ups go."""

from __future__ import annotations

from collections import Counter

import pytest

from circuits.calibration.samples import draw
from circuits.compiler.build import compile_float
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.errors import ProfileContradiction
from circuits.format.field import from_felt
from circuits.format.hidden import SALT_BITS, SEVERAL_SALT_BITS, Hidden, Salt, filled, hides
from circuits.format.profile import Profile, Visibility
from circuits.format.tensors import Signature


def settings(low: int, high: int, logrows: int, columns: int) -> dict[str, dict[str, object]]:
    args = {"lookup_range": [low, high], "logrows": logrows, "num_inner_cols": columns}
    return {"run_args": args}


def test_salt_spreads_over_a_tables_columns_and_over_the_inner_ones() -> None:
    low, high = filled((-900, 900), 10)
    drawn = Salt(tables=2, elements=640).draw(settings(low, high, 10, 2))
    assert [len(tensor) for tensor in drawn] == [640, 640]
    assert drawn[0] != drawn[1]
    middle = low + (1 << 10) - 12
    for tensor in drawn:
        values = [from_felt(felt) for felt in tensor]
        assert low <= min(values)
        assert max(values) <= high
        # Two inner columns, and two columns of the table: a quarter each.
        shares = Counter((n % 2, value >= middle) for n, value in enumerate(values))
        assert set(shares.values()) == {160}


def test_entropy_is_that_of_the_likeliest_outcome() -> None:
    # Two look-ups in four entries: the likeliest of ten outcomes has the probability 2/16.
    few = Salt(tables=1, elements=2)
    assert few.bits((0, 3), 4, 1) == pytest.approx(3)
    # Eight in four: two in each, 8! / (2!^4 · 4^8) = 0.0385.
    assert Salt(tables=1, elements=8).bits((0, 3), 4, 1) == pytest.approx(4.70, abs=0.01)


def test_what_salt_hides() -> None:
    salt = Salt(tables=1, elements=640)
    assert salt.bits((0, 2000), 11, 1) > SALT_BITS
    assert hides(salt, filled((0, 255), 11), 11, 1)
    assert not hides(salt, (0, 255), 11, 1), "a short table has few outcomes"
    assert not hides(salt, filled((0, 255), 8), 8, 1)
    # In several columns more is unblinded, and each gets its share of salt only.
    assert not hides(salt, filled((0, 255), 11), 11, 2)
    assert hides(salt, filled((0, 255), 12), 12, 2)
    assert SEVERAL_SALT_BITS > 5 * 254
    assert not hides(Salt(tables=2, elements=256), filled((0, 255), 11), 11, 1)


def test_a_manifest_says_what_bounds_it() -> None:
    hidden = Hidden(inputs="table", salted_tables=2)
    assert Hidden.from_json(hidden.to_json()) == hidden
    assert hidden.residues == Hidden(weights=3).residues == 1
    assert Hidden().residues == 0
    assert hidden.salt(4) == Salt(tables=2, elements=4 * 640)
    with pytest.raises(ValueError, match="no such bound"):
        Hidden.from_json(hidden.to_json() | {"inputs": "hope"})
    for count in (-1, True, 0.5, "1"):
        with pytest.raises((ValueError, TypeError)):
            Hidden.from_json(hidden.to_json() | {"salted_tables": count})


@pytest.mark.parametrize(
    "visibility", [Visibility.HASHED_WEIGHTS, Visibility.PRIVATE_WEIGHTS], ids=lambda v: v.value
)
def test_no_more_circuits_are_built_for_weights_that_nothing_names(
    visibility: Visibility, engine: EzklEngine
) -> None:
    profile = Profile(visibility=visibility)
    samples = draw(Signature(inputs=(), outputs=()), {})
    with pytest.raises(ProfileContradiction) as caught:
        compile_float(engine, b"", samples, profile, Limits())
    assert "--weights private" in caught.value.advice
