"""Verifier contracts of real circuits and their guards: written offline, compiled, and run on real
proofs and on forged calldata.

What needs the Solidity compiler is left out where it is not installed (``ZKML_SOLC`` or PATH names
it); ``tests/conformance/test_evm_vectors.py`` does without.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from circuits.calibration.samples import Samples, draw
from circuits.compiler.build import Builder, BuiltCircuit
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles
from circuits.evm import guard as guards
from circuits.evm.contract import PREDICTION_ERROR, predicted_size
from circuits.evm.errors import ContractTooLarge, SolcMissing
from circuits.evm.guard import COMPILED, SOURCE, Guard, compile_guards
from circuits.evm.solc import Solc
from circuits.format.field import to_felt
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Argument, Profile, Target, Visibility
from circuits.format.tensors import Signature, TensorSpec
from circuits.plan.effort import Effort
from circuits.srs.files import Policy, SrsFolder
from circuits.srs.verify_part import extract
from tests.cases import tiny
from tests.conformance.make_evm_vectors import VECTOR
from tests.conftest import LIMITS

#: A verifier contract of the engine alone: circuits with committed hints have a guard of their own.
EVM = Profile(target=Target.EVM, argument=Argument.PLAIN)

pytestmark = pytest.mark.slow


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
        pytest.skip(f"{error.detail}: {error.advice}")


@dataclass(frozen=True)
class Made:
    """A proof of a circuit, and its contract's source, written twice."""

    source: str
    again: str
    manifest: CircuitManifest
    srs: Path
    proof: bytes
    instances: list[str]

    @property
    def contract_bytes(self) -> int:
        return int(self.manifest.measured["contract_bytes"])


def circuit_files(built: BuiltCircuit) -> CircuitFiles:
    files = built.files
    return CircuitFiles(
        compiled=files["compiled"],
        settings=files["settings"],
        pk=files["pk"],
        vk=files["vk"],
        srs=files["srs"],
        salt=built.manifest.salt,
    )


def source_of(builder: Builder, files: CircuitFiles) -> str:
    """The contract that EZKL writes."""
    vk, settings = files.vk.read_bytes(), files.settings.read_bytes()
    return builder.engine.evm_verifier(vk, settings, extract(files.srs), LIMITS)


@pytest.fixture(scope="module")
def made(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Made:
    out = tmp_path_factory.mktemp("evm")
    built = builder.build(tiny.linear(), samples(), EVM, out)
    files = circuit_files(built)
    inputs = [[to_felt(n) for n in range(4)], built.manifest.context.encode(7)]
    result = builder.engine.prove(files, inputs, LIMITS)
    source, again = (source_of(builder, files) for _ in range(2))
    return Made(
        source=source,
        again=again,
        manifest=built.manifest,
        srs=files.srs,
        proof=result.proof,
        instances=result.instances,
    )


def test_a_plan_for_chains_says_how_large_its_contract_is(builder: Builder) -> None:
    plan = builder.plan(tiny.linear(), samples(), EVM).to_json()
    assert 0 < plan["choice"]["contract_bytes"] <= 24_576
    assert plan["choice"]["contract_compiled"] == (plan["choice"]["solc"] is not None)


@pytest.mark.long
def test_when_every_contract_is_too_large_the_smallest_is_told(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    builder, profile = replace(builder, solc=None), EVM
    free = builder.plan(tiny.linear(), samples(), profile).to_json()
    smallest = free["choice"]["contract_bytes"]

    monkeypatch.setattr("circuits.plan.lowered_candidates.MAX_CONTRACT_BYTES", smallest - 1000)
    with pytest.raises(ContractTooLarge) as caught:
        builder.plan(tiny.linear(), samples(), profile)
    assert caught.value.code == "contract_too_large"
    assert caught.value.context["contract_bytes"] == smallest


@pytest.mark.long
def test_what_comes_first_loses_where_its_contract_is_too_large(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger contracts are put first; the plan continues to one that fits, and says why. Without a
    compiler, so that sizes are predicted ones."""
    monkeypatch.setenv("PATH", "")
    builder, profile = replace(builder, solc=None), EVM
    free = builder.plan(tiny.linear(), samples(), profile).to_json()
    limit = int(free["choice"]["contract_bytes"] * 1.1)
    monkeypatch.setattr("circuits.plan.lowered_candidates.MAX_CONTRACT_BYTES", limit)
    monkeypatch.setattr(
        "circuits.plan.planner._rank", lambda ranked, _: (-ranked.predicted.proof_bytes,)
    )
    monkeypatch.setattr("circuits.plan.planner._CONTRACTS_TRIED", 100)
    plan = builder.plan(tiny.linear(), samples(), profile).to_json()
    assert plan["choice"]["contract_bytes"] <= limit
    losers = [r for r in plan["runners_up"] if r.get("contract_bytes", 0) > limit]
    assert losers
    assert all(r["rejected_because"].startswith("contract of about ") for r in losers)


def test_a_compiler_that_is_named_and_not_there_is_an_error_before_planning(
    builder: Builder, tmp_path: Path
) -> None:
    with pytest.raises(SolcMissing):
        replace(builder, solc=tmp_path / "solc").plan(tiny.linear(), samples(), EVM)


def test_equal_keys_have_equal_contracts(made: Made) -> None:
    assert made.source == made.again


def test_a_source_predicts_its_compiled_size(made: Made, solc: Solc) -> None:
    contract = solc.compile(made.source, deadline_s=60)
    assert len(contract.runtime) == made.contract_bytes
    assert predicted_size(made.source) == pytest.approx(made.contract_bytes, rel=PREDICTION_ERROR)


def test_a_private_input_beyond_its_range_is_refused_by_the_guard_alone(
    builder: Builder, solc: Solc, tmp_path: Path
) -> None:
    """The circuit shows by a residue that the input is too large; EZKL's contract takes any."""
    evm_forgery = pytest.importorskip("tests.cases.evm_forgery")
    profile = Profile(target=Target.EVM, visibility=Visibility.PRIVATE_INPUT)
    built = builder.build(tiny.linear(), samples(), profile, tmp_path)
    manifest, files = built.manifest, circuit_files(built)
    guard, chain = Guard.of(manifest), evm_forgery.Chain()
    contract = solc.compile(source_of(builder, files), deadline_s=60)
    verifier = chain.deploy(contract.creation)
    address = chain.deploy(guard.creation(verifier, contract.runtime))
    (verify,) = contract.selectors.values()
    (x,) = manifest.inputs
    high = round(x.upper * 2**x.scale)
    for value, inside in ((high, True), (high + 1, False)):
        inputs = [[to_felt(n) for n in (value, 0, 0, 0)], manifest.context.encode(7)]
        made = builder.engine.prove(files, inputs, LIMITS)
        numbers = [int.from_bytes(bytes.fromhex(felt), "little") for felt in made.instances]
        assert chain.accepts(verifier, evm_forgery.calldata(verify, made.proof, numbers))
        assert chain.accepts(address, guard.calldata(made.proof, made.instances)) is inside


def test_guards_are_compiled_from_their_source(solc: Solc) -> None:
    """The packaged bytecode is what solc makes of the packaged source."""
    kept = json.loads(COMPILED.read_text(encoding="utf-8"))
    assert kept == {"solc": kept["solc"], **compile_guards(solc, deadline_s=60)}


def test_the_guard_accepts_the_proof_and_refuses_what_the_contract_alone_would_not(
    made: Made, solc: Solc
) -> None:
    evm_forgery = pytest.importorskip("tests.cases.evm_forgery")
    calldata, shifted = evm_forgery.calldata, evm_forgery.shifted
    chain = evm_forgery.Chain()
    contract = solc.compile(made.source, deadline_s=60)
    guard = Guard.of(made.manifest)
    verifier = chain.deploy(contract.creation)
    address = chain.deploy(guard.creation(verifier, contract.runtime))
    call = guard.calldata(made.proof, made.instances)
    assert chain.accepts(address, call)

    check, (verify,) = call[:4], contract.selectors.values()
    instances = [int.from_bytes(bytes.fromhex(felt), "little") for felt in made.instances]
    for at in range(len(instances)):
        other = [n ^ (i == at) for i, n in enumerate(instances)]
        assert not chain.accepts(address, calldata(check, made.proof, other))

    chosen = [[0] * len(instances)]
    body, decoy = evm_forgery.forge(
        chain, verifier, verify, len(made.proof), chosen, evm_forgery.s_of(made.srs)
    )
    assert chain.accepts(verifier, shifted(verify, body, *chosen, decoy=decoy))
    refused = chain.refusal(address, shifted(check, body, *chosen, decoy=decoy))
    assert refused == chain.error("NotCanonical()")
    refused = chain.refusal(address, calldata(check, body, *chosen))
    assert refused == chain.error("ProofRefused()")


#: A guard of committed hints without each of its checks: text of its source, and what takes its
#: place there.
MUTATIONS = {
    "encoding": ("_checkEncoding(4, proof, instances, (input.length + 1) * 0x20);", ""),
    "input's place": ("if (inputAt != instancesEnd + 0x20) revert NotCanonical();", ""),
    "input's length": ("if (input.length != inputCount) revert WrongLength();", ""),
    "instances": ("_checkInstances(instances);\n        _checkChallenges(", "_checkChallenges("),
    "challenges": ("        _checkChallenges(proof, instances, context, input);\n", ""),
    "verifier": (
        "_checkVerifier();\n        try IVerifier(verifier).verifyProof(proof, instances) returns"
        " (bool accepted) {\n            if (accepted) return true;\n        } catch {}\n"
        "        revert ProofRefused();\n    }\n\n    function _checkChallenges",
        "try IVerifier(verifier).verifyProof(proof, instances) returns"
        " (bool accepted) {\n            if (accepted) return true;\n        } catch {}\n"
        "        revert ProofRefused();\n    }\n\n    function _checkChallenges",
    ),
    "first challenge": ('_challenge(instances, 0, seed, "output");', ""),
    "second challenge": ('_challenge(instances, 1, seed, "row");', ""),
    "third challenge": ('_challenge(instances, 2, seed, "column");', ""),
    "challenge's value": ("challenge == 0 || instances[index] != 2 * challenge", "challenge == 0"),
    "evaluation": (
        "inputCount != 0 && instances[CHALLENGES] !=",
        "false && instances[CHALLENGES] !=",
    ),
    "input below the modulus": (
        "value >= R || addmod(value, shift, R) > span) revert InputRefused",
        "addmod(value, shift, R) > span) revert InputRefused",
    ),
    "input's range": (
        "|| addmod(value, shift, R) > span) revert InputRefused",
        ") revert InputRefused",
    ),
    "context": ("sha256(abi.encode(context))", "sha256(abi.encode(inputCount))"),
    "input": ('bytes("private") : _told(input)', 'bytes("private") : bytes("public")'),
    "commitments": ("sha256(proof[:committedBytes])", "sha256(proof[:0])"),
    "all commitments": ("sha256(proof[:committedBytes])", "sha256(proof[:committedBytes - 64])"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_check_of_a_guard_of_committed_hints_is_needed(
    solc: Solc, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    case = pytest.importorskip("tests.cases.committed_guard")
    source = SOURCE.read_text(encoding="utf-8")
    old, new = MUTATIONS[name]
    assert source.count(old) == 1
    made = solc.compile(source.replace(old, new), 60, "CommittedVerifierGuard")
    compiled = json.loads(COMPILED.read_text(encoding="utf-8"))
    compiled["CommittedVerifierGuard"]["creation"] = made.creation.hex()
    monkeypatch.setattr(guards, "_compiled", lambda: compiled)
    seen = json.loads(VECTOR.read_bytes())["committed"]
    found = [case.findings(case.Deployed.of(seen[kind])) for kind in ("private", "public")]
    assert any(found)
