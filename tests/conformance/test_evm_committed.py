"""Guards of circuits with committed hints: they compute the challenges, and demand all else.

The contracts are in ``vectors/evm.json`` as solc compiled them, so that this needs no compiler.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.cases.committed_guard import Deployed, findings
from tests.cases.evm_forgery import forge, shifted
from tests.conformance.make_evm_vectors import BENDS, VECTOR


@pytest.fixture(scope="module")
def vectors() -> Any:
    return json.loads(VECTOR.read_bytes())["committed"]


@pytest.fixture(params=["private", "public"])
def deployed(request: pytest.FixtureRequest, vectors: Any) -> Deployed:
    return Deployed.of(vectors[request.param])


def test_a_guard_accepts_an_honest_proof_and_refuses_all_else(deployed: Deployed) -> None:
    assert findings(deployed) == []


@pytest.mark.parametrize("name", [*BENDS, "beyond"])
def test_the_verifier_alone_accepts_what_its_guard_refuses(deployed: Deployed, name: str) -> None:
    """Valid proofs of other claims: the verifier has to compare them."""
    if name not in deployed.vector["proofs"]:
        pytest.skip("a private input is bounded by the circuit")
    proof, instances, _ = deployed.read(name)
    assert deployed.verifies(proof, instances)
    assert not deployed.chain.accepts(deployed.address, deployed.call(name))


def test_forged_calldata_is_refused(deployed: Deployed) -> None:
    _, instances, inputs = deployed.read()
    numbers = [int.from_bytes(bytes.fromhex(felt), "little") for felt in instances]
    s = int(deployed.vector["s"][0], 16), int(deployed.vector["s"][1], 16)
    verify = bytes.fromhex(deployed.vector["verify"])
    body, decoy = forge(
        deployed.chain, deployed.verifier, verify, deployed.guard.proof_bytes, [numbers], s
    )
    forged = shifted(verify, body, numbers, decoy=decoy)
    assert deployed.chain.accepts(deployed.verifier, forged)
    assert deployed.why(forged) == b""
    for made in (body, decoy):
        call = deployed.guard.calldata(made, instances, deployed.context, inputs)
        assert deployed.why(call) == deployed.chain.error("ChallengeRefused(uint256)")


@pytest.mark.parametrize(
    "name", ["vk_sha256", "settings_sha256", "srs_part_sha256", "claim_sha256", "committed_bytes"]
)
def test_challenges_hash_all_that_a_guard_pins(deployed: Deployed, name: str) -> None:
    assert deployed.guard.challenged is not None
    value = getattr(deployed.guard.challenged, name)
    other: Any = (
        value + 64 if isinstance(value, int) else value[:-1] + ("1" if value[-1] == "0" else "0")
    )
    pins = replace(deployed.guard.challenged, **{name: other})
    guard = replace(deployed.guard, challenged=pins)
    code = deployed.chain.code(deployed.verifier)
    address = deployed.chain.deploy(guard.creation(deployed.verifier, code))
    refused = deployed.chain.refusal(address, deployed.call())
    assert refused == deployed.chain.error("ChallengeRefused(uint256)")


def test_outputs_are_bounded(deployed: Deployed) -> None:
    """A guard whose bound is smaller than the honest proof's outputs."""
    accepted = [
        replace(a, bounds=(0, 0)) if a.bounds and a.bounds[0] < 0 else a
        for a in deployed.guard.accepted
    ]
    guard = replace(deployed.guard, accepted=tuple(accepted))
    code = deployed.chain.code(deployed.verifier)
    address = deployed.chain.deploy(guard.creation(deployed.verifier, code))
    refused = deployed.chain.refusal(address, deployed.call())
    assert refused == deployed.chain.error("InstanceRefused(uint256)")
