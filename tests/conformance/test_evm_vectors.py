"""Forged calldata and guards: EZKL's two verifier contracts accept it, their guards nothing of it.

The contracts are in ``vectors/evm.json`` as solc compiled them, so that this needs no compiler.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from circuits.errors import ProofMalformed
from circuits.evm.guard import Accepted, Guard
from circuits.format.field import P
from tests.cases.evm_forgery import Chain, Point, calldata, forge, shifted, words
from tests.conformance.make_evm_vectors import VECTOR

INSTANCE_REFUSED = "InstanceRefused(uint256)"
#: Returns true whatever it is sent.
ALWAYS_TRUE = bytes.fromhex("60015f5260205ff3")


@dataclass(frozen=True)
class Deployed:
    """A verifier and its guard on a chain. ``verify`` and ``check`` are how they are called."""

    chain: Chain
    verifier: str
    verify: bytes
    guard: Guard
    address: str
    s: Point
    register: bytes

    @property
    def check(self) -> bytes:
        proof, instances = bytes(self.guard.proof_bytes), ["00" * 32] * self.guard.instances
        return self.guard.calldata(proof, instances)[:4]

    def arrays(self, instances: list[int], vka: bytes | None = None) -> list[list[int]]:
        """The arguments of a call besides the proof."""
        key = self.guard.vka if vka is None else vka
        return [instances] if key is None else [instances, split(key)]

    def register_vka(self, vka: bytes, verifier: str | None = None) -> None:
        key = split(vka)
        self.chain.call(verifier or self.verifier, self.register + words(32, len(key), *key))

    def prepare(self, verifier: str) -> None:
        if self.guard.vka is not None:
            self.register_vka(self.guard.vka, verifier)

    def why(self, call: bytes, address: str | None = None) -> bytes:
        return self.chain.refusal(address or self.address, call)

    def guarded(self, guard: Guard) -> str:
        """The address of another guard of the same verifier."""
        return self.chain.deploy(guard.creation(self.verifier, self.chain.code(self.verifier)))


def split(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


@pytest.fixture(scope="module")
def vector() -> Any:
    return json.loads(VECTOR.read_bytes())


@pytest.fixture(params=["verifier", "reusable"])
def deployed(request: pytest.FixtureRequest, vector: Any) -> Deployed:
    chain = Chain()
    contract = vector["contracts"][request.param]
    verifier = chain.deploy(bytes.fromhex(contract["creation"]))
    guard = Guard(
        proof_bytes=vector["proof_bytes"],
        accepted=tuple(
            Accepted(count=count, bounds=bounds and (bounds[0], bounds[1]))
            for count, bounds in vector["accepted"]
        ),
        vka=bytes.fromhex(vector["vka"]) if request.param == "reusable" else None,
    )
    found = Deployed(
        chain=chain,
        verifier=verifier,
        verify=bytes.fromhex(contract["verify"]),
        guard=guard,
        address=chain.deploy(guard.creation(verifier, chain.code(verifier))),
        s=(int(vector["s"][0], 16), int(vector["s"][1], 16)),
        register=bytes.fromhex(vector["register"]),
    )
    found.prepare(verifier)
    return found


def read(made: Any) -> tuple[bytes, list[str], list[int]]:
    """A proof, its instances as felts and as numbers."""
    instances = made["instances"]
    numbers = [int.from_bytes(bytes.fromhex(felt), "little") for felt in instances]
    return bytes.fromhex(made["proof"]), instances, numbers


def test_a_guard_accepts_a_proof_and_no_other_instance(deployed: Deployed, vector: Any) -> None:
    proof, felts, numbers = read(vector["proofs"]["proof"])
    assert deployed.chain.accepts(deployed.address, deployed.guard.calldata(proof, felts))
    for at in range(len(numbers)):
        other = [n ^ (i == at) for i, n in enumerate(numbers)]
        call = calldata(deployed.check, proof, *deployed.arrays(other))
        assert deployed.why(call) == deployed.chain.error("ProofRefused()")
        # The same element under another name.
        twin = [n + P * (i == at) for i, n in enumerate(numbers)]
        call = calldata(deployed.check, proof, *deployed.arrays(twin))
        assert deployed.why(call) == deployed.chain.error(INSTANCE_REFUSED)


def test_a_verifier_accepts_forged_calldata_and_its_guard_refuses_it(deployed: Deployed) -> None:
    """The instances are the forger's choice: no input, no witness, no proof."""
    chosen = [1, 2, 3, 4, 5, 6, 7, 8]
    arrays = deployed.arrays(chosen)
    body, decoy = forge(
        deployed.chain,
        deployed.verifier,
        deployed.verify,
        deployed.guard.proof_bytes,
        arrays,
        deployed.s,
        deployed.prepare,
    )
    forged = shifted(deployed.verify, body, *arrays, decoy=decoy)
    assert deployed.chain.accepts(deployed.verifier, forged)

    # A guard does not know the verifier's function, refuses the encoding under its own, and what it
    # would make of either proof when it encodes them is refused by the verifier.
    assert deployed.why(forged) == b""
    not_canonical = deployed.chain.error("NotCanonical()")
    assert deployed.why(shifted(deployed.check, body, *arrays, decoy=decoy)) == not_canonical
    for proof in (body, decoy):
        assert not deployed.chain.accepts(
            deployed.verifier, calldata(deployed.verify, proof, *arrays)
        )
        call = calldata(deployed.check, proof, *arrays)
        assert deployed.why(call) == deployed.chain.error("ProofRefused()")


def test_a_guard_knows_one_encoding(deployed: Deployed, vector: Any) -> None:
    """An honest proof, differently written: the verifier accepts it with its offset shifted."""
    proof, felts, numbers = read(vector["proofs"]["proof"])
    arrays = deployed.arrays(numbers)
    canonical = deployed.guard.calldata(proof, felts)
    assert canonical == calldata(deployed.check, proof, *arrays)
    assert deployed.chain.accepts(deployed.verifier, shifted(deployed.verify, proof, *arrays))

    head = 4 + 32 * (1 + len(arrays))
    gap = [int.from_bytes(canonical[i : i + 32], "big") + 32 for i in range(4, head, 32)]
    moved = [
        shifted(deployed.check, proof, *arrays),
        canonical + bytes(1),
        canonical + bytes(32),
        canonical[:4] + words(*gap) + bytes(32) + canonical[head:],
    ]
    for at in range(len(gap)):  # one argument alone, a copy of everything behind the head
        offsets = [n - 32 + (len(canonical) - head if i == at else 0) for i, n in enumerate(gap)]
        moved.append(canonical[:4] + words(*offsets) + canonical[head:] * 2)
    if deployed.guard.vka is not None:  # as long as it should be, the key read from the instances
        twice = calldata(deployed.check, proof, numbers, numbers)
        moved.append(twice[: 4 + 64] + twice[4 + 32 : 4 + 64] + twice[4 + 96 :])
    for call in moved:
        assert deployed.why(call) == deployed.chain.error("NotCanonical()")

    wrong_length = deployed.chain.error("WrongLength()")
    more = [calldata(deployed.check, proof + bytes(32), *arrays)]
    more.append(calldata(deployed.check, proof, *deployed.arrays([*numbers, 0])))
    more.append(calldata(deployed.check, proof[:-32], *arrays))
    assert {deployed.why(call) for call in more} == {wrong_length}
    with pytest.raises(ProofMalformed):
        deployed.guard.calldata(proof + bytes(32), felts)


@pytest.mark.parametrize("deployed", ["reusable"], indirect=True)
def test_another_verifying_key_is_refused(deployed: Deployed, vector: Any) -> None:
    """Anybody may register a key, so the reusable verifier accepts proofs of any circuit."""
    vka = bytes.fromhex(vector["other_vka"])
    deployed.register_vka(vka)
    proof, felts, numbers = read(vector["other_proof"])
    arrays = deployed.arrays(numbers, vka)
    assert deployed.chain.accepts(deployed.verifier, calldata(deployed.verify, proof, *arrays))
    other_key = deployed.chain.error("OtherVerifyingKey()")
    assert deployed.why(calldata(deployed.check, proof, *arrays)) == other_key
    call = deployed.guard.calldata(proof, felts)  # under the guard's own key
    assert deployed.why(call) == deployed.chain.error("ProofRefused()")


def test_another_verifier_is_refused(deployed: Deployed, vector: Any) -> None:
    runtime = deployed.chain.code(deployed.verifier)
    impostor = deployed.chain.place(ALWAYS_TRUE)
    for address in (impostor, "0x" + "77" * 20):
        with pytest.raises(RuntimeError, match="Revert"):
            deployed.chain.deploy(deployed.guard.creation(address, runtime))
    proof, felts, _ = read(vector["proofs"]["proof"])
    call = deployed.guard.calldata(proof, felts)
    deployed.chain.place(ALWAYS_TRUE, deployed.verifier)
    assert deployed.why(call) == deployed.chain.error("OtherVerifier()")


def test_an_input_beyond_the_accepted_range_is_refused(deployed: Deployed, vector: Any) -> None:
    """The circuit proves it: only the verifier bounds a public input."""
    proof, felts, numbers = read(vector["proofs"]["beyond"])
    arrays = deployed.arrays(numbers)
    assert deployed.chain.accepts(deployed.verifier, calldata(deployed.verify, proof, *arrays))
    refused = deployed.chain.error(INSTANCE_REFUSED)
    assert deployed.why(deployed.guard.calldata(proof, felts)) == refused


def test_residues_have_to_be_zero(deployed: Deployed, vector: Any) -> None:
    """A guard whose last three instances are residues, on proofs where they are zero or not."""
    *rest, last = deployed.guard.accepted
    strict = replace(deployed.guard, accepted=(*rest, Accepted(count=last.count, bounds=(0, 0))))
    address = deployed.guarded(strict)
    proof, felts, _ = read(vector["proofs"]["zeros"])
    assert deployed.chain.accepts(address, strict.calldata(proof, felts))
    proof, felts, _ = read(vector["proofs"]["proof"])
    assert deployed.chain.accepts(deployed.address, deployed.guard.calldata(proof, felts))
    refused = deployed.chain.error(INSTANCE_REFUSED)
    assert deployed.why(strict.calldata(proof, felts), address) == refused


@pytest.mark.parametrize(
    ("bounds", "accepted"),
    [((-31, 64), False), ((-32, 200), True), ((-32, 199), False), ((-(1 << 110), 200), True)],
)
def test_bounds_are_of_signed_integers_and_inclusive(
    deployed: Deployed, vector: Any, bounds: tuple[int, int], accepted: bool
) -> None:
    """The proof's inputs are 64, -32, 128 and 200."""
    first, *rest = deployed.guard.accepted
    guard = replace(deployed.guard, accepted=(replace(first, bounds=bounds), *rest))
    proof, felts, _ = read(vector["proofs"]["proof"])
    address = deployed.guarded(guard)
    assert deployed.chain.accepts(address, guard.calldata(proof, felts)) is accepted
