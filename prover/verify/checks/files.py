"""Checks (1) to (4) and (12) to (19): the files are readable and match their digests."""

from __future__ import annotations

import re
from datetime import datetime

from circuits.format.commitments import (
    COLUMN_SALT,
    Commitments,
    Weights,
    evaluation_shape,
    salted_columns,
)
from circuits.format.digests import canonical_json, parse_canonical_json, sha256
from circuits.format.field import SIGNED_LIMIT
from circuits.format.hints import Hints
from circuits.format.manifest import MAX_LANES, CircuitManifest
from circuits.format.tensors import check_meanings
from circuits.srs.input_identity import ARGUMENT_BYTES
from prover.statement.bundle import Bundle, read_bundle
from prover.statement.context import BITS
from prover.statement.envelope import Receipt
from prover.statement.statement import receipt_id
from prover.verify.checks.evidence import (
    Evidence,
    refuse,
    skip,
)

#: Bits of an element of the field.
_FIELD_BITS = 254
#: Bits of the largest number of committed elements, far above what memory allows.
MAX_ELEMENT_BITS = 32
#: A commitment as a manifest has it.
_POINT = re.compile(r"[0-9a-f]{128}")
#: log2 of the most rows of a circuit: those of the public ceremony's largest string.
MAX_LOGROWS = 28


# (1)
def bundle(e: Evidence, data: bytes) -> str:
    e.bundle.fill(read_bundle(data))
    return f"{len(data)} bytes in canonical form"


# (2)
def receipt(e: Evidence) -> str:
    e.receipt.fill(Receipt.from_bytes(e.bundle.value.receipt))
    return "a DSSE envelope with one signature"


# (3)
def statement(e: Evidence) -> str:
    statement = e.receipt.value.statement()
    e.statement.fill(statement)
    if statement.predicate.proof.file_sha256 != "sha256:" + statement.subject[0].digest.sha256:
        refuse("subject and predicate of the statement name different proof files")
    if statement.predicate.receipt.id != receipt_id(
        statement.predicate.context.job_id, statement.predicate.proof.file_sha256
    ):
        refuse("the receipt's id does not match its job and proof")
    datetime.fromisoformat(statement.predicate.issued_at)
    return f"{statement.predicate_type}, schema {statement.predicate.receipt.schema_version}"


# (4)
def manifest(e: Evidence) -> str:
    value = parse_canonical_json(e.bundle.value.manifest)
    manifest = CircuitManifest.from_json(value)
    if canonical_json(manifest.to_json()) != e.bundle.value.manifest:
        refuse("the manifest has unknown fields")
    context = manifest.context
    if not 0 <= context.limbs <= BITS or not 0 <= context.bits <= BITS:
        refuse("the manifest's context encoding is out of bounds")
    if context.limbs and context.limbs != -(-BITS // max(context.bits, 1)):
        # Fewer limbs could not hold the digest; an extra limb could be an input of another lane.
        refuse(f"{context.limbs} limbs of {context.bits} bits do not fit {BITS} bits")
    if type(manifest.lanes) is not int or not 1 <= manifest.lanes <= MAX_LANES:
        refuse("the manifest's number of lanes is out of bounds")
    for named in (manifest.inputs, manifest.outputs):
        if len({encoding.tensor.name for encoding in named}) != len(named):
            refuse("two tensors of the manifest have the same name")
    _well_meant(manifest)
    if manifest.hints is not None:
        _well_formed(manifest.hints, len(manifest.outputs))
    if manifest.commitments is not None:
        _well_committed(manifest.commitments, manifest)
    _beside(e.bundle.value, manifest)
    if any(s.count < 0 for s in manifest.layout):
        refuse("the manifest has a tensor of negative size")
    e.manifest.fill(manifest)
    return f"circuit {manifest.circuit_id}"


def _beside(bundle: Bundle, manifest: CircuitManifest) -> None:
    """What a bundle carries beside the proof is what its manifest calls for."""
    private = manifest.commitments is not None and manifest.commitments.private is not None
    if (bundle.identity is not None) != private:
        refuse("a bundle must compare weights with an identity exactly where they are private")
    argument = bundle.input_identity
    if (argument is not None) != manifest.profile.visibility.names_input:
        refuse("a bundle must show an input's identity exactly where its profile names one")
    if argument is not None and manifest.commitments is None:
        refuse("only committed hints show an input's identity")
    if argument is not None and len(argument) != ARGUMENT_BYTES:
        refuse(f"the argument for the input's identity has not {ARGUMENT_BYTES} bytes")
    several = manifest.commitments is not None and manifest.lanes > 1
    if (bundle.lanes is not None) != several:
        refuse("a bundle must list lanes exactly where committed hints belong to several")


def _well_meant(manifest: CircuitManifest) -> None:
    """Masks and categories are what they are called, and count in ones."""
    tensors = [i.tensor for i in manifest.inputs]
    try:
        check_meanings(tensors)
    except ValueError as error:
        refuse(f"of the manifest's inputs {error}")
    for encoding in manifest.inputs:
        tensor = encoding.tensor
        most = 1 if tensor.missing_of is not None else tensor.places - 1
        if tensor.meaning() and (
            encoding.scale or encoding.lower < 0 or not encoding.upper <= most
        ):
            refuse(f"the range of input {tensor.name!r} is not that of what it stands for")
    if manifest.commitments is not None and any(t.meaning() for t in tensors):
        refuse("committed hints bound neither a mask nor categories")


def _well_committed(claim: Commitments, manifest: CircuitManifest) -> None:
    shape = claim.evaluated or (1, 1)
    folded = 1 if claim.folded is None else claim.folded
    private = 1 if claim.private is None else claim.private
    numbers = (claim.elements, folded, private, claim.residues, *claim.output_bounds, *shape)
    if manifest.hints is not None or not all(type(n) is int and n > 0 for n in numbers):
        refuse("what the manifest says of committed hints is out of bounds")
    if not 1 <= manifest.srs.logrows <= MAX_LOGROWS:
        refuse("the manifest's number of rows is out of bounds")
    if len(claim.output_bounds) != len(manifest.outputs) or not manifest.inputs:
        refuse("the manifest must have an input and a bound for each output of committed hints")
    if claim.lanes != manifest.lanes:
        refuse("the committed hints have another number of lanes")
    shown = claim.weights is Weights.SHOWN
    if claim.weights is not manifest.profile.weights or shown != (claim.folded is not None):
        refuse("the manifest's profile and commitments disagree on where the weights are")
    hides = claim.weights is Weights.PRIVATE
    points = salted_columns(private, manifest.srs.logrows) if hides else 0
    if hides != (claim.private is not None) or len(claim.identity) != points:
        refuse("the manifest must have a commitment for each column of private weights")
    if not all(type(p) is str and _POINT.fullmatch(p) for p in claim.identity):
        refuse("a commitment of the weights' identity is not 128 hex digits")
    op, scale = claim.function or ("", 0)
    if type(op) is not str or type(scale) is not int or not 0 <= scale < MAX_LOGROWS:
        refuse("the manifest's table of functions is no operator and scale")
    _well_evaluated(claim, manifest)
    sizes = max(claim.elements, folded, private)
    if max(claim.output_bounds) >= SIGNED_LIMIT or sizes >= 1 << MAX_ELEMENT_BITS:
        refuse("what the manifest says of committed hints is out of bounds")


def _well_evaluated(claim: Commitments, manifest: CircuitManifest) -> None:
    """A public input, or one that an identity names, is evaluated in the one shape that there is
    for it: in another an element would stand in the place of another."""
    named = manifest.profile.visibility.names_input
    behind = COLUMN_SALT if named else 0
    if claim.blinding != (behind or None):
        refuse("an input has random elements behind it exactly where an identity names it")
    if named and claim.lanes != 1:
        refuse("an identity names the input of one lane")
    count = sum(i.tensor.size for i in manifest.inputs)
    shape = evaluation_shape(count + behind)
    if claim.evaluated != (shape if named or manifest.profile.visibility.shows_input else None):
        refuse("the input is not evaluated in the shape that it has to be")


def _well_formed(hints: Hints, outputs: int) -> None:
    numbers = (hints.residues, hints.most_bits, *hints.results, *hints.output_bounds)
    whole = all(type(n) is int for n in (*numbers, *(hints.lookup or ())))
    if (
        type(hints.challenged) is not bool
        or not whole
        or min(numbers) < 0
        or hints.most_bits > _FIELD_BITS
    ):
        refuse("the manifest's hints are out of bounds")
    if len(hints.output_bounds) != outputs:
        refuse("the manifest lacks a bound for an output of a circuit with hints")


def _named(e: Evidence, what: str, actual: bytes, named: str) -> str:
    digest = e.memo("sha256", lambda: sha256(actual), actual)
    if digest != named:
        refuse(f"the {what} has digest {digest}; the statement names {named}")
    return digest


# (12)
def manifest_digest(e: Evidence) -> str:
    return _named(e, "manifest", e.bundle.value.manifest, e.predicate.circuit.manifest_sha256)


# (13)
def settings_digest(e: Evidence) -> str:
    return _named(e, "settings file", e.bundle.value.settings, e.predicate.circuit.settings_sha256)


# (14)
def vk_digest(e: Evidence) -> str:
    return _named(e, "verifying key", e.bundle.value.vk, e.predicate.circuit.vk_sha256)


# (15)
def plan_digest(e: Evidence) -> str:
    return _named(e, "plan", e.bundle.value.plan, e.predicate.circuit.plan_sha256)


# (16)
def proof_digest(e: Evidence) -> str:
    return _named(e, "proof file", e.bundle.value.proof, e.predicate.proof.file_sha256)


# (17)
def srs_part_digest(e: Evidence) -> str:
    return _named(
        e, "reference string's part", e.bundle.value.srs_part, e.predicate.srs.part_sha256
    )


# (18)
def input_commitment(e: Evidence) -> str:
    document = e.bundle.value.input
    commitment = e.predicate.input.commitment
    if not e.predicate.profile.visibility.shows_input:
        if document is not None:
            refuse("the bundle contains an input that its profile keeps private")
        if commitment.kind != "salted":
            refuse("the commitment to a private input has no salt: the input could be guessed")
        return "private: the bundle holds only a salted commitment"
    if commitment.kind != "plain":
        refuse("the commitment to a public input is salted: it cannot be compared")
    if document is None:
        refuse("the input is public but the bundle lacks it")
    return _named(e, "input", document, commitment.sha256)


# (19)
def model_digest(e: Evidence) -> str:
    if e.bundle.value.model is None:
        skip("the bundle does not carry the model")
    return _named(e, "model", e.bundle.value.model, e.predicate.model.sha256)
