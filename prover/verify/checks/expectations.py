"""Checks (7) to (11) and (28) to (30): the verifier's expectations, and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from circuits.format.digests import sha256
from circuits.format.profile import Soundness
from circuits.srs import verify_part
from prover.verify.checks.evidence import (
    Evidence,
    refuse,
    skip,
    warn,
)

_FORGEABLE = "the prover could choose the results of products, and so the outputs"


# (7)
def expected_model(e: Evidence) -> str:
    held = None if e.model is None else sha256(e.model)
    wanted = {digest for digest in (e.policy.model_sha256, held) if digest is not None}
    if not wanted:
        skip("no expected model was given")
    if wanted != {e.predicate.model.sha256}:
        refuse(f"the receipt is about model {e.predicate.model.sha256}")
    return f"the receipt is about the expected model, {e.predicate.model.sha256}"


# (8)
def expected_circuit(e: Evidence) -> str:
    circuit, policy = e.predicate.circuit, e.policy
    pins = (policy.circuit_id, policy.vk_sha256, policy.manifest_sha256, policy.weights_identity)
    if not any(pins):
        skip("no expected circuit was given")
    if policy.circuit_id not in (None, circuit.id):
        refuse(f"the receipt is about circuit {circuit.id}")
    if policy.vk_sha256 not in (None, circuit.vk_sha256):
        refuse(f"the receipt is about verifying key {circuit.vk_sha256}")
    if policy.manifest_sha256 not in (None, circuit.manifest_sha256):
        refuse(f"the receipt is about manifest {circuit.manifest_sha256}")
    if policy.weights_identity not in (None, circuit.weights_identity):
        refuse(f"the receipt is about weights of identity {circuit.weights_identity}")
    if policy.manifest_sha256 is None and not policy.names_signers and e.rebuild is None:
        warn(
            "the expected circuit, but neither its id nor its key fixes the units of inputs and"
            " outputs, or says which weights it does not hold: pin manifest_sha256, name the"
            " signers, or rebuild"
        )
    return "the receipt is about the expected circuit"


# (9)
def engine_version(e: Evidence) -> str:
    system = e.predicate.proof_system
    if system.engine != e.engine.name:
        refuse(f"made by {system.engine!r}; this verifier has {e.engine.name!r}")
    if system.version not in e.policy.engine_versions:
        refuse(f"made by {system.engine} {system.version}, which the policy does not allow")
    if system.version != e.engine.version:
        refuse(f"made by {system.version}; this verifier has {e.engine.version}")
    return f"{system.engine} {system.version}"


# (10)
def soundness(e: Evidence) -> str:
    profile, least = e.predicate.profile.soundness, e.policy.minimum_soundness
    if profile is Soundness.FREIVALDS:
        refuse(f"the profile is freivalds: {_FORGEABLE}")
    if profile.level < least.level:
        refuse(f"the profile is {profile.value}; the policy requires {least.value}")
    return f"profile {profile.value}"


# (11)
def srs_policy(e: Evidence) -> str:
    origin = e.predicate.srs.origin
    if verify_part.ceremony(e.bundle.value.srs_part) is not verify_part.Ceremony.PUBLIC:
        end = warn if e.policy.allow_insecure_srs else refuse
        end(f"the reference string is {origin}: its maker may be able to forge proofs")
    return f"the public ceremony's, k = {e.predicate.srs.logrows}"


# (28)
def expected_context(e: Evidence) -> str:
    if not e.policy.context:
        skip("no expected context was given")
    if e.manifest.value.context.limbs == 0:
        refuse("the proof is not bound to a context")
    stated = e.predicate.context.context().to_json()
    for name, wanted in e.policy.context.items():
        if name == "consumer" and isinstance(wanted, str):
            wanted = wanted.lower()  # noqa: PLW2901 - the one spelling of an address
        if stated[name] != wanted:
            refuse(f"the proof was made for another {name}")
    return f"{', '.join(sorted(e.policy.context))}: as expected"


# (29)
def expiry(e: Evidence) -> str:
    expires_at = e.predicate.context.expires_at
    if expires_at is None:
        skip("the context has no expiry")
    if e.now.timestamp() >= expires_at:
        refuse(f"the context expired at {datetime.fromtimestamp(expires_at, UTC).isoformat()}")
    return f"valid until {datetime.fromtimestamp(expires_at, UTC).isoformat()}"


# (30)
def age(e: Evidence) -> str:
    age = e.now - datetime.fromisoformat(e.predicate.issued_at)
    if age < -timedelta(seconds=e.policy.clock_skew_s):
        refuse(f"issued at {e.predicate.issued_at}, which is in the future")
    if e.policy.max_age_s is not None and age > timedelta(seconds=e.policy.max_age_s):
        refuse(f"issued {int(age.total_seconds())} s ago; at most {e.policy.max_age_s} is accepted")
    return f"issued at {e.predicate.issued_at}"
