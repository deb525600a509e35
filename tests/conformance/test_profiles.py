"""Each visibility, from proof to verification: what a verifier learns, and what he can check."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.format.digests import sha256
from prover.statement.bundle import read_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Report, Status
from tests.cases.verdicts import NOW
from tests.conformance.forgeries import statement_of
from tests.conformance.make_vectors import CASES, INPUT, SALT, Case, public_key, uploaded

pytestmark = pytest.mark.slow

OTHER_INPUT = {"x": INPUT["x"] + np.float32(1 / 128)}
PRIVATE = ("private-input", "hashed-input")


def status(report: Report, name: str) -> Status:
    (check,) = [c for c in report.checks if c.name == name]
    return check.status


@pytest.fixture(params=CASES, ids=lambda c: c.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def test_its_bundle_passes_every_check(
    case: Case, engine: EzklEngine, vectors: dict[str, bytes]
) -> None:
    report = verify_bundle(
        vectors[case.name],
        engine=engine,
        policy=Policy(
            trusted=(public_key(1),),
            model_sha256=sha256(uploaded(case.seed)),
            context={"nonce": "conformance", "chain_id": 1},
        ),
        model=uploaded(case.seed),
        inputs=INPUT,
        input_salt=SALT,
        now=NOW,
    )
    assert report.failures == ()
    assert [c.name for c in report.warnings] == ["srs-policy"]
    assert [c.number for c in report.checks] == list(range(1, 41))
    assert report.words
    assert report.not_claimed


def test_another_input_is_not_the_one_expected(
    case: Case, engine: EzklEngine, vectors: dict[str, bytes]
) -> None:
    report = verify_bundle(
        vectors[case.name], engine=engine, inputs=OTHER_INPUT, input_salt=SALT, now=NOW
    )
    assert [c.name for c in report.failures] == ["expected-input"]


@pytest.mark.parametrize("name", PRIVATE)
def test_a_bundle_with_a_private_input_holds_none_of_it(
    name: str, engine: EzklEngine, vectors: dict[str, bytes]
) -> None:
    bundle = read_bundle(vectors[name])
    assert bundle.input is None
    claim = statement_of(bundle)["predicate"]["input"]["commitment"]
    assert claim["kind"] == "salted"
    report = verify_bundle(vectors[name], engine=engine, now=NOW)
    assert status(report, "input-instances") is Status.SKIP
    assert status(report, "input-range") is Status.PASS  # the circuit bounds it
    assert status(report, "residues") is Status.PASS
    # -2.0 scaled by 2^7 is the element P - 256, whose digits nothing else would have.
    felt = b"01ffffef93f5e143"
    assert felt in vectors["public"]
    assert felt not in vectors[name]


def test_without_its_salt_a_private_input_cannot_be_confirmed_but_a_hashed_one_can(
    engine: EzklEngine, vectors: dict[str, bytes]
) -> None:
    reports = {n: verify_bundle(vectors[n], engine=engine, inputs=INPUT, now=NOW) for n in PRIVATE}
    assert status(reports["private-input"], "expected-input") is Status.WARN
    assert status(reports["hashed-input"], "expected-input") is Status.PASS


def test_strict_verification_fails_on_warnings(
    engine: EzklEngine, vectors: dict[str, bytes]
) -> None:
    strict = verify_bundle(vectors["public"], engine=engine, policy=Policy(strict=True), now=NOW)
    assert [c.name for c in strict.failures] == ["signer", "srs-policy"]
    careful = Policy(trusted=(public_key(1),), allow_insecure_srs=False)
    report = verify_bundle(vectors["public"], engine=engine, policy=careful, now=NOW)
    assert [c.name for c in report.failures] == ["srs-policy"]
