"""Several inputs, one proof: each statement is about its own lane, and no other."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar, cast

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.format.manifest import MAX_LANES
from circuits.format.tensors import InputEncoding, OutputEncoding
from prover.statement.bundle import Bundle, read_bundle
from tests.cases.verdicts import judged, names
from tests.conformance.forgeries import Forgery, signed, statement_of

pytestmark = pytest.mark.slow

Encoding = TypeVar("Encoding", InputEncoding, OutputEncoding)


@pytest.fixture
def wide(vectors: dict[str, bytes]) -> tuple[Bundle, Bundle]:
    return read_bundle(vectors["wide-0"]), read_bundle(vectors["wide-1"])


def test_two_statements_about_one_proof(wide: tuple[Bundle, Bundle], engine: EzklEngine) -> None:
    assert wide[0].proof == wide[1].proof
    for lane, bundle in enumerate(wide):
        report = judged(bundle, engine, lane)
        assert report.failures == ()
        assert f"about lane {lane}" in " ".join(report.words)
        assert any("share" in text for text in report.not_claimed)
        assert names(judged(bundle, engine, 1 - lane)) == ["expected-input"]


def test_swapped_lanes(wide: tuple[Bundle, Bundle], engine: EzklEngine) -> None:
    zero, one = wide
    for lane, bundle in enumerate(wide):
        statement = copy.deepcopy(statement_of(bundle))
        statement["predicate"]["lane"]["index"] = 1 - lane
        assert names(judged(signed(bundle, statement), engine)) == [
            "input-instances",
            "output-instances",
            "context-digest",
        ]
    assert names(judged(replace(zero, input=one.input), engine)) == [
        "input-commitment",
        "input-instances",
    ]
    assert names(judged(replace(zero, receipt=one.receipt), engine)) == [
        "input-commitment",
        "input-instances",
    ]


def test_a_lane_that_there_is_not(wide: tuple[Bundle, Bundle], engine: EzklEngine) -> None:
    for lane in ({"index": 2, "count": 2}, {"index": -1, "count": 2}, {"index": 0, "count": 1}, {}):
        statement = copy.deepcopy(statement_of(wide[0]))
        statement["predicate"]["lane"] = lane
        assert names(judged(signed(wide[0], statement), engine))[0] == "statement"
    for count in (3, 4, 4096):
        statement = copy.deepcopy(statement_of(wide[0]))
        statement["predicate"]["lane"]["count"] = count
        assert "instances" in names(judged(signed(wide[0], statement), engine))


def test_a_statement_without_its_lane(wide: tuple[Bundle, Bundle], engine: EzklEngine) -> None:
    statement = copy.deepcopy(statement_of(wide[0]))
    del statement["predicate"]["lane"]
    assert names(judged(signed(wide[0], statement), engine))[0] == "statement"
    statement["predicate"]["receipt"]["schema_version"] = 1
    assert "instances" in names(judged(signed(wide[0], statement), engine))


@pytest.mark.parametrize("lanes", [0, -1, 1, 4, 5000, 2.0])
def test_another_number_of_lanes(
    lanes: float, wide: tuple[Bundle, Bundle], engine: EzklEngine
) -> None:
    forgery = Forgery(wide[0], statement_of(wide[0]))
    forgery.set_manifest(replace(forgery.manifest, lanes=cast(int, lanes)))
    consistent = isinstance(lanes, int) and 1 <= lanes <= MAX_LANES
    told = forgery.resigned() if consistent else signed(forgery.bundle, forgery.statement)
    assert set(names(judged(told, engine))) & {"manifest", "instances", "settings-agree"}


@pytest.mark.parametrize("limbs", [1, 2])
def test_a_batched_circuit_stated_as_single_lane(
    limbs: int, wide: tuple[Bundle, Bundle], engine: EzklEngine
) -> None:
    """Both lanes as one input of twice the size; the second context as a limb of the first."""
    forgery = Forgery(wide[0], statement_of(wide[0]))
    (x,), (y,) = forgery.manifest.inputs, forgery.manifest.outputs
    forgery.set_manifest(
        replace(
            forgery.manifest,
            lanes=1,
            inputs=(doubled(x),),
            outputs=(doubled(y),),
            context=replace(forgery.manifest.context, limbs=limbs),
        )
    )
    del forgery.predicate["lane"]
    forgery.predicate["receipt"]["schema_version"] = 1
    failed = names(judged(forgery.resigned(), engine))
    assert ("manifest" if limbs == 2 else "settings-agree") in failed


def doubled(encoding: Encoding) -> Encoding:
    rows, columns = encoding.tensor.shape
    tensor = replace(encoding.tensor, shape=(2 * rows, columns))
    return replace(encoding, tensor=tensor)
