"""EZKL's proof file: read strictly, written in one form.

``ezkl verify`` looks at ``instances`` and ``proof`` only. It ignores ``hex_proof``,
``pretty_public_inputs``, ``timestamp``, ``version`` and any further key, and bytes after the proof.
So a proof is brought into one *normal form* before it is stored: canonical JSON with the keys EZKL
writes, where all that it does not authenticate is null or equal to what it does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from circuits.errors import ProofMalformed
from circuits.format.digests import canonical_json
from circuits.format.field import from_felt


@dataclass(frozen=True, kw_only=True)
class EzklProof:
    """A proof's content. ``instances`` are felts in the engine's order."""

    instances: list[str]
    proof: bytes

    def to_bytes(self) -> bytes:
        """The normal form."""
        return canonical_json(
            {
                "hex_proof": "0x" + self.proof.hex(),
                "instances": [self.instances],
                "pretty_public_inputs": None,
                "proof": list(self.proof),
                "protocol": None,
                "split": None,
                "timestamp": None,
                "version": None,
            }
        )


def read_proof(data: bytes) -> EzklProof:
    """A proof file as EZKL or anybody else wrote it.

    Raises ``ProofMalformed`` when it is not one, names a field element twice (not below the
    modulus, upper case), holds more than one column of instances, or when ``hex_proof`` is there
    and differs from ``proof``.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProofMalformed(f"the proof is not JSON: {str(error)[:120]}") from error
    if not isinstance(raw, dict):
        raise ProofMalformed("the proof is not a JSON object")
    proof = _bytes(raw.get("proof"))
    hex_proof = raw.get("hex_proof")
    if hex_proof is not None and hex_proof != "0x" + proof.hex():
        raise ProofMalformed("hex_proof is not the same bytes as proof")
    return EzklProof(instances=_instances(raw.get("instances")), proof=proof)


def normalise_proof(data: bytes) -> bytes:
    """The normal form of a proof file. Raises ``ProofMalformed``."""
    return read_proof(data).to_bytes()


def parse_proof(data: bytes) -> EzklProof:
    """A proof that must be in normal form, byte for byte. Raises ``ProofMalformed``."""
    proof = read_proof(data)
    if proof.to_bytes() != data:
        raise ProofMalformed("the proof file is not in normal form: it holds more than the proof")
    return proof


def _bytes(value: Any) -> bytes:
    if not isinstance(value, list) or not value:
        raise ProofMalformed("the proof has no list of bytes under 'proof'")
    if not all(type(b) is int and 0 <= b <= 255 for b in value):
        raise ProofMalformed("'proof' holds something that is not a byte")
    return bytes(value)


def _instances(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], list):
        raise ProofMalformed("'instances' is not one list of field elements")
    column: list[str] = []
    for felt in value[0]:
        try:
            if not isinstance(felt, str):
                raise ValueError("not text")
            from_felt(felt)
        except ValueError as error:
            raise ProofMalformed(f"instance {len(column)}: {error}") from error
        column.append(felt)
    return column
