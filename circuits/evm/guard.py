"""The guard: the contract through which a proof reaches a verifier contract, and its only caller.

EZKL's verifiers accept forged calldata (docs/security/advisories/0001-evm-calldata.md), so nothing
here makes a call that one of them would understand: a guard's function has another name.
``guard.sol`` says what a guard checks; ``guard.json`` holds what solc makes of it, so that nobody
needs a compiler to deploy one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from circuits.errors import ProofMalformed
from circuits.evm.errors import NotForContracts
from circuits.evm.solc import Solc
from circuits.format.commitments import POINT_BYTES, Commitments, Weights, columns
from circuits.format.digests import PREFIX, digest_json, sha256
from circuits.format.manifest import CircuitManifest, Role, Segment
from circuits.format.profile import Soundness
from circuits.format.tensors import InputEncoding

SOURCE = Path(__file__).with_name("guard.sol")
COMPILED = Path(__file__).with_name("guard.json")

_WORD = 32
_UINT32, _INT112 = 1 << 32, 1 << 111
#: A span of this stands for every field element.
_ANY = (1 << 112) - 1
_PLAIN, _REUSABLE = "VerifierGuard", "ReusableVerifierGuard"
_COMMITTED = "CommittedVerifierGuard"
_CALL = {
    _PLAIN: "checkProof(bytes,uint256[])",
    _REUSABLE: "checkProof(bytes,uint256[],bytes32[])",
    _COMMITTED: "checkProof(bytes,uint256[],uint256,uint256[])",
}


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """``count`` public instances in a row, each an integer from ``low`` to ``high``, both included;
    any field element where ``bounds`` is None."""

    count: int
    bounds: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        low, high = self.bounds or (0, 0)
        fits = -_INT112 <= low <= high < _INT112 and high - low < _ANY
        if not (fits and 0 <= self.count < _UINT32):
            raise ValueError(f"{self.count} instances from {low} to {high}: no guard takes these")

    def words(self) -> bytes:
        low, high = self.bounds or (0, _ANY)
        return _words(self.count, low, high - low)


@dataclass(frozen=True, kw_only=True)
class FiatShamirCheck:
    """What the challenges of committed hints are computed from beside the proof (docs/receipt.md,
    5): digests of the circuit's files, how many of the proof's first bytes they hash, and of a
    public ``inputs`` (none of a private one) how many columns they are evaluated in."""

    vk_sha256: str
    settings_sha256: str
    srs_part_sha256: str
    claim_sha256: str
    committed_bytes: int
    inputs: Accepted
    width: int

    @classmethod
    def of(cls, manifest: CircuitManifest, claim: Commitments, srs_part: bytes) -> FiatShamirCheck:
        inputs, width = Accepted(count=0, bounds=(0, 0)), 0
        if claim.evaluated is not None:
            if len(manifest.inputs) != 1:
                raise NotForContracts("a guard takes one public input")
            (encoding,) = manifest.inputs
            inputs = Accepted(count=encoding.tensor.size, bounds=_range(encoding))
            width = claim.evaluated[1]
        columns_ = columns(claim.elements, manifest.srs.logrows)
        return cls(
            vk_sha256=manifest.files["vk"],
            settings_sha256=manifest.files["settings"],
            srs_part_sha256=sha256(srs_part),
            claim_sha256=digest_json(claim.to_json()),
            committed_bytes=columns_ * POINT_BYTES,
            inputs=inputs,
            width=width,
        )

    def words(self) -> bytes:
        digests = (self.vk_sha256, self.settings_sha256, self.srs_part_sha256, self.claim_sha256)
        numbers = [int(digest.removeprefix(PREFIX), 16) for digest in digests]
        low, high = self.inputs.bounds or (0, 0)
        return _words(
            *numbers, self.committed_bytes, self.inputs.count, self.width, low, high - low
        )


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The guard of one circuit: what it lets through to that circuit's verifier contract.

    ``proof_bytes``: the proof's exact length. ``accepted``: all public instances, in order.
    ``vka``: for the reusable verifier, the verifying key's words, one after another; None for a
    verifier whose code holds the key. ``challenged`` is there with committed hints.
    """

    proof_bytes: int
    accepted: tuple[Accepted, ...]
    vka: bytes | None = None
    challenged: FiatShamirCheck | None = None

    def __post_init__(self) -> None:
        if self.proof_bytes <= 0 or self.proof_bytes % _WORD or len(self.vka or b"") % _WORD:
            raise ValueError("a proof and a key are words of 32 bytes")

    @classmethod
    def of(
        cls, manifest: CircuitManifest, vka: bytes | None = None, srs_part: bytes | None = None
    ) -> Guard:
        """The guard of a circuit built here; one with committed hints needs the reference string's
        part. Raises ``NotForContracts``."""
        if manifest.profile.soundness is Soundness.FREIVALDS:
            raise NotForContracts(
                "whoever makes a proof with Freivalds products chooses its output"
            )
        if not manifest.profile.visibility.shows_weights:
            raise NotForContracts("nothing on a chain ties hidden weights to a model")
        if not manifest.profile.visibility.shows_input and not manifest.residues:
            raise NotForContracts("nothing bounds the input, which this circuit's proofs hide")
        inputs = {i.tensor.name: i for i in manifest.inputs}
        bounds = {}
        claim, challenged = manifest.commitments, None
        if (limits := claim or manifest.hints) is not None:
            names = [o.tensor.name for o in manifest.outputs]
            bounds = dict(zip(names, limits.output_bounds, strict=True))
        if claim is not None:
            if claim.weights is not Weights.SEALED or claim.lanes != 1:
                raise NotForContracts(
                    "no guard folds weights, or knows of lanes that share a proof"
                )
            if vka is not None or srs_part is None:
                raise NotForContracts(
                    "committed hints go with a verifier that holds its key, and the reference"
                    " string's part"
                )
            challenged = FiatShamirCheck.of(manifest, claim, srs_part)
        return cls(
            proof_bytes=manifest.proof_bytes,
            accepted=tuple(_accepted(s, inputs, bounds, challenged) for s in manifest.layout),
            vka=vka,
            challenged=challenged,
        )

    @property
    def instances(self) -> int:
        return sum(a.count for a in self.accepted)

    def creation(self, verifier: str, runtime: bytes) -> bytes:
        """What a deployment sends.

        ``verifier`` is the address (``0x`` and 40 hex digits) of a contract whose code is
        ``runtime``, as solc gave it: where another one lies there, the deployment reverts.
        """
        pins = _words(int(verifier, 16), _sha256(runtime))
        if self.vka is not None:
            pins += _words(_sha256(self.vka))
        if self.challenged is not None:
            pins += self.challenged.words()
        head = pins + _words(self.proof_bytes, len(pins) + 2 * _WORD, len(self.accepted))
        creation = bytes.fromhex(_compiled()[self._name]["creation"])
        return creation + head + b"".join(a.words() for a in self.accepted)

    def calldata(
        self,
        proof: bytes,
        instances: Sequence[str],
        context: int = 0,
        inputs: Sequence[str] = (),
    ) -> bytes:
        """The call that has a proof checked; it returns true or reverts. ``instances`` are felts.
        With committed hints it names the ``context``'s digest and a public input, as felts.

        Raises ``ProofMalformed`` when proof or instances are not of this circuit's lengths.
        """
        if (len(proof), len(instances)) != (self.proof_bytes, self.instances):
            raise ProofMalformed(
                f"the proof has {len(proof)} bytes and {len(instances)} instances;"
                f" the guard takes {self.proof_bytes} and {self.instances}"
            )
        parts: list[tuple[int, bytes] | int] = [(len(proof), proof), _array(instances)]
        if self.vka is not None:
            parts.append((len(self.vka) // _WORD, self.vka))
        if self.challenged is not None:
            parts += [context, _array(inputs)]
        offsets, body = [], b""
        for part in parts:
            if isinstance(part, int):
                offsets.append(part)
                continue
            offsets.append(_WORD * len(parts) + len(body))
            body += _words(part[0]) + part[1]
        return bytes.fromhex(_compiled()[self._name]["selector"]) + _words(*offsets) + body

    @property
    def _name(self) -> str:
        if self.challenged is not None:
            return _COMMITTED
        return _PLAIN if self.vka is None else _REUSABLE


def compile_guards(solc: Solc, deadline_s: float) -> dict[str, Any]:
    """What ``guard.json`` has to hold."""
    source = SOURCE.read_text(encoding="utf-8")
    found = {name: solc.compile(source, deadline_s, name) for name in _CALL}
    return {"source_sha256": hashlib.sha256(source.encode()).hexdigest()} | {
        name: {"creation": made.creation.hex(), "selector": made.selectors[_CALL[name]].hex()}
        for name, made in found.items()
    }


def read_vka(data: bytes) -> bytes:
    """The words of a verifying-key artifact for the reusable verifier, as the engine writes it: a
    count of eight bytes, little-endian, then the words. Raises ``ValueError``."""
    count = int.from_bytes(data[:8], "little")
    if len(data) != 8 + _WORD * count:
        raise ValueError("not a verifying-key artifact: its length is not what it says")
    return data[8:]


@cache
def _compiled() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(COMPILED.read_text(encoding="utf-8"))
    return loaded


def _accepted(
    segment: Segment,
    inputs: dict[str, InputEncoding],
    bounds: dict[str, int],
    challenged: FiatShamirCheck | None,
) -> Accepted:
    """What a contract has to demand of a segment, since nobody else looks."""
    match segment.role:
        case Role.INPUT:
            return Accepted(count=segment.count, bounds=_range(inputs[segment.name]))
        case Role.RESIDUE:
            return Accepted(count=segment.count, bounds=(0, 0))
        case Role.OUTPUT if segment.name in bounds:
            bound = bounds[segment.name]
            return Accepted(count=segment.count, bounds=(-bound, bound))
        case (
            Role.OUTPUT | Role.CONTEXT | Role.INPUT_HASH | Role.WEIGHTS_HASH | Role.RESULT
        ):  # what the circuit ties down, and what the caller compares with its own
            return Accepted(count=segment.count)
        case Role.CHALLENGE | Role.EVALUATION if challenged is not None:  # the guard computes these
            return Accepted(count=segment.count)
        case _:
            raise NotForContracts(f"no guard can check the instances {segment.name!r}")


def _range(encoding: InputEncoding) -> tuple[int, int]:
    shape = encoding.tensor.shape
    low, high = (
        encoding.quantise(np.full(shape, bound))[0] for bound in (encoding.lower, encoding.upper)
    )
    return low, high


def _array(felts: Sequence[str]) -> tuple[int, bytes]:
    return len(felts), b"".join(bytes.fromhex(felt)[::-1] for felt in felts)


def _sha256(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest(), "big")


def _words(*values: int) -> bytes:
    return b"".join((v % (1 << 256)).to_bytes(_WORD, "big") for v in values)
