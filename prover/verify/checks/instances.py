"""Checks (20) to (27), (35) and (37): the proof's content is what the statement says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.engine.proof_json import parse_proof
from circuits.errors import InputOutOfRange
from circuits.format.commitments import (
    LANE,
    Binding,
    Commitments,
    Lanes,
    Subject,
    columns,
    doubled,
    evaluation,
    joined,
)
from circuits.format.digests import canonical_json, sha256
from circuits.format.field import SIGNED_LIMIT, felts_to_bytes, from_felt, to_felt
from circuits.format.hints import challenge
from circuits.format.manifest import RESIDUES, Role
from circuits.format.profile import Visibility
from circuits.format.tensors import InputEncoding
from circuits.srs.input_identity import NAMED_BYTES
from prover.statement.commitment import commit, input_json, parse_input_json
from prover.statement.non_claims import non_claims
from prover.statement.statement import claims, decode_outputs
from prover.verify.checks.evidence import (
    Evidence,
    refuse,
    skip,
    warn,
)

#: Quantisation uses double precision, which represents every integer up to here.
_EXACT = 1 << 53
_ZERO = to_felt(0)


# (20)
def circuit_claims(e: Evidence) -> str:
    expected = claims(e.manifest.value)
    for name, value in expected.items():
        stated: Any = e.predicate
        for part in name.split("."):
            stated = getattr(stated, part)
        if stated != value:
            refuse(f"the statement's {name} differs from the circuit's manifest")
    if [n.id for n in e.predicate.non_claims] != non_claims(e.manifest.value):
        refuse("the statement's non-claims are not those of such a circuit")
    return f"{len(expected) + 1} parts of the statement agree with the manifest"


# (21)
def proof_form(e: Evidence) -> str:
    data = e.bundle.value.proof
    proof = e.memo("parsed", lambda: parse_proof(data), data)
    e.proof.fill(proof)
    claim = e.predicate.proof
    if sha256(proof.proof) != claim.sha256:
        refuse("the proof's bytes do not match the statement's digest")
    if not len(proof.proof) == claim.bytes == e.predicate.circuit.proof_bytes:
        refuse(f"{len(proof.proof)} bytes, the circuit's proofs have {claim.bytes}")
    return f"{len(proof.proof)} bytes in normal form; hex_proof is the same bytes"


# (22)
def instances(e: Evidence) -> str:
    instances = e.proof.value.instances
    claim = e.predicate.instances
    layout = e.manifest.value.layout
    if [s.model_dump(mode="json") for s in claim.layout] != [s.to_json() for s in layout]:
        refuse("the layout of the instances is not the circuit's")
    if not len(instances) == claim.count == sum(s.count for s in layout):
        refuse(f"the proof has {len(instances)} instances, the statement says {claim.count}")
    digest = e.memo("instances", lambda: sha256(felts_to_bytes(instances)), instances)
    if digest != claim.sha256:
        refuse("the instances do not match the statement's digest")
    lane = lane_of(e)
    lanes = e.manifest.value.lanes
    about = f", of which lane {lane} of {lanes} is this statement's" if lanes > 1 else ""
    return f"{len(instances)} field elements in {len(layout)} segments{about}"


# (23)
def input_instances(e: Evidence) -> str:
    manifest = e.manifest.value
    if not manifest.profile.visibility.shows_input:
        skip("the input is not public: nothing to compare")
    if manifest.commitments is not None:
        return _evaluated(e)
    values = _claimed_input(e)
    for encoding in manifest.inputs:
        name = encoding.tensor.name
        if quantised(encoding, values[name]) != segment(e, Role.INPUT, name):
            refuse(f"input {name!r}, quantised here, is not the one in the proof")
    return f"{len(manifest.inputs)} input(s) quantised here, equal to the proof's"


def _evaluated(e: Evidence) -> str:
    """The concatenated public inputs of a circuit with committed hints: the proof shows their
    polynomial at two challenges, which are hashes of them."""
    claim, encodings = e.manifest.value.commitments, e.manifest.value.inputs
    if claim is None or claim.evaluated is None:
        refuse("the input is not public: nothing to compare")
    values = _claimed_input(e)
    felts = [f for own in encodings for f in quantised(own, values[own.tensor.name])]
    found = challenges_of(e)
    value = evaluation(felts, claim.evaluated, found)
    if claim.lanes > 1:
        lanes = _lanes(e)
        if lanes.evaluations[lane_of(e)] != value:
            refuse("the list of lanes has another evaluation of this lane's input")
        value = joined(lanes.evaluations, found[claim.challenges.index(LANE)])
    if segment(e, Role.EVALUATION, encodings[0].tensor.name) != [value]:
        refuse(f"input {encodings[0].tensor.name!r}, quantised here, is not the one in the proof")
    return "the input, quantised and evaluated here at the challenges, is the proof's"


# (24)
def expected_input(e: Evidence) -> str:
    wanted, named = e.policy.input_identity, e.predicate.input.identity
    if wanted not in (None, named):
        refuse(f"the receipt is about the input of identity {named}")
    if e.inputs is None:
        if wanted is not None:
            policy = e.policy
            if policy.manifest_sha256 is None and not policy.names_signers and e.rebuild is None:
                warn(
                    "the expected identity, but nothing fixes what the circuit counts its inputs"
                    " in: pin manifest_sha256, name the signers, or rebuild"
                )
            return "the receipt is about the input of the expected identity, which (40) checks"
        skip("no expected input was given")
    manifest = e.manifest.value
    visibility = manifest.profile.visibility
    if visibility in (Visibility.PRIVATE_INPUT, Visibility.COMMITTED_INPUT):
        return _opened(e)
    for encoding in manifest.inputs:
        name = encoding.tensor.name
        felts = quantised(encoding, e.inputs[name])
        if visibility is Visibility.HASHED_INPUT:
            matches = segment(e, Role.INPUT_HASH, name) == [e.engine.poseidon(felts, e.limits)]
        elif manifest.commitments is not None:
            matches = quantised(encoding, _claimed_input(e)[name]) == felts  # see (23)
        else:
            matches = segment(e, Role.INPUT, name) == felts
        if not matches:
            refuse(f"input {name!r} of the proof is not the expected one")
    how = "quantised and hashed" if visibility is Visibility.HASHED_INPUT else "quantised"
    return f"the expected input, {how} here, is the one in the proof"


def _opened(e: Evidence) -> str:
    """Compares the expected input with the salted commitment; the proof does not show the input."""
    if e.input_salt is None or e.inputs is None:
        warn("the input is private: comparing it needs its salt")
    if commit(input_json(e.manifest.value.inputs, e.inputs), e.input_salt) != (
        e.predicate.input.commitment.sha256
    ):
        refuse("the salted commitment is to another input")
    return "the salted commitment, which depends on the signature, opens to the expected input"


# (25)
def output_instances(e: Evidence) -> str:
    decoded = decode_outputs(e.manifest.value, e.proof.value.instances, lane_of(e))
    # Compared as text: in Python -0.0 equals 0.0.
    stated = [o.model_dump(mode="json") for o in e.predicate.outputs]
    if canonical_json(stated) != canonical_json([o.model_dump(mode="json") for o in decoded]):
        refuse("the stated outputs are not those in the proof")
    return f"{len(decoded)} output(s) decoded here from the proof, equal to those stated"


# (26)
def input_range(e: Evidence) -> str:
    manifest = e.manifest.value
    if not manifest.profile.visibility.shows_input:
        for encoding in manifest.inputs:
            if not encoding.in_dtype:
                refuse(
                    f"hidden input {encoding.tensor.name!r} may be a number that is no"
                    f" {encoding.tensor.dtype}: the model has no such input"
                )
        if manifest.commitments is not None:
            return "the circuit bounds the input by the end of its table"
        if manifest.hidden is None or manifest.hidden.inputs is None:
            warn(
                "the circuit, of an older compiler, accepts any field elements as input, so any"
                " output can be proved"
            )
        return f"the circuit bounds the input by {manifest.hidden.inputs} (check 35)"
    values = _claimed_input(e)
    for encoding in manifest.inputs:
        try:
            encoding.quantise(values[encoding.tensor.name])
        except InputOutOfRange as error:
            refuse(error.detail)
    return "every value is within the range that the circuit accepts"


# (35)
def residues(e: Evidence) -> str:
    manifest = e.manifest.value
    if manifest.commitments is not None:
        return _committed_residues(e, manifest.commitments)
    hints = manifest.hints
    if not manifest.residues:
        skip("the circuit has no hints and no hidden inputs")
    if hints is not None and not manifest.profile.allows_hints:
        refuse("the circuit has hints, which its profile cannot bind")
    if any(felt != _ZERO for felt in segment(e, Role.RESIDUE, RESIDUES)):
        refuse(
            "a residue is not zero: "
            + (
                "a hidden input is out of range"
                if hints is None
                else "a hint is not the product's result"
            )
        )
    if hints is None:
        return f"{manifest.residues} residue(s) are zero: hidden inputs are within their range"
    _bounded_outputs(e, hints.output_bounds)
    if hints.challenged and challenge_of(e) != segment(e, Role.CHALLENGE, "challenge"):
        refuse("the challenge is not the hash of key, inputs and hints")
    return f"{hints.residues} residue(s) are zero, and outputs are within their bounds"


def _committed_residues(e: Evidence, claim: Commitments) -> str:
    if any(felt != _ZERO for felt in segment(e, Role.RESIDUE, RESIDUES)):
        refuse("a residue is not zero: a committed hint has a wrong value")
    _bounded_outputs(e, claim.output_bounds)
    return f"{claim.residues} residue(s) are zero, and outputs are within their bounds"


def _bounded_outputs(e: Evidence, bounds: Sequence[int]) -> None:
    for encoding, bound in zip(e.manifest.value.outputs, bounds, strict=True):
        felts = segment(e, Role.OUTPUT, encoding.tensor.name)
        if any(abs(from_felt(felt)) > bound for felt in felts):
            refuse(f"output {encoding.tensor.name!r} exceeds its bound")


# (37)
def challenges(e: Evidence) -> str:
    manifest = e.manifest.value
    if manifest.commitments is None:
        skip("no hints are committed to")
    if segment(e, Role.CHALLENGE, "challenges") != doubled(challenges_of(e)):
        refuse("the challenges are not the hashes of commitments, key and context")
    sizes = manifest.commitments.sizes[:-1]
    count = sum(columns(n, manifest.srs.logrows) for n in sizes)
    names = manifest.commitments.challenges
    return f"{len(names)} challenges are hashes of {count} commitment(s), key and context"


def challenges_of(e: Evidence) -> list[str]:
    """The challenges of committed hints, recomputed from the proof's first bytes and the other
    data that they hash."""
    binding, (first, *folded) = binding_of(e)
    lanes = None if binding.claim.lanes == 1 else _lanes(e)
    return binding.challenges(first, lambda _: () if lanes is None else lanes.evaluations, *folded)


def binding_of(e: Evidence) -> tuple[Binding, tuple[bytes, ...]]:
    """What challenges hash, and the commitments among it."""
    manifest, bundle = e.manifest.value, e.bundle.value
    claim = manifest.commitments
    if claim is None:
        refuse("no hints are committed to")
    shown = manifest.profile.visibility.shows_input
    named = None if bundle.input_identity is None else bundle.input_identity[:NAMED_BYTES]
    if (shown or named is not None) != (claim.evaluated is not None):
        refuse("circuit and profile disagree on whether the input is public")
    inputs = None
    if shown:
        values = _claimed_input(e)
        inputs = [quantised(i, values[i.tensor.name]) for i in manifest.inputs]
    context = e.predicate.context.context().digest
    subject = Subject(context=context, inputs=inputs, named=named)
    lanes = None if claim.lanes == 1 else _lanes(e)
    if lanes is not None and lanes.leaves[lane_of(e)] != subject.leaf:
        refuse("this statement's lane has another input or context in the list of lanes")
    binding = Binding(
        vk=bundle.vk,
        settings=bundle.settings,
        srs_part=bundle.srs_part,
        claim=claim,
        about=subject if lanes is None else lanes.leaves,
    )
    return binding, claim.committed(e.proof.value.proof, manifest.srs.logrows)


def _lanes(e: Evidence) -> Lanes:
    """The bundle's list of lanes. The challenges hash it, so it needs no digest."""
    data = e.bundle.value.lanes
    if data is None:
        refuse("the bundle lacks the list of lanes")
    return e.memo("lanes", lambda: Lanes.from_bytes(data), data)


def challenge_of(e: Evidence) -> list[str]:
    """The challenge, recomputed from the key and from inputs and hints of all lanes."""
    manifest, proof, bundle = e.manifest.value, e.proof.value, e.bundle.value
    shown = [
        proof.instances[s.offset : s.offset + s.count]
        for s in manifest.layout
        if s.role in (Role.INPUT, Role.RESULT)
    ]
    return [
        e.memo("challenge", lambda: challenge(bundle.vk, shown), proof, bundle.vk, bundle.manifest)
    ]


def _claimed_input(e: Evidence) -> dict[str, NDArray[Any]]:
    document = e.bundle.value.input
    if document is None:
        skip("the bundle has no input")
    return parse_input_json(document, e.manifest.value.inputs)


def quantised(encoding: InputEncoding, values: NDArray[Any]) -> list[str]:
    """Felts of a claimed input; another check covers its range."""
    boundless = dataclasses.replace(encoding, lower=-math.inf, upper=math.inf)
    array = np.asarray(values)
    if array.dtype.kind in "iu" and any(abs(int(n)) > _EXACT for n in array.reshape(-1)):
        refuse(f"input {encoding.tensor.name!r} has an integer that a double cannot represent")
    integers = boundless.quantise(array)
    if len(integers) != encoding.tensor.size:
        refuse(f"input {encoding.tensor.name!r} has {len(integers)} values")
    if any(abs(n) >= SIGNED_LIMIT for n in integers):
        # Larger values could map two different numbers to the same element.
        refuse(f"input {encoding.tensor.name!r} has a number that is too large for the field")
    return [to_felt(n) for n in integers]


def lane_of(e: Evidence) -> int:
    """The lane that the statement is about; 0 in a single-lane circuit."""
    claim, lanes = e.predicate.lane, e.manifest.value.lanes
    if (claim.count if claim else 1) != lanes:
        refuse(f"the statement's lane is not one of the circuit's {lanes}")
    return claim.index if claim else 0


def segment(e: Evidence, role: Role, name: str) -> list[str]:
    """The instances of one segment, by the manifest's layout and the statement's lane."""
    layout = e.manifest.value.lane_layout(lane_of(e))
    found = [s for s in layout if s.role is role and s.name == name]
    if not found:
        refuse(f"the proof's instances have no {role.value} {name!r}")
    return e.proof.value.instances[found[0].offset : found[0].offset + found[0].count]


# (27)
def context_digest(e: Evidence) -> str:
    claim = e.predicate.context
    context = claim.context()
    if context.consumer != claim.consumer:
        refuse("the consumer's address is not in lower case")
    if context.digest_hex != claim.digest:
        refuse("the stated digest does not match the stated context")
    encoding = e.manifest.value.context
    if encoding.limbs == 0:
        warn("the circuit binds no context: the proof can be replayed for another purpose")
    if e.manifest.value.commitments is not None:
        return f"digest {claim.digest[:16]}… is hashed into the challenges, which (37) checks"
    if encoding.encode(context.digest) != segment(e, Role.CONTEXT, "context"):
        refuse("the proof contains another context")
    return f"digest {claim.digest[:16]}… is in the proof, in {encoding.limbs} element(s)"
