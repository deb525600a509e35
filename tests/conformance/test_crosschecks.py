"""Good parts put together wrongly, good bundles shown to the wrong verifier, and rebuilt keys."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.format.digests import canonical_json, sha256, sha256_file
from circuits.format.manifest import CircuitManifest, SrsRef
from circuits.format.profile import Soundness
from circuits.rebuild import Rebuilt
from circuits.srs import verify_part
from prover.statement.bundle import Bundle, read_bundle, write_bundle
from prover.statement.context import Context
from prover.statement.envelope import Receipt
from prover.statement.keys import KeyState
from prover.statement.statement import Statement
from prover.verify.bundle import check_statement, verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Layer, Report, Status
from tests.cases.verdicts import NOW, names
from tests.conformance.forgeries import (
    RIVAL,
    TRUSTED,
    Forgery,
    signed,
    statement_of,
    with_file,
)
from tests.conformance.make_vectors import (
    CASES,
    EXPIRES,
    FOLDER,
    ISSUED,
    LIMITS,
    LOGROWS,
    make,
    public_key,
    uploaded,
    with_context,
)

pytestmark = pytest.mark.slow

POLICY = Policy(trusted=(public_key(TRUSTED),))
#: Of a reference string whose secret is another.
OTHER_PART = (FOLDER / "other_srs_part.bin").read_bytes()
Judge = Callable[..., Report]


@pytest.fixture
def judge(engine: EzklEngine) -> Judge:
    def judged(bundle: Bundle | bytes, policy: Policy = POLICY, **more: Any) -> Report:
        data = bundle if isinstance(bundle, bytes) else write_bundle(bundle)
        return verify_bundle(data, policy=policy, engine=engine, **{"now": NOW, **more})

    return judged


@pytest.fixture
def good(vectors: dict[str, bytes]) -> Bundle:
    return read_bundle(vectors["public"])


@pytest.fixture
def other(vectors: dict[str, bytes]) -> Bundle:
    return read_bundle(vectors["other-model"])


def layers(report: Report) -> set[Layer]:
    return {c.layer for c in report.failures}


# --- parts of two bundles --------------------------------------------------------------------


def test_a_proof_of_one_model_under_the_receipt_of_another(
    good: Bundle, other: Bundle, judge: Judge
) -> None:
    assert "proof-digest" in names(judge(replace(good, proof=other.proof)))
    moved = replace(good, proof=other.proof, vk=other.vk, settings=other.settings)
    assert {Layer.ARTIFACT, Layer.INSTANCES, Layer.PROOF} <= layers(judge(moved))


def test_an_issuer_who_states_another_model(good: Bundle, judge: Judge) -> None:
    forgery = Forgery(replace(good, model=None), statement_of(good))
    forgery.set_manifest(replace(forgery.manifest, model_sha256=sha256(uploaded(7))))
    told = forgery.resigned()
    assert names(judge(told)) == []  # nothing in the bundle can show it …
    assert names(judge(told, model=uploaded(4))) == ["expected-model"]  # … but the model can


def test_the_receipt_of_another_bundle(good: Bundle, other: Bundle, judge: Judge) -> None:
    report = judge(replace(good, receipt=other.receipt))
    assert Layer.SIGNATURE not in layers(report)
    assert {Layer.ARTIFACT, Layer.INSTANCES, Layer.CONTEXT} <= layers(report)


# --- keys ------------------------------------------------------------------------------------


def test_a_receipt_signed_again_by_another_key(good: Bundle, judge: Judge) -> None:
    report = judge(signed(good, statement_of(good), RIVAL))
    assert names(report) == ["signer"]
    assert "unknown" in report.failures[0].detail


def test_anothers_key_beside_the_old_signature(good: Bundle, judge: Judge) -> None:
    rival = signed(good, statement_of(good), RIVAL)
    assert names(judge(replace(good, signer=rival.signer))) == ["signature"]


def test_a_revoked_key_fails_by_name(good: Bundle, judge: Judge) -> None:
    revoked = replace(public_key(TRUSTED), state=KeyState.REVOKED, reason="lost")
    report = judge(good, Policy(trusted=(revoked,)))
    assert names(report) == ["signer"]
    assert "revoked: lost" in report.failures[0].detail
    by_id = Policy(revoked=frozenset({public_key(TRUSTED).keyid}))
    assert names(judge(good, by_id)) == ["signer"]


def test_a_retired_key_is_valid_for_earlier_receipts(good: Bundle, judge: Judge) -> None:
    key = replace(public_key(TRUSTED), state=KeyState.RETIRED)
    after, before = ISSUED + timedelta(days=1), ISSUED - timedelta(days=1)
    assert judge(good, Policy(trusted=(replace(key, retired_at=after.isoformat()),))).ok
    report = judge(good, Policy(trusted=(replace(key, retired_at=before.isoformat()),)))
    assert names(report) == ["signer"]


def test_a_key_may_be_trusted_by_its_id_alone(good: Bundle, judge: Judge) -> None:
    assert judge(good, Policy(keyids=frozenset({public_key(TRUSTED).keyid}))).ok
    assert names(judge(good, Policy(keyids=frozenset({public_key(RIVAL).keyid})))) == ["signer"]


# --- another purpose, another time -----------------------------------------------------------


@pytest.mark.parametrize(
    "expected",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"chain_id": 5},
        {"consumer": "0x" + "11" * 20},
        {"job_id": "job-other"},
    ],
)
def test_replay_in_another_context(good: Bundle, judge: Judge, expected: dict[str, Any]) -> None:
    assert names(judge(good, replace(POLICY, context=expected))) == ["expected-context"]


def test_a_proof_relabelled_for_another_context(good: Bundle, judge: Judge) -> None:
    for nonce in ("another", None):
        forgery = Forgery(good, statement_of(good))
        forgery.predicate["context"]["nonce"] = nonce
        assert Layer.CONTEXT in layers(judge(forgery.resigned()))


def test_time(good: Bundle, judge: Judge) -> None:
    assert names(judge(good, now=EXPIRES)) == ["expiry"]
    assert names(judge(good, now=ISSUED - timedelta(minutes=6))) == ["age"]
    assert judge(good, now=ISSUED - timedelta(minutes=4)).ok
    assert names(judge(good, replace(POLICY, max_age_s=60))) == ["age"]


# --- reference strings, versions, profiles ---------------------------------------------------


def test_an_srs_of_the_same_size_from_another_ceremony(
    good: Bundle, judge: Judge, vectors: dict[str, bytes]
) -> None:
    part = (Path(__file__).parent / "vectors" / "other_srs_part.bin").read_bytes()
    assert len(part) == len(good.srs_part)
    report = judge(replace(good, srs_part=part))
    assert names(report) == ["srs-part-digest", "proof"]


def test_a_downgraded_schema(good: Bundle, judge: Judge) -> None:
    for edit in ({"schema_version": 0}, {"schema_version": 2}):
        statement = copy.deepcopy(statement_of(good))
        statement["predicate"]["receipt"] |= edit
        assert names(judge(signed(good, statement)))[0] == "statement"


def test_versions_and_profiles_that_the_policy_does_not_allow(
    good: Bundle, judge: Judge, vectors: dict[str, bytes]
) -> None:
    assert names(judge(good, replace(POLICY, engine_versions=frozenset({"24.0.0"})))) == [
        "engine-version"
    ]
    careful = replace(POLICY, minimum_soundness=Soundness.CONSERVATIVE)
    assert names(judge(good, careful)) == ["soundness"]
    assert judge(vectors["conservative"], careful).ok
    statement = copy.deepcopy(statement_of(good))
    statement["predicate"]["profile"]["soundness"] = "freivalds"
    report = judge(signed(good, statement))
    assert "soundness" in names(report)
    (told,) = [c.detail for c in report.checks if c.name == "soundness"]
    assert "the prover could choose the results of products" in told


def test_another_circuit_than_expected(good: Bundle, judge: Judge, other: Bundle) -> None:
    assert judge(good, replace(POLICY, vk_sha256=sha256(good.vk))).ok
    for wanted in (
        replace(POLICY, vk_sha256=sha256(other.vk)),
        replace(POLICY, circuit_id="another"),
    ):
        assert names(judge(good, wanted)) == ["expected-circuit"]


def test_an_input_smuggled_into_a_private_bundle(
    good: Bundle, judge: Judge, vectors: dict[str, bytes]
) -> None:
    private = read_bundle(vectors["private-input"])
    assert names(judge(replace(private, input=good.input))) == ["input-commitment"]


# --- before signing, and from the model alone ------------------------------------------------


def test_the_prover_checks_a_statement_before_it_signs(good: Bundle, engine: EzklEngine) -> None:
    statement = Statement.from_bytes(_payload(good))
    unsigned = replace(good, receipt=b"", signer=b"")
    assert check_statement(statement, unsigned, engine=engine, now=NOW).ok
    changed = replace(unsigned, proof=unsigned.proof.replace(b"0x", b"0X"))
    report = check_statement(statement, changed, engine=engine, now=NOW)
    assert {Layer.ARTIFACT, Layer.PROOF} <= layers(report)


def _payload(bundle: Bundle) -> bytes:
    return Receipt.from_bytes(bundle.receipt).payload


@pytest.mark.long
def test_the_key_is_rebuilt_from_the_model(
    judge: Judge, engine: EzklEngine, tmp_path: Path
) -> None:
    path = tmp_path / "srs"
    engine.generate_srs(path, LOGROWS, LIMITS)
    (data,) = make(CASES[0], engine, path, tmp_path)
    bundle = read_bundle(data)

    def rebuild(model: bytes, manifest: CircuitManifest, settings: bytes, srs: SrsRef) -> Rebuilt:
        assert srs.sha256 == sha256_file(path)
        rewritten = with_context(model, manifest.context.limbs, shows_input=True)
        engine.setup(rewritten, settings.decode(), path, tmp_path, LIMITS)
        part = verify_part.extract(path)
        return Rebuilt(vk=(tmp_path / "vk").read_bytes(), srs_part=part)

    assert judge(bundle, rebuild=rebuild).ok
    # An issuer who names another model is found out, whatever he signs.
    forgery = Forgery(replace(bundle, model=uploaded(7)), statement_of(bundle))
    forgery.set_manifest(replace(forgery.manifest, model_sha256=sha256(uploaded(7))))
    assert names(judge(forgery.resigned(), rebuild=rebuild)) == ["rebuild"]


def test_the_proof_is_checked_under_the_reference_string_of_the_key(
    good: Bundle, judge: Judge
) -> None:
    """Else an issuer puts in a part whose secret he knows, and opens commitments to anything."""
    rebuilt = Rebuilt(vk=good.vk, srs_part=OTHER_PART)
    report = judge(good, rebuild=lambda *_: rebuilt)
    assert names(report) == ["rebuild"]
    assert "another reference string" in report.failures[0].detail


@pytest.mark.parametrize(
    ("answer", "stated", "found"),
    [
        ([1.5, 4.3984375, 4.1171875], {}, "is 1.5 away"),
        ([0.0, 4.3984375, 4.5], {"max_absolute": 1e9}, "is not onnxruntime's"),
        ([0.0, 4.3984375, 4.5], {"max_absolute": 1e9, "same_top1": False}, None),
        ([1e-9, 4.3984376, 4.1171874], {}, None),
        ([-np.inf, 4.3984375, 4.1171875], {"max_absolute": 1e9}, "is no number"),
    ],
)
def test_the_output_is_compared_with_onnxruntimes(
    good: Bundle, judge: Judge, answer: list[float], stated: dict[str, Any], found: str | None
) -> None:
    forgery = Forgery(good, statement_of(good))
    (output,) = forgery.predicate["outputs"]
    assert output["values"] == [0.0, 4.3984375, 4.1171875]
    forgery.predicate["accuracy"]["this_input"] |= {"max_absolute": 0.0, "same_top1": True} | stated
    rebuilt = Rebuilt(
        vk=good.vk,
        srs_part=good.srs_part,
        answer=lambda _: [(np.array([answer]), 100.0)],
    )
    report = judge(forgery.resigned(), rebuild=lambda *_: rebuilt)
    assert names(report) == ([] if found is None else ["rebuild"])
    assert found is None or found in report.failures[0].detail


def test_an_output_that_is_far_off_for_its_own_width_is_a_warning(
    good: Bundle, judge: Judge
) -> None:
    """A bound that another output of larger numbers made true."""
    forgery = Forgery(good, statement_of(good))
    forgery.predicate["accuracy"]["this_input"] |= {"max_absolute": 107.0, "max_relative": 0.0003}
    rebuilt = Rebuilt(
        vk=good.vk,
        srs_part=good.srs_part,
        answer=lambda _: [(np.array([[0.0, 9.3984375, 4.1171875]]), 20.0)],
    )
    report = judge(forgery.resigned(), rebuild=lambda *_: rebuilt)
    (check,) = [c for c in report.checks if c.name == "rebuild"]
    assert check.status is Status.WARN
    assert "25 % of its range off" in check.detail


@pytest.mark.parametrize(("width", "found"), [(100.0, []), (1e-3, ["rebuild"])])
def test_what_two_machines_differ_by_is_no_more_than_an_outputs_width(
    good: Bundle, judge: Judge, width: float, found: list[str]
) -> None:
    """Where most elements are masked with a large number, it says nothing of the others."""
    forgery = Forgery(good, statement_of(good))
    forgery.predicate["accuracy"]["this_input"] |= {"max_absolute": 0.0, "max_relative": 0.0}
    answer = np.array([[3e-6, 4.3984375, 4.1171875]])
    rebuilt = Rebuilt(vk=good.vk, srs_part=good.srs_part, answer=lambda _: [(answer, width)])
    assert names(judge(forgery.resigned(), rebuild=lambda *_: rebuilt)) == found


# --- pins ------------------------------------------------------------------------------------


def test_a_pinned_circuit_has_the_units_that_its_manifest_says(good: Bundle, judge: Judge) -> None:
    """Scales are in neither the key nor the circuit's id: all outputs doubled."""
    forgery = Forgery(good, copy.deepcopy(statement_of(good)))
    (output,) = forgery.manifest.outputs
    forgery.set_manifest(replace(forgery.manifest, outputs=(replace(output, scale=6),)))
    doubled = forgery.resigned(RIVAL)
    circuit = statement_of(good)["predicate"]["circuit"]
    pins = {"circuit_id": circuit["id"], "vk_sha256": circuit["vk_sha256"]}
    report = judge(doubled, Policy(**pins))
    assert {c.name for c in report.checks if c.status is Status.WARN} >= {"expected-circuit"}
    pinned = Policy(**pins, manifest_sha256=circuit["manifest_sha256"])
    assert "expected-circuit" in names(judge(doubled, pinned))
    assert judge(good, replace(pinned, trusted=POLICY.trusted)).ok


# --- digits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("legs", [32, 10**9])  # of the latter no power is computed
def test_digits_hold_no_more_than_the_field(good: Bundle, judge: Judge, legs: int) -> None:
    settings = json.loads(good.settings)
    settings["run_args"] |= {"decomp_base": 256, "decomp_legs": legs}
    forgery = Forgery(good, statement_of(good))
    forgery.set_member(settings=canonical_json(settings))
    forgery.set_manifest(with_file(forgery.manifest, "settings", forgery.bundle.settings))
    found = {c.name: c.detail for c in judge(forgery.resigned()).failures}
    assert "several decompositions" in found["settings-agree"]


# --- spellings, and what a terminal would make of them ---------------------------------------


def test_the_reference_is_no_free_text(good: Bundle, judge: Judge) -> None:
    forgery = Forgery(good, statement_of(good))
    told = "onnxruntime on the original model, this output is exact. Against anything else"
    forgery.predicate["accuracy"]["this_input"]["reference"] = told
    assert "statement" in names(judge(signed(good, forgery.statement)))


def test_zero_has_one_sign(good: Bundle, judge: Judge) -> None:
    statement = statement_of(good)
    (output,) = statement["predicate"]["outputs"]
    assert 0.0 in output["values"]
    output["values"] = [-0.0 if v == 0 else v for v in output["values"]]
    assert names(judge(signed(good, statement))) == ["output-instances"]


@pytest.mark.parametrize(
    "nonce", ["caf\u00e9", "cafe\u0301", "\ufeffcafe", "CAFE"], ids=["nfc", "nfd", "bom", "case"]
)
def test_text_is_its_bytes_and_nothing_is_normalised(
    nonce: str, good: Bundle, judge: Judge
) -> None:
    forgery = Forgery(good, statement_of(good))
    forgery.predicate["context"]["nonce"] = nonce
    assert "context-digest" in names(judge(forgery.resigned()))
    others = {"caf\u00e9", "cafe\u0301", "\ufeffcafe", "CAFE"} - {nonce}
    digests = {Context(job_id="j", nonce=n).digest for n in (nonce, *others)}
    assert len(digests) == 4


def test_a_receipt_cannot_write_to_the_terminal(good: Bundle, judge: Judge) -> None:
    statement = statement_of(good)
    hostile = "x\nVERIFIED\x1b[2J\u202e\x9b1A"
    statement["predicate"]["issuer"]["domain"] = hostile
    statement["predicate"]["context"]["job_id"] = hostile
    statement["predicate"]["outputs"][0]["name"] = hostile
    statement["predicate"]["circuit"]["id"] = hostile
    report = judge(signed(good, statement), replace(POLICY, circuit_id="another"))
    assert not report.ok
    for line in (*report.words, *(c.detail for c in report.checks)):
        assert line.isprintable()


def test_an_empty_list_of_signers_trusts_no_signer(good: Bundle, judge: Judge) -> None:
    for nobody in (Policy(keyids=frozenset()), Policy(trusted=())):
        assert names(judge(good, nobody)) == ["signer"]


def test_own_keys_are_trusted_only_without_named_signers(good: Bundle, judge: Judge) -> None:
    own = public_key(TRUSTED)
    found = {c.name: c for c in judge(good, Policy(own=(own,), strict=True)).checks}
    assert found["signer"].status is Status.PASS
    assert "own" in found["signer"].detail
    assert names(judge(good, Policy(own=(own,), trusted=(public_key(RIVAL),)))) == ["signer"]
    revoked = replace(own, state=KeyState.REVOKED)
    assert names(judge(good, Policy(own=(revoked,)))) == ["signer"]
    stranger = judge(good, Policy(own=(public_key(RIVAL),)))
    assert stranger.warnings[0].name == "signer"
