"""A circuit's frozen description: everything a statement says about it, and nothing else."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from circuits.format.commitments import Commitments
from circuits.format.digests import digest_json
from circuits.format.hidden import Hidden, Salt
from circuits.format.hints import Hints
from circuits.format.profile import Profile, Visibility
from circuits.format.tensors import ContextEncoding, InputEncoding, OutputEncoding

SCHEMA = 1
#: The name of the segment of residues.
RESIDUES = "residues"
#: The most lanes of a circuit: a bound on what is tried, far above what memory allows.
MAX_LANES = 4096


class Role(enum.StrEnum):
    """What a run of public instances stands for."""

    INPUT = "input"  # one input tensor, in clear
    INPUT_HASH = "input-hash"  # the engine's Poseidon hash of one input tensor
    WEIGHTS_HASH = "weights-hash"  # the engine's Poseidon hash of the weights
    CONTEXT = "context"  # the context digest's limbs
    OUTPUT = "output"  # one output tensor, in clear
    RESIDUE = "residue"  # zero, or else a hint is wrong or a hidden input out of its range
    EVALUATION = "evaluation"  # a public input under two challenges
    WEIGHTS_EVALUATION = "weights-evaluation"  # what shown weights fold to, under two challenges
    RESULT = "result"  # the results of one product, given to the circuit
    CHALLENGE = "challenge"  # a hash of the key, the inputs and all results


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A run of public instances: ``count`` elements from ``offset``.

    ``name`` is the tensor's; ``context`` for the context's limbs, ``weights`` for the hash of the
    weights, ``residues`` for residues.
    """

    role: Role
    name: str
    offset: int
    count: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "role": self.role.value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Segment:
        return cls(
            role=Role(data["role"]), name=data["name"], offset=data["offset"], count=data["count"]
        )


def _in_order(parts: Sequence[tuple[Role, str, int]]) -> tuple[Segment, ...]:
    layout: list[Segment] = []
    offset = 0
    for role, name, count in parts:
        layout.append(Segment(role=role, name=name, offset=offset, count=count))
        offset += count
    return tuple(layout)


def model_outputs(outputs: Sequence[list[str]], count: int, residues: int) -> list[list[str]]:
    """The model's ``count`` outputs among all of a circuit's: residues, if any, come behind."""
    end = len(outputs) - (residues > 0)
    return list(outputs[end - count : end])


@dataclass(frozen=True, kw_only=True)
class AppliedPass:
    """A rewriting pass that changed the graph."""

    name: str
    version: int


@dataclass(frozen=True, kw_only=True)
class SrsRef:
    """The structured reference string a circuit was set up over.

    ``origin`` is ``public-ceremony`` (its SHA-256 is pinned in the package), ``imported`` (an
    operator's own file) or ``insecure-development`` (generated here: whoever ran it can forge).
    """

    logrows: int
    sha256: str
    origin: str

    @property
    def secure(self) -> bool:
        return self.origin == "public-ceremony"


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The circuit against onnxruntime on the uploaded model, on samples held out from planning.

    ``max_error`` is the largest absolute error over the output's range (0.004: 0.4 %),
    ``agreement`` the share of top answers (the largest along an output's last axis) that are the
    model's, ``calibrated`` whether the samples were the user's own. (Of drawn samples those count
    as agreeing on which the reference itself is undecided within the allowed error.)
    """

    max_error: float
    agreement: float
    samples: int
    calibrated: bool


@dataclass(frozen=True, kw_only=True)
class CircuitManifest:
    """What a circuit is. Frozen at build time, stored as canonical JSON, hashed into receipts.

    ``files`` maps ``model`` (as uploaded), ``rewritten``, ``compiled``, ``settings``, ``vk``,
    ``pk`` and ``plan`` to SHA-256 digests, and ``reference`` where the uploaded model's answers are
    no tensors of numbers. ``compiled`` differs between equal builds (the engine
    writes it so), which is why it is no part of ``identity``.

    ``layout`` says where inputs, context limbs and outputs stand among the public instances.

    ``lanes`` is how many inputs one proof is about; ``inputs``, ``context`` and ``outputs`` are
    those of one lane. A circuit of one lane does not mention it.

    ``lowering`` is the recipe (bits and form) of a graph that was quantised before the engine saw
    it; a circuit in the engine's own fixed point does not mention it. ``hints`` is there where the
    circuit is given results of products, ``commitments`` where hints are committed to; ``files``
    then has ``hints`` too, with which they are computed. ``hidden`` is there where proofs do not
    show the input or the weights. (A circuit of a compiler before version 8 has none, and bounds
    nothing that is not shown.)
    """

    circuit_id: str
    model_sha256: str
    rewritten_sha256: str
    passes: tuple[AppliedPass, ...]
    engine: str
    engine_version: str
    profile: Profile
    srs: SrsRef
    files: dict[str, str]
    inputs: tuple[InputEncoding, ...]
    context: ContextEncoding
    outputs: tuple[OutputEncoding, ...]
    proof_bytes: int
    accuracy: Accuracy
    lanes: int = 1
    lowering: dict[str, Any] | None = None
    hints: Hints | None = None
    hidden: Hidden | None = None
    commitments: Commitments | None = None
    schema: int = SCHEMA
    measured: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        optional: dict[str, Any] = {"lanes": self.lanes} if self.lanes != 1 else {}
        if self.lowering is not None:
            optional["lowering"] = self.lowering
        if self.hints is not None:
            optional["hints"] = self.hints.to_json()
        if self.hidden is not None:
            optional["hidden"] = self.hidden.to_json()
        if self.commitments is not None:
            optional["commitments"] = self.commitments.to_json()
        return optional | {
            "schema": self.schema,
            "circuit_id": self.circuit_id,
            "model_sha256": self.model_sha256,
            "rewritten_sha256": self.rewritten_sha256,
            "passes": [asdict(p) for p in self.passes],
            "engine": self.engine,
            "engine_version": self.engine_version,
            "profile": self.profile.to_json(),
            "srs": asdict(self.srs),
            "files": dict(self.files),
            "inputs": [i.to_json() for i in self.inputs],
            "context": self.context.to_json(),
            "outputs": [o.to_json() for o in self.outputs],
            "proof_bytes": self.proof_bytes,
            "accuracy": asdict(self.accuracy),
            "measured": self.measured,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CircuitManifest:
        if data["schema"] != SCHEMA:
            raise ValueError(f"circuit manifest of schema {data['schema']}, expected {SCHEMA}")
        return cls(
            circuit_id=data["circuit_id"],
            model_sha256=data["model_sha256"],
            rewritten_sha256=data["rewritten_sha256"],
            passes=tuple(AppliedPass(**p) for p in data["passes"]),
            engine=data["engine"],
            engine_version=data["engine_version"],
            profile=Profile.from_json(data["profile"]),
            srs=SrsRef(**data["srs"]),
            files=dict(data["files"]),
            inputs=tuple(InputEncoding.from_json(i) for i in data["inputs"]),
            context=ContextEncoding.from_json(data["context"]),
            outputs=tuple(OutputEncoding.from_json(o) for o in data["outputs"]),
            proof_bytes=data["proof_bytes"],
            accuracy=Accuracy(**data["accuracy"]),
            lanes=data.get("lanes", 1),
            lowering=data.get("lowering"),
            hints=Hints.from_json(data["hints"]) if data.get("hints") is not None else None,
            hidden=Hidden.from_json(data["hidden"]) if data.get("hidden") is not None else None,
            commitments=Commitments.from_json(data["commitments"])
            if data.get("commitments") is not None
            else None,
            measured=data.get("measured", {}),
        )

    @property
    def weights_identity(self) -> str | None:
        """The digest that names private weights; None of other weights."""
        claim = self.commitments
        if claim is None:
            return None
        return claim.weights_identity(self.files["vk"], self.files["settings"])

    @property
    def reference_sha256(self) -> str:
        """The model whose answers in onnxruntime this circuit's outputs are held to."""
        return self.files.get("reference", self.model_sha256)

    @property
    def layout(self) -> tuple[Segment, ...]:
        """Where everything stands among the public instances, in the engine's order: a function of
        the fields above.

        With several lanes each tensor is followed by itself for the next lane: all lanes of the
        first input, all lanes of the second, the context limbs of all lanes, all lanes of each
        output.

        The engine puts input hashes first, then the hash of the weights, public inputs, outputs.
        Its input visibility holds for *all* inputs, so where the inputs are not public the
        context's limbs reach the instances as the graph's first output (an Identity of the context
        input): in every profile they stand right before the model's outputs. Results that older
        circuits are given are inputs behind the context, with the challenge last; residues are the
        last output. They show that hints are right, or that inputs which are not shown lie within
        their ranges.
        """
        visibility, lanes = self.profile.visibility, self.lanes
        outputs = [(Role.OUTPUT, o.tensor.name, o.tensor.size * lanes) for o in self.outputs]
        parts: list[tuple[Role, str, int]] = []
        if (claim := self.commitments) is not None:
            # Input and context are not shown: they are what the challenges are hashes of.
            parts.append((Role.CHALLENGE, "challenges", len(claim.challenges)))
            if claim.evaluated is not None:
                parts.append((Role.EVALUATION, self.inputs[0].tensor.name, 1))
            if claim.folded is not None:
                parts.append((Role.WEIGHTS_EVALUATION, "weights", 1))
            return _in_order([*parts, *outputs, (Role.RESIDUE, RESIDUES, claim.residues)])
        if visibility is Visibility.HASHED_INPUT:
            parts += [(Role.INPUT_HASH, i.tensor.name, 1) for i in self.inputs]
            if self.context.limbs:
                parts.append((Role.INPUT_HASH, "context", 1))
        if visibility is Visibility.HASHED_WEIGHTS:
            parts.append((Role.WEIGHTS_HASH, "weights", 1))
        if visibility.shows_input:
            parts += [(Role.INPUT, i.tensor.name, i.tensor.size * lanes) for i in self.inputs]
        if self.context.limbs:
            parts.append((Role.CONTEXT, "context", self.context.limbs * lanes))
        if self.hints is not None:
            results = enumerate(self.hints.results)
            parts += [(Role.RESULT, f"product-{n}", count * lanes) for n, count in results]
            if self.hints.challenged:
                parts.append((Role.CHALLENGE, "challenge", 1))
        parts += outputs
        if self.residues:
            parts.append((Role.RESIDUE, RESIDUES, self.residues * lanes))
        return _in_order(parts)

    @property
    def own_profile(self) -> Profile:
        """The profile as a circuit like this states it."""
        return self.profile.chosen(committed=self.commitments is not None)

    @property
    def residues(self) -> int:
        """How many public instances of each lane have to be zero."""
        parts = (self.hints, self.hidden, self.commitments)
        return sum(part.residues for part in parts if part is not None)

    @property
    def salt(self) -> Salt | None:
        """The random look-ups that hide what its tables hold; None where there are none."""
        return None if self.hidden is None else self.hidden.salt(self.lanes)

    def model_outputs(self, simulated: Sequence[list[str]]) -> list[list[str]]:
        """The model's outputs among all that the engine's arithmetic gives out: what else is shown
        stands before them, residues behind."""
        return model_outputs(simulated, len(self.outputs), self.residues)

    def lane_layout(self, lane: int) -> tuple[Segment, ...]:
        """The segments of one lane: the part of each of ``layout`` that is about its input.

        Hashes belong to no lane; with committed hints only outputs do. Raises ``ValueError`` when
        there is no such lane.
        """
        if not 0 <= lane < self.lanes:
            raise ValueError(f"the circuit has {self.lanes} lane(s), and no lane {lane}")
        shared = {Role.INPUT_HASH, Role.WEIGHTS_HASH, Role.CHALLENGE}
        if self.commitments is not None:
            shared |= {Role.EVALUATION, Role.WEIGHTS_EVALUATION, Role.RESIDUE}
        return tuple(
            s
            if s.role in shared
            else replace(
                s,
                offset=s.offset + lane * (s.count // self.lanes),
                count=s.count // self.lanes,
            )
            for s in self.layout
        )

    @property
    def digest(self) -> str:
        return digest_json(self.to_json())
