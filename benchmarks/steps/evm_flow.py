"""A circuit's verifier contract, compiled, deployed behind its guard and called with a real proof.

    python -m benchmarks.steps.evm_flow compile WORK SRS
    python -m benchmarks.steps.evm_flow call WORK

WORK has ``vk`` and ``settings.json`` of any system, and for ``call`` ``proof.json`` and what
``compile`` left there. Runs on an EVM in this process: nothing leaves it. The last line on stdout
is JSON; an error is ``{"problem": …}`` with exit status 2 or 3.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerMissing, SystemRefused
from benchmarks.harness.steps import run_step
from benchmarks.systems.circom import FOLDER
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.engine.proof_json import EzklProof, read_proof
from circuits.evm.errors import SolcMissing
from circuits.evm.guard import Accepted, Guard
from circuits.evm.solc import Solc
from circuits.format.manifest import CircuitManifest
from circuits.srs.verify_part import extract
from prover.settings import Settings

_LIMITS = Limits(deadline_s=600)
#: The deployment code that ``compile`` writes.
CONTRACT = "contract.bin"
#: The deployed code.
RUNTIME = "contract.runtime.bin"
#: The part of the reference string that challenges of committed hints hash.
SRS_PART = "srs_part.bin"
#: Number of instances of a proof that are changed, one at a time, spread over all.
CHANGED = 16
_SENDER = "0x" + "11" * 20
_WORD = 32


def compile_(engine: EzklEngine, work: Path, srs: str) -> dict[str, Any]:
    """Writes the contract's code to WORK; returns the contract's size."""
    source = engine.evm_verifier(
        (work / "vk").read_bytes(),
        (work / "settings.json").read_bytes(),
        extract(Path(srs)),
        _LIMITS,
    )
    contract = _solc().compile(source, _LIMITS.deadline_s)
    (work / CONTRACT).write_bytes(contract.creation)
    (work / RUNTIME).write_bytes(contract.runtime)
    (work / SRS_PART).write_bytes(extract(Path(srs)))
    return {
        "contract_bytes": len(contract.runtime),
        "source_bytes": len(source),
        "solc": contract.solc,
    }


def call(engine: EzklEngine, work: Path) -> dict[str, Any]:
    """Deploys the contract and its guard; sends the guard the proof, then calldata that it must
    reject: with an instance changed, and in other encodings."""
    made = read_proof((work / "proof.json").read_bytes())
    guard = _guard(work, made)
    about: dict[str, Any] = {}
    if guard.challenged is not None:
        output = json.loads((work / "about.json").read_text(encoding="utf-8"))
        about = {"context": int(output["context"], 16), "inputs": output["input"]}
    calldata = guard.calldata(made.proof, made.instances, **about)
    chain = _Chain()
    verifier = chain.deploy((work / CONTRACT).read_bytes())
    deploy_gas = chain.gas
    address = chain.deploy(guard.creation(verifier, (work / RUNTIME).read_bytes()))
    deploy_gas += chain.gas
    accepted = chain.accepts(address, calldata)
    gas = chain.gas
    at, count = _instances(calldata)
    places = range(0, count, max(1, count // CHANGED))
    changed = [_changed(calldata, at + _WORD * i) for i in (*places, count - 1)]
    shifted = _shifted(calldata, 4 if about else 2)
    return {
        "deploy_gas": deploy_gas,
        "gas": gas,
        "accepted": accepted,
        "changed": len(changed),
        "changed_accepted": sum(chain.accepts(address, data) for data in changed),
        "shifted": len(shifted),
        "shifted_accepted": sum(chain.accepts(address, data) for data in shifted),
        "instances": count,
        "calldata_bytes": len(calldata),
    }


def _guard(work: Path, made: EzklProof) -> Guard:
    """Our guard from the manifest; of EZKL's flow only the number of instances is known."""
    described = work / "circuit.json"
    if described.exists():
        manifest = json.loads(described.read_text(encoding="utf-8"))["manifest"]
        part = (work / SRS_PART).read_bytes()
        return Guard.of(CircuitManifest.from_json(manifest), srs_part=part)
    return Guard(proof_bytes=len(made.proof), accepted=(Accepted(count=len(made.instances)),))


class _Chain:
    """An EVM with one funded account; ``gas`` is that of the last transaction."""

    def __init__(self) -> None:
        try:
            import pyrevm
        except ModuleNotFoundError:
            raise PeerMissing(
                "pyrevm is not installed, so there is no EVM to run the contract on",
                advice="Install it: pip install 'zkml-prover[evm]'.",
            ) from None
        self._evm = pyrevm.EVM(spec_id="SHANGHAI")
        self._evm.set_balance(_SENDER, 10**24)

    @property
    def gas(self) -> int:
        result = self._evm.result
        assert result is not None, "there has been no transaction"
        return int(result.gas_used)

    def deploy(self, creation: bytes) -> str:
        """The contract's address. Raises ``SystemRefused`` if the chain rejects it."""
        try:
            return str(self._evm.deploy(_SENDER, creation))
        except RuntimeError as error:
            raise SystemRefused(f"the contract cannot be deployed: {error}") from None

    def accepts(self, address: str, calldata: bytes) -> bool:
        """Whether the call returns true; a rejecting contract reverts."""
        try:
            answer = self._evm.message_call(_SENDER, address, calldata)
        except RuntimeError:
            return False
        return int.from_bytes(answer, "big") == 1


def _solc() -> Solc:
    """The service's compiler, else the one installed with the peers."""
    named = Settings.load(redis_url=None).solc
    try:
        return Solc.find(named)
    except SolcMissing:
        installed = FOLDER / "node_modules" / ".bin" / "solcjs"
        if named is not None or not installed.exists():
            raise
        return Solc.find(installed)


def _instances(calldata: bytes) -> tuple[int, int]:
    """Offset and number of the instances in a call with proof and instances."""
    at = 4 + int.from_bytes(calldata[4 + _WORD : 4 + 2 * _WORD], "big") + _WORD
    return at, int.from_bytes(calldata[at - _WORD : at], "big")


def _shifted(calldata: bytes, arguments: int) -> list[bytes]:
    """The same call with proof, instances or both read from a copy at the end, and with an extra
    word."""
    end = 4 + arguments * _WORD
    head, body = calldata[:end], calldata[end:]
    offsets = [int.from_bytes(head[i : i + _WORD], "big") for i in (4, 4 + _WORD)]
    moves = ((len(body), 0), (0, len(body)), (len(body), len(body)))
    heads = [
        b"".join((n + move).to_bytes(_WORD, "big") for n, move in zip(offsets, by, strict=True))
        for by in moves
    ]
    rest = head[4 + 2 * _WORD :]
    return [*(head[:4] + moved + rest + body + body for moved in heads), calldata + bytes(_WORD)]


def _changed(calldata: bytes, at: int) -> bytes:
    """The same call with another word at ``at``."""
    last = at + _WORD - 1
    return calldata[:last] + bytes([calldata[last] ^ 1]) + calldata[last + 1 :]


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"compile": compile_, "call": call}


if __name__ == "__main__":
    sys.exit(run_step(STEPS, *sys.argv[1:]))
