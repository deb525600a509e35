"""The predicate of a receipt, part by part: every field that a statement carries.

These models are the schema (``schemas/inference-v1.json`` is generated from them), and
docs/receipt.md is its specification. They are strict: no unknown field, no default taken for
granted, one spelling for each digest, felt and time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from circuits.format.commitments import Weights
from circuits.format.manifest import Role
from circuits.format.profile import Soundness, Target, Visibility
from circuits.format.tensors import MOST_CATEGORIES
from prover.statement.context import Context
from prover.statement.ownership import MAX_LICENCE, Scheme

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Felt = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
Text = Annotated[str, Field(min_length=1, max_length=512)]
Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        json_schema_serialization_defaults_required=True,
        defer_build=True,  # most are built only as a part of the whole, or not at all
    )


class ReceiptId(Part):
    """``schema_version`` counts additions within v1; an unknown one is refused.

    2 has ``lane``, for a proof that several inputs share; 3 has ``near_thresholds`` in the measured
    error, for a model that compares with constants, whether or not there is a lane; 4 has
    ``owner``; 5 has the profile's ``argument``, for a circuit with committed hints; 6 has its
    ``weights``, where these are not sealed; 7 has the circuit's ``weights_identity``, where they
    are private; 8 has a mask or categories among the inputs; 9 has a column of categories; 10 has
    the input's ``identity``.
    """

    id: Annotated[str, Field(pattern=r"^rcpt-[0-9a-f]{32}$")]
    schema_version: Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10] = 1


class Issuer(Part):
    """Who issued it: a deployment's name, the worker, and the software versions it ran."""

    domain: Text
    worker: Text
    software: Annotated[dict[str, Text], Field(max_length=64)]


class ProofSystem(Part):
    """What the proof is made with."""

    engine: Text
    version: Text
    arithmetisation: Literal["halo2"] = "halo2"
    commitment: Literal["kzg-shplonk"] = "kzg-shplonk"
    curve: Literal["bn254"] = "bn254"
    transcript: Literal["keccak"] = "keccak"


class Pass(Part):
    """A rewriting pass that changed the graph, in the order applied."""

    name: Text
    version: int


class Model(Part):
    """The ONNX file as uploaded, and as rewritten before compilation."""

    sha256: Digest
    rewritten_sha256: Digest
    passes: list[Pass]


class Circuit(Part):
    """The circuit and its frozen parts. ``proof_bytes`` is the length of each of its proofs,
    ``weights_identity`` what names private weights: absent where they are not."""

    id: Text
    manifest_sha256: Digest
    settings_sha256: Digest
    vk_sha256: Digest
    plan_sha256: Digest
    proof_bytes: Annotated[int, Field(ge=1)]
    weights_identity: Digest | None = Field(
        default=None, exclude_if=lambda identity: identity is None
    )


class Srs(Part):
    """The structured reference string: the whole file's digest, and its 516-byte part's."""

    logrows: Annotated[int, Field(ge=1, le=28)]
    sha256: Digest
    part_sha256: Digest
    origin: Literal["public-ceremony", "imported", "insecure-development"]


class ProfileClaim(Part):
    """What the circuit was built for. ``argument`` is absent where results are computed in the
    circuit or hints are public, ``weights`` where they are in the circuit's key."""

    visibility: Annotated[Visibility, Field(strict=False)]
    soundness: Annotated[Soundness, Field(strict=False)]
    target: Annotated[Target, Field(strict=False)]
    max_error: Number
    agreement: Number
    range_margin: Number
    argument: Literal["committed"] | None = Field(
        default=None, exclude_if=lambda argument: argument is None
    )
    weights: Annotated[Weights, Field(strict=False)] | None = Field(
        default=None, exclude_if=lambda weights: weights is None
    )


class SegmentClaim(Part):
    """A run of public instances."""

    role: Annotated[Role, Field(strict=False)]
    name: str
    offset: Count
    count: Count


class Instances(Part):
    """All public instances: digest over their 32-byte little-endian elements, and the layout."""

    count: Count
    sha256: Digest
    layout: list[SegmentClaim]


class InputTensor(Part):
    """One input: its encoding, and the range of values that the circuit accepts.

    ``missing_of``, else absent: it is the mask of that input, true where a value is missing, which
    is 0 there. ``categories``, else absent with ``other``: its numbers are places among these
    texts; with ``other`` also the place after the last, for any other text. ``column_of``, else
    absent with ``column``: they stand for the numbers of that column of that input, which is 0
    there.
    """

    name: str
    dtype: Text
    shape: list[Count]
    scale: int
    lower: Number
    upper: Number
    missing_of: str | None = Field(default=None, exclude_if=lambda of: of is None)
    categories: Annotated[list[str], Field(max_length=MOST_CATEGORIES)] | None = Field(
        default=None, exclude_if=lambda texts: texts is None
    )
    other: bool | None = Field(default=None, exclude_if=lambda other: other is None)
    column_of: str | None = Field(default=None, exclude_if=lambda of: of is None)
    column: Count | None = Field(default=None, exclude_if=lambda column: column is None)


class Commitment(Part):
    """The digest of ``input.json``: plain where the input is public, salted where it is not."""

    kind: Literal["plain", "salted"]
    sha256: Digest


class InputClaim(Part):
    """The input X. ``identity`` names it, the same in all proofs about it: absent where the profile
    does not say so."""

    tensors: list[InputTensor]
    commitment: Commitment
    identity: Digest | None = Field(default=None, exclude_if=lambda identity: identity is None)


class OutputTensor(Part):
    """One output, as field elements and as the values they stand for (``n / 2^scale``)."""

    name: str
    dtype: Text
    shape: list[Count]
    scale: int
    felts: list[Felt]
    values: list[Number]


class ContextClaim(Part):
    """For whom the proof was made; ``limbs`` is 0 where the circuit binds no context."""

    job_id: Text
    nonce: str | None
    chain_id: int | None
    consumer: str | None
    expires_at: int | None
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{62}$")]
    limbs: Count
    bits: Count

    def context(self) -> Context:
        """The fields as a ``Context``. Raises ``ContextInvalid``."""
        return Context(
            job_id=self.job_id,
            nonce=self.nonce,
            chain_id=self.chain_id,
            consumer=self.consumer,
            expires_at=self.expires_at,
        )


class ProofClaim(Part):
    """``file_sha256`` is of proof.json in normal form, ``sha256`` of the proof's own bytes."""

    file_sha256: Digest
    sha256: Digest
    bytes: Annotated[int, Field(ge=1)]


class MeasuredError(Part):
    """The circuit's output against the reference on the uploaded model, for this very input.

    ``max_absolute`` in the output's units, ``max_relative`` as a share of the range that the output
    had on the samples the circuit was planned on, ``same_top1`` whether the largest element is the
    same one. ``near_thresholds``: how many compared values lie within one step of a constant that
    they are compared with, and not on it, so that the circuit may decide them otherwise; absent for
    a model that compares nothing with a constant. Where the input is hidden, the errors are bounds:
    the profile's tolerance, or it times a power of two, since the error itself would tell inputs
    apart.
    """

    reference: Literal["onnxruntime"] = "onnxruntime"
    max_absolute: Number
    max_relative: Number | None = None
    same_top1: bool | None = None
    near_thresholds: Count | None = Field(default=None, exclude_if=lambda near: near is None)


class CircuitAccuracy(Part):
    """The circuit against the reference on samples held out when it was built."""

    max_error: Number
    agreement: Number
    samples: Count
    calibrated: bool


class AccuracyClaim(Part):
    """How far the circuit is from the model."""

    this_input: MeasuredError
    held_out: CircuitAccuracy


class Verification(Part):
    """Our own verification before signing. A receipt exists only where it accepted."""

    accepted: Literal[True] = True
    verifier: Text


class Cost(Part):
    """What the job took."""

    seconds: Annotated[dict[str, Seconds], Field(max_length=64)]
    peak_rss_bytes: Count


class LaneClaim(Part):
    """Which of the inputs that share the proof this statement is about: ``index`` from 0."""

    index: Count
    count: Annotated[int, Field(ge=2)]


class OwnerClaim(Part):
    """Who signed the model's manifest (docs/receipt.md, section 7): whose model it says it is.

    ``signer`` is an Ed25519 key, or an Ethereum address that signed by EIP-191.
    """

    scheme: Annotated[Scheme, Field(strict=False)]
    signer: Annotated[str, Field(pattern=r"^(0x[0-9a-f]{40}|[0-9a-f]{64})$")]
    licence: Annotated[str, Field(max_length=MAX_LICENCE)]
    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128}|[0-9a-f]{130})$")]


class NonClaim(Part):
    """Something that is not claimed: a stable id, and the wording of the issuer's version."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,63}$")]
    text: Text


class Predicate(Part):
    """The claim, part by part. ``lane`` is absent where the proof is about one input only,
    ``owner`` where nobody has signed the model's manifest."""

    receipt: ReceiptId
    issued_at: Time
    issuer: Issuer
    proof_system: ProofSystem
    model: Model
    circuit: Circuit
    srs: Srs
    profile: ProfileClaim
    instances: Instances
    input: InputClaim
    outputs: list[OutputTensor]
    context: ContextClaim
    proof: ProofClaim
    accuracy: AccuracyClaim
    verification: Verification
    cost: Cost
    non_claims: Annotated[list[NonClaim], Field(max_length=64)]
    lane: LaneClaim | None = Field(default=None, exclude_if=lambda lane: lane is None)
    owner: OwnerClaim | None = Field(default=None, exclude_if=lambda owner: owner is None)

    @model_validator(mode="after")
    def _lane_and_schema(self) -> Predicate:
        stated = schema_version(
            self.profile, self.input.tensors, self.accuracy.this_input, self.lane, self.owner
        )
        if self.receipt.schema_version != stated:
            raise ValueError("the schema version is not that of the fields stated")
        if self.profile.weights is Weights.SEALED:
            raise ValueError("sealed weights are not stated")
        private = self.profile.weights is Weights.PRIVATE
        if private != (self.circuit.weights_identity is not None):
            raise ValueError("an identity names private weights, and no others")
        if self.profile.visibility.names_input != (self.input.identity is not None):
            raise ValueError("an identity names committed inputs, and no others")
        if self.lane is not None and self.lane.index >= self.lane.count:
            raise ValueError("there is no such lane")
        return self


def schema_version(
    profile: ProfileClaim,
    inputs: Sequence[InputTensor],
    error: MeasuredError,
    lane: LaneClaim | None,
    owner: OwnerClaim | None,
) -> Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]:
    """The version of a predicate with these parts."""
    if profile.visibility.names_input:
        return 10
    if any(t.missing_of is not None or t.categories is not None for t in inputs):
        return 9 if any(t.column_of is not None for t in inputs) else 8
    if profile.weights is not None:
        return 7 if profile.weights is Weights.PRIVATE else 6
    if profile.argument is not None:
        return 5
    if owner is not None:
        return 4
    older: Literal[1, 2] = 1 if lane is None else 2
    return older if error.near_thresholds is None else 3
