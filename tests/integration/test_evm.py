"""Verifier contracts of real circuits: written offline, compiled, and run on real proofs.

What needs the Solidity compiler or an EVM is left out where they are not installed: ``ZKML_SOLC``
or PATH names the one, the extra ``evm`` brings the other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from circuits.build import Builder
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles
from circuits.evm.contract import PREDICTION_ERROR, predicted_size
from circuits.evm.errors import ContractTooLarge, SolcMissing
from circuits.evm.solc import Solc
from circuits.field import to_felt
from circuits.plan.effort import Effort
from circuits.plan.samples import Samples, draw
from circuits.profile import Profile, Target
from circuits.srs.files import Policy, SrsFolder
from circuits.srs.verify_part import extract
from circuits.tensors import Signature, TensorSpec
from tests import tiny
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

#: verifyProof(bytes,uint256[])
SELECTOR = bytes.fromhex("1e8e1e13")


def samples() -> Samples:
    x = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 3))
    return draw(Signature(inputs=(x,), outputs=(y,)), {"x": (-2.0, 2.0)})


@pytest.fixture(scope="module")
def builder(engine: EzklEngine, srs_cache: Path) -> Builder:
    named = os.environ.get("ZKML_SOLC")
    return Builder(
        engine=engine,
        srs=SrsFolder(srs_cache),
        policy=Policy.DEVELOPMENT,
        limits=LIMITS,
        effort=Effort.FAST,
        solc=Path(named) if named else None,
    )


@pytest.fixture(scope="module")
def solc(builder: Builder) -> Solc:
    try:
        return Solc.find(builder.solc)
    except SolcMissing as error:
        pytest.skip(f"{error.detail}: {error.hint}")


@dataclass(frozen=True)
class Made:
    """A proof of a circuit, and its contract's source, written twice."""

    source: str
    again: str
    proof_json: bytes
    proof: bytes
    instances: list[str]
    contract_bytes: int


@pytest.fixture(scope="module")
def made(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Made:
    out = tmp_path_factory.mktemp("evm")
    built = builder.build(tiny.linear(), samples(), Profile(target=Target.EVM), out)
    files = CircuitFiles(
        **{name: built.files[name] for name in ("compiled", "settings", "pk", "vk", "srs")}
    )
    inputs = [[to_felt(n) for n in range(4)], built.manifest.context.encode(7)]
    result = builder.engine.prove(files, inputs, LIMITS)
    source, again = (
        builder.engine.evm_verifier(
            files.vk.read_bytes(), files.settings.read_bytes(), extract(files.srs), LIMITS
        )
        for _ in range(2)
    )
    return Made(
        source=source,
        again=again,
        proof_json=result.proof_json,
        proof=result.proof,
        instances=result.instances,
        contract_bytes=built.manifest.measured["contract_bytes"],
    )


def test_a_plan_for_chains_says_how_large_its_contract_is(builder: Builder) -> None:
    plan = builder.plan(tiny.linear(), samples(), Profile(target=Target.EVM)).to_json()
    assert 0 < plan["choice"]["contract_bytes"] <= 24_576
    assert plan["choice"]["contract_compiled"] == (plan["choice"]["solc"] is not None)


def test_when_every_contract_is_too_large_the_smallest_is_told(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    builder, profile = replace(builder, solc=None), Profile(target=Target.EVM)
    free = builder.plan(tiny.linear(), samples(), profile).to_json()
    smallest = free["choice"]["contract_bytes"]

    monkeypatch.setattr("circuits.plan.contract.MAX_CONTRACT_BYTES", smallest - 1000)
    with pytest.raises(ContractTooLarge) as caught:
        builder.plan(tiny.linear(), samples(), profile)
    assert caught.value.code == "contract_too_large"
    assert caught.value.context["contract_bytes"] == smallest


def test_what_comes_first_loses_where_its_contract_is_too_large(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger contracts are put first; the plan goes on to one that fits, and says why. Without a
    compiler, so that sizes are predicted ones."""
    monkeypatch.setenv("PATH", "")
    builder, profile = replace(builder, solc=None), Profile(target=Target.EVM)
    free = builder.plan(tiny.linear(), samples(), profile).to_json()
    limit = int(free["choice"]["contract_bytes"] * 1.1)
    monkeypatch.setattr("circuits.plan.contract.MAX_CONTRACT_BYTES", limit)
    monkeypatch.setattr(
        "circuits.plan.planner._rank", lambda ranked, _: (-ranked.predicted.proof_bytes,)
    )
    monkeypatch.setattr("circuits.plan.planner._CONTRACTS_TRIED", 100)
    plan = builder.plan(tiny.linear(), samples(), profile).to_json()
    assert plan["choice"]["contract_bytes"] <= limit
    losers = [r for r in plan["runners_up"] if r.get("contract_bytes", 0) > limit]
    assert losers
    assert all(r["lost"].startswith("contract of about ") for r in losers)


def test_a_compiler_that_is_named_and_not_there_is_an_error_before_planning(
    builder: Builder, tmp_path: Path
) -> None:
    with pytest.raises(SolcMissing):
        replace(builder, solc=tmp_path / "solc").plan(
            tiny.linear(), samples(), Profile(target=Target.EVM)
        )


def test_equal_keys_have_equal_contracts(made: Made) -> None:
    assert made.source == made.again


def instances_at(calldata: bytes) -> int:
    """Where the instances begin, which are the call's second argument."""
    return 4 + int.from_bytes(calldata[36:68], "big") + 32


def test_calldata_holds_the_proof_and_every_instance(builder: Builder, made: Made) -> None:
    calldata = builder.engine.evm_calldata(made.proof_json, LIMITS)
    assert calldata[:4] == SELECTOR
    assert made.proof in calldata
    words = b"".join(bytes.fromhex(felt)[::-1] for felt in made.instances)
    at = instances_at(calldata)
    assert int.from_bytes(calldata[at - 32 : at], "big") == len(made.instances)
    assert calldata[at : at + len(words)] == words


def test_a_source_tells_its_compiled_size(made: Made, solc: Solc) -> None:
    contract = solc.compile(made.source, deadline_s=60)
    assert len(contract.runtime) == made.contract_bytes
    assert predicted_size(made.source) == pytest.approx(made.contract_bytes, rel=PREDICTION_ERROR)


def test_the_contract_accepts_the_proof_and_reverts_on_any_other_instance(
    builder: Builder, made: Made, solc: Solc
) -> None:
    pyrevm = pytest.importorskip("pyrevm", reason="the extra `evm` is not installed")
    evm = pyrevm.EVM()
    sender = "0x" + "11" * 20
    evm.set_balance(sender, 10**20)
    address = evm.deploy(sender, solc.compile(made.source, deadline_s=60).creation)
    calldata = builder.engine.evm_calldata(made.proof_json, LIMITS)
    assert int.from_bytes(evm.message_call(sender, address, calldata), "big") == 1
    last = instances_at(calldata) + 31
    for instance in range(len(made.instances)):
        flipped = bytearray(calldata)
        flipped[last + 32 * instance] ^= 1
        with pytest.raises(RuntimeError, match=r"(?i)revert"):
            evm.message_call(sender, address, bytes(flipped))
