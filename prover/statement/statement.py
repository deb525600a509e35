"""The content of a receipt: an in-toto Statement v1 with this project's predicate.

``claims`` is the part that depends only on a circuit's manifest: the builder writes it and the
verifier recomputes it. ``predicate`` defines the fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError

from circuits.engine.port import ProofResult
from circuits.format.commitments import POINT_BYTES, input_identity
from circuits.format.digests import canonical_json, parse_canonical_json, sha256
from circuits.format.field import felts_to_bytes
from circuits.format.manifest import CircuitManifest, Role
from prover.errors import ReceiptInvalid
from prover.memo import Memo
from prover.statement.commitment import commit, input_json
from prover.statement.context import Context
from prover.statement.non_claims import TEXTS, non_claims
from prover.statement.predicate import (
    AccuracyClaim,
    Circuit,
    CircuitAccuracy,
    Commitment,
    ContextClaim,
    Cost,
    InputClaim,
    InputTensor,
    Instances,
    Issuer,
    LaneClaim,
    MeasuredError,
    Model,
    NonClaim,
    OutputTensor,
    OwnerClaim,
    Part,
    Pass,
    Predicate,
    ProfileClaim,
    ProofClaim,
    ProofSystem,
    ReceiptId,
    SegmentClaim,
    Srs,
    Verification,
    schema_version,
)

__all__ = ["MeasuredError", "Statement", "build_statement", "claims", "decode_outputs"]

#: Under the reserved name .invalid, which cannot be registered; nothing is fetched from it.
PREDICATE_TYPE: Final = "https://zkml-prover.invalid/inference/v1"


class DigestSet(Part):
    """in-toto's form of a digest: without the ``sha256:`` prefix."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Subject(Part):
    """What the statement is about: the file ``proof.json``."""

    name: Literal["proof.json"] = "proof.json"
    digest: DigestSet


class Statement(Part):
    """An in-toto Statement v1."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    type: Literal["https://in-toto.io/Statement/v1"] = Field(
        default="https://in-toto.io/Statement/v1", alias="_type"
    )
    subject: Annotated[list[Subject], Field(min_length=1, max_length=1)]
    predicate_type: Literal["https://zkml-prover.invalid/inference/v1"] = Field(
        default=PREDICATE_TYPE, alias="predicateType"
    )
    predicate: Predicate

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    def to_bytes(self) -> bytes:
        """The canonical JSON that is signed."""
        return canonical_json(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> Statement:
        """Reads a statement strictly. Raises ``ReceiptInvalid`` naming the first bad field."""
        try:
            value = parse_canonical_json(data)
        except ValueError as error:
            raise ReceiptInvalid(f"the statement is {error}") from error
        try:
            statement = cls.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "statement"
            raise ReceiptInvalid(f"{where}: {first['msg']}", field=where) from error
        if statement.to_bytes() != data:
            # A default was filled in, or a number has another type than its field.
            raise ReceiptInvalid("the statement does not have every field in its own type")
        return statement


def claims(manifest: CircuitManifest) -> dict[str, Any]:
    """The predicate's fields that depend only on the manifest, by dotted name.

    A verifier compares each with what the statement says.
    """
    files = manifest.files
    srs = manifest.srs
    return {
        "proof_system": ProofSystem(engine=manifest.engine, version=manifest.engine_version),
        "model": Model(
            sha256=manifest.model_sha256,
            rewritten_sha256=manifest.rewritten_sha256,
            passes=[Pass(name=p.name, version=p.version) for p in manifest.passes],
        ),
        "circuit": Circuit(
            id=manifest.circuit_id,
            manifest_sha256=manifest.digest,
            settings_sha256=files["settings"],
            vk_sha256=files["vk"],
            plan_sha256=files["plan"],
            proof_bytes=manifest.proof_bytes,
            weights_identity=manifest.weights_identity,
        ),
        "srs.logrows": srs.logrows,
        "srs.sha256": srs.sha256,
        "srs.origin": srs.origin,
        # A scale that was asked for is that of the tensors.
        "profile": ProfileClaim(**replace(manifest.own_profile, input_scale=None).to_json()),
        "instances.layout": [SegmentClaim(**s.to_json()) for s in manifest.layout],
        "input.tensors": [InputTensor(**e.to_json()) for e in manifest.inputs],
        "context.limbs": manifest.context.limbs,
        "context.bits": manifest.context.bits,
        "accuracy.held_out": CircuitAccuracy(
            max_error=manifest.accuracy.max_error,
            agreement=manifest.accuracy.agreement,
            samples=manifest.accuracy.samples,
            calibrated=manifest.accuracy.calibrated,
        ),
    }


def decode_outputs(
    manifest: CircuitManifest, instances: Sequence[str], lane: int = 0
) -> list[OutputTensor]:
    """The outputs of one lane as field elements and values, from the public instances alone.

    Raises ``ValueError`` when there are too few instances, one is not a signed number, or the lane
    does not exist.
    """
    segments = [s for s in manifest.lane_layout(lane) if s.role is Role.OUTPUT]
    outputs = []
    for segment, encoding in zip(segments, manifest.outputs, strict=True):
        felts = list(instances[segment.offset : segment.offset + segment.count])
        values = encoding.decode(felts).reshape(-1).tolist()
        outputs.append(OutputTensor(**encoding.to_json(), felts=felts, values=values))
    return outputs


def named_in(manifest: CircuitManifest, argument: bytes | None, srs_part: bytes) -> str | None:
    """The identity of the input that a proof's argument is about; None where there is none."""
    if argument is None:
        return None
    inputs = [(i.tensor.size, i.scale) for i in manifest.inputs]
    return input_identity(argument[:POINT_BYTES], srs_part, inputs)


def receipt_id(job_id: str, proof_file_sha256: str) -> str:
    """A receipt's id: a function of the job and the proof file."""
    digest = hashlib.sha256(f"{job_id}\n{proof_file_sha256}".encode()).hexdigest()
    return f"rcpt-{digest[:32]}"


def build_statement(
    manifest: CircuitManifest,
    *,
    context: Context,
    inputs: Mapping[str, NDArray[Any]],
    proof: ProofResult,
    srs_part: bytes,
    measured_error: MeasuredError,
    timings: Mapping[str, float],
    peak_rss: int,
    verifier_domain: str,
    worker: str,
    software: Mapping[str, str],
    input_salt: bytes | None = None,
    issued_at: datetime | None = None,
    lane: int = 0,
    owner: OwnerClaim | None = None,
    memo: Memo | None = None,
) -> Statement:
    """The statement about one proof, unchecked: see ``verify.check_statement``.

    ``inputs`` maps each input's name to its values in the tensor's shape, as given to the circuit.
    ``input_salt``: 32 random bytes that open the commitment, required unless the profile shows the
    input. ``context.job_id`` is the job's id. ``timings`` are seconds, ``peak_rss`` bytes,
    ``software`` versions by name (including ``zkml-prover``). ``lane``: the input's lane in a
    batched circuit. ``memo`` is shared by the statements about one proof. ``owner``: the owner's
    signature of the model.
    """
    if not manifest.profile.visibility.shows_input and input_salt is None:
        raise ValueError("the commitment to an input that is not public needs a salt")
    if manifest.profile.visibility.shows_input:
        input_salt = None
    known = claims(manifest)
    memo = memo or Memo()
    file_sha256 = memo("file", lambda: sha256(proof.proof_json), proof)
    lane_claim = None if manifest.lanes == 1 else LaneClaim(index=lane, count=manifest.lanes)
    predicate = Predicate(
        receipt=ReceiptId(
            id=receipt_id(context.job_id, file_sha256),
            schema_version=schema_version(
                known["profile"], known["input.tensors"], measured_error, lane_claim, owner
            ),
        ),
        issued_at=(issued_at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        issuer=Issuer(domain=verifier_domain, worker=worker, software=dict(software)),
        proof_system=known["proof_system"],
        model=known["model"],
        circuit=known["circuit"],
        srs=Srs(
            logrows=known["srs.logrows"],
            sha256=known["srs.sha256"],
            part_sha256=sha256(srs_part),
            origin=known["srs.origin"],
        ),
        profile=known["profile"],
        instances=Instances(
            count=len(proof.instances),
            sha256=memo("instances", lambda: sha256(felts_to_bytes(proof.instances)), proof),
            layout=known["instances.layout"],
        ),
        input=InputClaim(
            tensors=known["input.tensors"],
            commitment=Commitment(
                kind="plain" if input_salt is None else "salted",
                sha256=commit(input_json(manifest.inputs, inputs), input_salt),
            ),
            identity=named_in(manifest, proof.input_identity, srs_part),
        ),
        outputs=decode_outputs(manifest, proof.instances, lane),
        context=ContextClaim(
            **context.to_json(),
            digest=context.digest_hex,
            limbs=known["context.limbs"],
            bits=known["context.bits"],
        ),
        proof=ProofClaim(
            file_sha256=file_sha256, sha256=sha256(proof.proof), bytes=len(proof.proof)
        ),
        accuracy=AccuracyClaim(this_input=measured_error, held_out=known["accuracy.held_out"]),
        verification=Verification(verifier=f"zkml-prover {software.get('zkml-prover', 'unknown')}"),
        cost=Cost(seconds=dict(timings), peak_rss_bytes=peak_rss),
        non_claims=[NonClaim(id=name, text=TEXTS[name]) for name in non_claims(manifest)],
        lane=lane_claim,
        owner=owner,
    )
    return Statement(
        subject=[Subject(digest=DigestSet(sha256=file_sha256.removeprefix("sha256:")))],
        predicate=predicate,
    )
