"""EZKL's proof file: one normal form, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from circuits.engine.proof_json import normalise_proof, parse_proof, read_proof
from circuits.errors import ProofMalformed
from circuits.format.field import P

EZKL: dict[str, Any] = {
    "protocol": None,
    "instances": [["80" + "00" * 31]],
    "proof": [1, 2, 255],
    "hex_proof": "0x0102ff",
    "split": None,
    "pretty_public_inputs": {"rescaled_inputs": [["1"]]},
    "timestamp": 1777457460897,
    "version": "23.0.5",
}


def test_the_normal_form_keeps_the_proof_and_nothing_that_is_not_authenticated() -> None:
    normal = normalise_proof(json.dumps(EZKL).encode())
    parsed = parse_proof(normal)
    assert (parsed.instances, parsed.proof) == (EZKL["instances"][0], b"\x01\x02\xff")
    for key in ("pretty_public_inputs", "timestamp", "version", "split", "protocol"):
        assert json.loads(normal)[key] is None
    assert normalise_proof(normal) == normal


def test_only_the_normal_form_parses_as_one() -> None:
    with pytest.raises(ProofMalformed, match="normal form"):
        parse_proof(json.dumps(EZKL).encode())
    with pytest.raises(ProofMalformed, match="normal form"):
        parse_proof(normalise_proof(json.dumps(EZKL).encode()) + b"\n")


@pytest.mark.parametrize(
    "edit",
    [
        {"proof": None},
        {"proof": []},
        {"proof": [256]},
        {"proof": [True, 2, 255]},
        {"proof": "0x0102ff"},
        {"hex_proof": "0x0102fe"},
        {"hex_proof": "0102ff"},
        {"instances": []},
        {"instances": [[], []]},
        {"instances": ["80"]},
        {"instances": [[1]]},
        {"instances": [["8" * 63]]},
        {"instances": [["AB" + "00" * 31]]},
        {"instances": [[P.to_bytes(32, "little").hex()]]},
    ],
)
def test_what_is_no_proof_is_refused(edit: dict[str, Any]) -> None:
    with pytest.raises(ProofMalformed):
        read_proof(json.dumps({**EZKL, **edit}).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"proof":' + b"9" * 9999])
def test_bytes_that_are_no_json_object_are_refused(data: bytes) -> None:
    with pytest.raises(ProofMalformed):
        read_proof(data)
