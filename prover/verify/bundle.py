"""Verification of a bundle: one function with a numbered list of checks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from numpy.typing import NDArray

from circuits.engine.port import Engine, Limits
from prover.memo import Memo
from prover.statement.bundle import Bundle
from prover.statement.non_claims import TEXTS, non_claims
from prover.statement.render import in_words, summary
from prover.statement.statement import Statement
from prover.verify.checks import (
    expectations,
    files,
    instances,
    proof_and_key,
    signer,
    weights,
)
from prover.verify.checks.engine_parts import VERIFY_LIMITS
from prover.verify.checks.evidence import Derive, Evidence, Rebuild, Step, perform
from prover.verify.policy import Policy
from prover.verify.report import Check, Layer, Report


def verify_bundle(
    data: bytes,
    *,
    policy: Policy | None = None,
    engine: Engine,
    now: datetime | None = None,
    model: bytes | None = None,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    input_salt: bytes | None = None,
    rebuild: Rebuild | None = None,
    derive: Derive | None = None,
    limits: Limits = VERIFY_LIMITS,
) -> Report:
    """Checks a bundle, offline. Never raises for anything in ``data``: see ``Report``. Raises
    ``EngineKilled`` when the engine's process is killed from outside each time, ``StorageFull``.

    ``model``: the expected ONNX file. ``inputs``: the expected input, by name. ``input_salt``:
    opens a salted commitment to ``inputs``. ``rebuild``: derives the verifying key from the model
    again. ``derive``: derives shown weights from the model. All checks run, in this order,
    whatever the earlier ones found:

     (1) bundle: the file is a bundle in canonical form
     (2) receipt: its receipt is a DSSE envelope with one signature
     (3) statement: the payload is an in-toto statement of this predicate, every field known
     (4) manifest: the circuit's manifest is of a known schema and within bounds
     (5) signature: the signature over the statement verifies under the key it names
     (6) signer: the policy trusts that key; it is not revoked, nor retired before the issue
     (7) expected-model: the model is the one the verifier expects
     (8) expected-circuit: the circuit and its verifying key are the expected ones
     (9) engine-version: the policy accepts the proof system's version
    (10) soundness: the profile is at least as strict as the policy asks
    (11) srs-policy: the reference string is the public ceremony's, or the policy allows another
    (12) manifest-digest: the manifest is the file that the statement names; likewise
    (13) settings-digest, (14) vk-digest, (15) plan-digest, (16) proof-digest, (17) srs-part-digest
    (18) input-commitment: the input file matches its commitment; absent if the input is private
    (19) model-digest: the model file, if the bundle carries it, is the one named
    (20) claims: the statement's claims about the circuit are those of the manifest
    (21) proof-form: normal form, hex_proof equals proof, the length is the circuit's proof length
    (22) instances: number, layout and digest are those stated
    (23) input-instances: the input, quantised again, is the one in the proof
    (24) expected-input: the verifier's input is the one in the proof
    (25) output-instances: the outputs, decoded again from the proof, are those stated
    (26) input-range: the input is within the range that the circuit accepts; this verifier checks
    it or, for a hidden input, the circuit enforces it
    (27) context-digest: the stated context is the one in the proof
    (28) expected-context: the context is the one the verifier expects
    (29) expiry: the context has not expired
    (30) age: the receipt is neither from the future nor too old
    (31) proof: the engine accepts the proof
    (32) settings-agree: the engine's settings agree with manifest and profile
    (33) srs-pinned: the reference string's elements are those of the named ceremony
    (34) rebuild: the verifying key, rebuilt from the ONNX, is the same bytes
    (35) residues: hints are the products' results, and hidden inputs are within their ranges
    (36) owner: the owner's signature, if any, is over this model's manifest
    (37) challenges: challenges of committed hints hash the proof's commitments and the context
    (38) weights: shown weights are the proof's and, where the model is given, the model's
    (39) identity: private weights are those that the circuit's identity names
    (40) input-identity: an input that is not shown is the one that the receipt's identity names

    The caller must still judge whether to trust the signer, and read ``not_claimed``. Without (34),
    that the verifying key belongs to the model depends on the signature.
    """
    evidence = Evidence(
        policy=policy or Policy(),
        engine=engine,
        now=now or datetime.now(UTC),
        limits=limits,
        model=model,
        inputs=inputs,
        input_salt=input_salt,
        rebuild=rebuild,
        derive=derive,
    )
    reading = Step(1, "bundle", Layer.SCHEMA, lambda e: files.bundle(e, data))
    return _report(perform((reading, *_STEPS), evidence), evidence)


def check_statement(
    statement: Statement,
    unsigned: Bundle,
    *,
    engine: Engine,
    policy: Policy | None = None,
    now: datetime | None = None,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    input_salt: bytes | None = None,
    limits: Limits = VERIFY_LIMITS,
    memo: Memo | None = None,
) -> Report:
    """All checks of ``verify_bundle`` except those of the envelope: (1), (2), (3), (5) and (6).

    For the prover, before it signs: ``unsigned`` is the future bundle with an empty ``receipt``.
    ``memo`` is shared by statements about one proof. Also raises ``VerificationUnfinished`` when
    the engine crashes or exceeds its limits.
    """
    evidence = Evidence(
        policy=policy or Policy(),
        engine=engine,
        now=now or datetime.now(UTC),
        limits=limits,
        inputs=inputs,
        input_salt=input_salt,
        own=True,
        memo=memo or Memo(),
    )
    evidence.bundle.fill(unsigned)
    evidence.statement.fill(statement)
    steps = [s for s in _STEPS if s.number not in (2, 3, 5, 6)]
    return _report(perform(steps, evidence), evidence)


def verify_item(
    bundle: Bundle,
    *,
    engine: Engine,
    memo: Memo,
    policy: Policy | None = None,
    now: datetime | None = None,
    limits: Limits = VERIFY_LIMITS,
) -> Report:
    """``verify_bundle`` of an item of a batch bundle, whose reader has checked its form (1).

    The items share ``memo``, so that their shared parts, above all the proof, are checked once.
    """
    evidence = Evidence(
        policy=policy or Policy(),
        engine=engine,
        now=now or datetime.now(UTC),
        limits=limits,
        memo=memo,
    )
    evidence.bundle.fill(bundle)
    return _report(perform(_STEPS, evidence), evidence)


def _report(checks: tuple[Check, ...], evidence: Evidence) -> Report:
    statement = evidence.statement.known
    return Report(
        ok=not any(c.failed for c in checks),
        checks=checks,
        statement=summary(statement) if statement else None,
        words=in_words(statement) if statement else (),
        not_claimed=_not_claimed(evidence),
    )


def _not_claimed(evidence: Evidence) -> tuple[str, ...]:
    """The non-claims, worded by this verifier and not by the issuer."""
    manifest = evidence.manifest.known
    return tuple(TEXTS[name] for name in non_claims(manifest)) if manifest else ()


_STEPS: tuple[Step, ...] = (
    Step(2, "receipt", Layer.SCHEMA, files.receipt),
    Step(3, "statement", Layer.SCHEMA, files.statement),
    Step(4, "manifest", Layer.SCHEMA, files.manifest),
    Step(5, "signature", Layer.SIGNATURE, signer.signature),
    Step(6, "signer", Layer.SIGNATURE, signer.signer),
    Step(7, "expected-model", Layer.POLICY, expectations.expected_model),
    Step(8, "expected-circuit", Layer.POLICY, expectations.expected_circuit),
    Step(9, "engine-version", Layer.POLICY, expectations.engine_version),
    Step(10, "soundness", Layer.POLICY, expectations.soundness),
    Step(11, "srs-policy", Layer.POLICY, expectations.srs_policy),
    Step(12, "manifest-digest", Layer.ARTIFACT, files.manifest_digest),
    Step(13, "settings-digest", Layer.ARTIFACT, files.settings_digest),
    Step(14, "vk-digest", Layer.ARTIFACT, files.vk_digest),
    Step(15, "plan-digest", Layer.ARTIFACT, files.plan_digest),
    Step(16, "proof-digest", Layer.ARTIFACT, files.proof_digest),
    Step(17, "srs-part-digest", Layer.ARTIFACT, files.srs_part_digest),
    Step(18, "input-commitment", Layer.ARTIFACT, files.input_commitment),
    Step(19, "model-digest", Layer.ARTIFACT, files.model_digest),
    Step(20, "claims", Layer.ARTIFACT, instances.circuit_claims),
    Step(21, "proof-form", Layer.PROOF, instances.proof_form),
    Step(22, "instances", Layer.INSTANCES, instances.instances),
    Step(23, "input-instances", Layer.INSTANCES, instances.input_instances),
    Step(24, "expected-input", Layer.POLICY, instances.expected_input),
    Step(25, "output-instances", Layer.INSTANCES, instances.output_instances),
    Step(26, "input-range", Layer.RANGE, instances.input_range),
    Step(27, "context-digest", Layer.CONTEXT, instances.context_digest),
    Step(28, "expected-context", Layer.CONTEXT, expectations.expected_context),
    Step(29, "expiry", Layer.FRESHNESS, expectations.expiry),
    Step(30, "age", Layer.FRESHNESS, expectations.age),
    Step(31, "proof", Layer.PROOF, proof_and_key.proof),
    Step(32, "settings-agree", Layer.SETUP, proof_and_key.settings_agree),
    Step(33, "srs-pinned", Layer.SETUP, proof_and_key.srs_pinned),
    Step(34, "rebuild", Layer.SETUP, proof_and_key.rebuild),
    Step(35, "residues", Layer.INSTANCES, instances.residues),
    Step(36, "owner", Layer.SIGNATURE, signer.owner),
    Step(37, "challenges", Layer.INSTANCES, instances.challenges),
    Step(38, "weights", Layer.INSTANCES, weights.weights),
    Step(39, "identity", Layer.INSTANCES, weights.identity),
    Step(40, "input-identity", Layer.INSTANCES, weights.input_identity),
)
