"""A verifier of a circuit with committed hints and its guard on a chain, and all that the guard has
to refuse. Both are in ``conformance/vectors/evm.json`` as solc compiled them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from circuits.evm.guard import Accepted, FiatShamirCheck, Guard
from circuits.format.field import P, to_felt
from tests.cases.evm_forgery import Chain, words

#: Returns true whatever it is sent.
ALWAYS_TRUE = bytes.fromhex("60015f5260205ff3")


@dataclass(frozen=True)
class Deployed:
    """A verifier, its guard, and what an honest prover sends."""

    chain: Chain
    verifier: str
    guard: Guard
    address: str
    vector: Any

    @classmethod
    def of(cls, vector: Any) -> Deployed:
        chain, told = Chain(), vector["guard"]
        verifier = chain.deploy(bytes.fromhex(vector["creation"]))
        challenged = dict(told["challenged"])
        count, bounds = challenged.pop("inputs")
        guard = Guard(
            proof_bytes=told["proof_bytes"],
            accepted=tuple(_accepted(*pair) for pair in told["accepted"]),
            challenged=FiatShamirCheck(inputs=_accepted(count, bounds), **challenged),
        )
        address = chain.deploy(guard.creation(verifier, chain.code(verifier)))
        return cls(chain, verifier, guard, address, vector)

    @property
    def context(self) -> int:
        return int(self.vector["context"], 16)

    @property
    def public(self) -> bool:
        assert self.guard.challenged is not None
        return self.guard.challenged.inputs.count > 0

    def read(self, name: str = "honest") -> tuple[bytes, list[str], list[str]]:
        """A proof, its instances, and its input."""
        made = self.vector["proofs"][name]
        return bytes.fromhex(made["proof"]), made["instances"], made["inputs"]

    def call(self, name: str = "honest") -> bytes:
        proof, instances, inputs = self.read(name)
        return self.guard.calldata(proof, instances, self.context, inputs)

    def verifies(self, proof: bytes, instances: list[str]) -> bool:
        """Whether the verifier behind the guard accepts it."""
        plain = replace(self.guard, challenged=None).calldata(proof, instances)
        return self.chain.accepts(self.verifier, bytes.fromhex(self.vector["verify"]) + plain[4:])

    def why(self, call: bytes) -> bytes:
        return self.chain.refusal(self.address, call)


def _accepted(count: int, bounds: list[int] | None) -> Accepted:
    return Accepted(count=count, bounds=None if bounds is None else (bounds[0], bounds[1]))


def moved(felts: list[str], at: int, by: int = 1) -> list[str]:
    """Elements of which one is larger."""
    number = int.from_bytes(bytes.fromhex(felts[at]), "little") + by
    return [*felts[:at], number.to_bytes(32, "little").hex(), *felts[at + 1 :]]


def refusals(deployed: Deployed) -> Iterator[tuple[str, str, bytes]]:
    """Calls that a guard must refuse: what each is, the error, and the call."""
    guard, context = deployed.guard, deployed.context
    proof, instances, inputs = deployed.read()
    for at in range(len(instances)):
        call = guard.calldata(proof, moved(instances, at, P), context, inputs)
        yield "another name of an element", "InstanceRefused(uint256)", call
    for at in range(5):
        call = guard.calldata(proof, moved(instances, at), context, inputs)
        yield f"challenge {at}", "ChallengeRefused(uint256)", call
    shown = 5 + deployed.public
    if deployed.public:
        call = guard.calldata(proof, moved(instances, 5), context, inputs)
        yield "another evaluation", "InstanceRefused(uint256)", call
        for at in (0, len(inputs) - 1):
            call = guard.calldata(proof, instances, context, moved(inputs, at))
            yield "another input", "ChallengeRefused(uint256)", call
        call = guard.calldata(proof, instances, context, moved(inputs, 1, P))
        yield "another name of an input's element", "InputRefused(uint256)", call
        yield "an input out of range", "InputRefused(uint256)", deployed.call("beyond")
        yield "no input", "WrongLength()", guard.calldata(proof, instances, context, inputs[:-1])
        yield (
            "a longer input",
            "WrongLength()",
            guard.calldata(proof, instances, context, [*inputs, to_felt(0)]),
        )
    else:
        call = guard.calldata(proof, instances, context, [to_felt(0)])
        yield "an input where it is private", "WrongLength()", call
    for at in range(shown, len(instances) - guard.accepted[-1].count):
        call = guard.calldata(proof, moved(instances, at), context, inputs)
        yield "another output", "ProofRefused()", call
    yield (
        "another context",
        "ChallengeRefused(uint256)",
        guard.calldata(proof, instances, context + 1, inputs),
    )
    other = bytes([proof[0] ^ 1]) + proof[1:]
    yield (
        "another commitment",
        "ChallengeRefused(uint256)",
        guard.calldata(other, instances, context, inputs),
    )
    other = proof[:-1] + bytes([proof[-1] ^ 1])
    yield "another proof", "ProofRefused()", guard.calldata(other, instances, context, inputs)
    yield "a residue", "InstanceRefused(uint256)", deployed.call("quotient")
    yield "challenges of one's own", "ChallengeRefused(uint256)", deployed.call("challenges")
    yield "challenges of zero", "ChallengeRefused(uint256)", deployed.call("no challenge")
    call, head = deployed.call(), 4 + 4 * 32
    yield "a byte more", "NotCanonical()", call + bytes(1)
    yield "a word more", "NotCanonical()", call + bytes(32)
    offsets = [int.from_bytes(call[at : at + 32], "big") for at in range(4, head, 32)]
    for at in (0, 1, 3):
        apart = [n + (len(call) - head) * (i == at) for i, n in enumerate(offsets)]
        yield (
            "an argument read elsewhere",
            "NotCanonical()",
            (call[:4] + words(*apart) + call[head:] * 2),
        )
    if not deployed.public:  # as long as it should be: nothing, read where the last residue stands
        zero = offsets[3] - 32
        yield (
            "an input read from the instances",
            "NotCanonical()",
            (call[:4] + words(*offsets[:3], zero) + call[head:]),
        )
    gap = [n + 32 * (i != 2) for i, n in enumerate(offsets)]
    yield "a gap", "NotCanonical()", call[:4] + words(*gap) + bytes(32) + call[head:]


def findings(deployed: Deployed) -> list[str]:
    """What a guard does that it should not."""
    chain, honest = deployed.chain, deployed.call()
    found = [] if chain.accepts(deployed.address, honest) else ["an honest proof is refused"]
    for name, error, call in refusals(deployed):
        if chain.accepts(deployed.address, call) or deployed.why(call) != chain.error(error):
            found.append(name)
    code = chain.code(deployed.verifier)
    chain.place(ALWAYS_TRUE, deployed.verifier)
    if chain.accepts(deployed.address, honest):
        found.append("another verifier")
    chain.place(code, deployed.verifier)
    return found
