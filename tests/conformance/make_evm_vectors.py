"""Makes ``circuits/evm/guard.json`` and the vectors about verifier contracts:
``python -m tests.conformance.make_evm_vectors`` (needs solc 0.8.20: ``ZKML_SOLC`` or PATH).

One circuit, its verifier and the reusable one as EZKL writes them, compiled, and proofs for them.
So the tests need no compiler.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ezkl

from circuits.calibration.samples import draw
from circuits.compiler.build import Builder
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles
from circuits.engine.sandbox import Sandbox
from circuits.evm.guard import COMPILED, Guard, compile_guards, read_vka
from circuits.evm.solc import Solc
from circuits.format.digests import canonical_json
from circuits.format.field import to_felt
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Profile, Target, Visibility
from circuits.format.tensors import Signature, TensorSpec
from circuits.plan.effort import Effort
from circuits.srs.files import Policy, SrsFolder
from circuits.srs.verify_part import extract
from prover.statement.context import Context
from tests.cases import tiny
from tests.cases.committed import X, committed
from tests.cases.evm_forgery import s_of
from tests.conftest import LIMITS

VECTOR = Path(__file__).parent / "vectors" / "evm.json"
#: Inputs of ``tiny.linear``, at scale 7: an ordinary one, one whose outputs are all zero, one just
#: beyond what the circuit accepts (3.0).
INPUTS = {"proof": [64, -32, 128, 200], "zeros": [0, 0, 0, -256], "beyond": [385, 0, 0, 0]}
CONTEXT = 7
#: What dishonest provers do whose proofs a verifier contract accepts.
BENDS = ("quotient", "challenges", "no challenge")


def main() -> None:
    named = os.environ.get("ZKML_SOLC")
    solc = Solc.find(Path(named) if named else None)
    guards = {"solc": solc.version.partition(".Em")[0], **compile_guards(solc, 60)}
    COMPILED.write_text(json.dumps(guards, indent=2) + "\n", encoding="utf-8")
    sandbox = Sandbox(nice=0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            vector = _vector(EzklEngine(sandbox), solc, Path(folder))
    finally:
        sandbox.close()
    VECTOR.write_bytes(canonical_json(vector) + b"\n")


def _vector(engine: EzklEngine, solc: Solc, folder: Path) -> dict[str, Any]:
    srs, out = folder / "srs", folder / "circuit"
    srs.mkdir()
    for logrows in range(6, 12):
        engine.generate_srs(srs / f"dev{logrows}.srs", logrows, LIMITS)
    builder = Builder(
        engine=engine,
        srs=SrsFolder(srs),
        policy=Policy.DEVELOPMENT,
        limits=LIMITS,
        effort=Effort.FAST,
        solc=solc.path,
    )
    circuit, other = (
        _circuit(builder, scale, out / name) for name, scale in (("one", 1.0), ("other", 2.0))
    )
    contracts = {
        "verifier": solc.compile(
            engine.evm_verifier(
                circuit.files.vk.read_bytes(),
                circuit.files.settings.read_bytes(),
                extract(circuit.files.srs),
                LIMITS,
            ),
            60,
        ),
        "reusable": solc.compile(_reusable(circuit.files, folder), 60, "Halo2VerifierReusable"),
    }
    seen = {
        name: _committed(builder, solc, folder / name, visibility)
        for name, visibility in (
            ("private", Visibility.PRIVATE_INPUT),
            ("public", Visibility.PUBLIC),
        )
    }
    selectors = contracts["reusable"].selectors
    guard = Guard.of(circuit.manifest)
    return {
        "proof_bytes": guard.proof_bytes,
        "accepted": [[a.count, a.bounds] for a in guard.accepted],
        "s": [f"{n:x}" for n in s_of(circuit.files.srs)],
        "register": selectors["registerVka(bytes32[])"].hex(),
        "contracts": {
            name: {
                "creation": made.creation.hex(),
                "verify": next(
                    four.hex()
                    for call, four in made.selectors.items()
                    if call.startswith("verifyProof(")
                ),
            }
            for name, made in contracts.items()
        },
        "vka": _vka(circuit.files, folder).hex(),
        "proofs": {name: _prove(engine, circuit, values) for name, values in INPUTS.items()},
        "other_vka": _vka(other.files, folder).hex(),
        "other_proof": _prove(engine, other, INPUTS["proof"]),
        "committed": seen,
    }


def _committed(builder: Builder, solc: Solc, out: Path, visibility: Visibility) -> dict[str, Any]:
    """A circuit with committed hints: its verifier and guard, and proofs of honest and other
    provers."""
    (out / "circuit").mkdir(parents=True)
    made = committed(
        builder.engine, builder.srs.folder, out / "circuit", visibility, target=Target.EVM
    )
    manifest, files = made.built.manifest, made.files
    part = extract(files.srs)
    source = builder.engine.evm_verifier(
        files.vk.read_bytes(), files.settings.read_bytes(), part, LIMITS
    )
    contract = solc.compile(source, 60)
    (verify,) = contract.selectors.values()
    guard = Guard.of(manifest, srs_part=part)
    assert guard.challenged is not None
    context = Context(job_id="job")
    proofs = {"honest": made.honest(X, contexts=[context])}
    for bend in BENDS:
        folder = out / bend.replace(" ", "-")
        folder.mkdir()
        proofs[bend] = made.dishonest(folder, X, contexts=[context], bend=bend)
    high = manifest.inputs[0].upper
    inputs = {name: [to_felt(n) for n in manifest.inputs[0].quantise(X)] for name in proofs}
    if visibility is Visibility.PUBLIC:  # the circuit proves it: the guard bounds the input
        numbers = manifest.inputs[0].quantise(X)
        numbers[0] = round(high * 2 ** manifest.inputs[0].scale) + 1
        inputs["beyond"] = [to_felt(n) for n in numbers]
        proofs["beyond"] = builder.engine.prove(
            files, [inputs["beyond"], manifest.context.encode(context.digest)], LIMITS
        )
    return {
        "guard": {
            "proof_bytes": guard.proof_bytes,
            "accepted": [[a.count, a.bounds] for a in guard.accepted],
            "challenged": {
                **asdict(guard.challenged),
                "inputs": [guard.challenged.inputs.count, guard.challenged.inputs.bounds],
            },
        },
        "context": f"{context.digest:x}",
        "s": [f"{n:x}" for n in s_of(files.srs)],
        "creation": contract.creation.hex(),
        "verify": verify.hex(),
        "proofs": {
            name: {
                "proof": proof.proof.hex(),
                "instances": proof.instances,
                "inputs": inputs[name] if visibility is Visibility.PUBLIC else [],
            }
            for name, proof in proofs.items()
        },
    }


@dataclass(frozen=True, kw_only=True)
class Circuit:
    manifest: CircuitManifest
    files: CircuitFiles


def _circuit(builder: Builder, scale: float, out: Path) -> Circuit:
    out.mkdir(parents=True)
    x = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 3))
    samples = draw(Signature(inputs=(x,), outputs=(y,)), {"x": (-2.0, 2.0)})
    built = builder.build(tiny.linear(scale=scale), samples, Profile(target=Target.EVM), out)
    files = CircuitFiles(
        compiled=built.files["compiled"],
        settings=built.files["settings"],
        pk=built.files["pk"],
        vk=built.files["vk"],
        srs=built.files["srs"],
    )
    return Circuit(manifest=built.manifest, files=files)


def _prove(engine: EzklEngine, circuit: Circuit, values: list[int]) -> dict[str, Any]:
    context = circuit.manifest.context.encode(CONTEXT)
    result = engine.prove(circuit.files, [[to_felt(n) for n in values], context], LIMITS)
    return {"proof": result.proof.hex(), "instances": result.instances}


def _reusable(files: CircuitFiles, folder: Path) -> str:
    """The reusable verifier's source. The engine wants its own compiler and downloads it: not
    here, and it has written the source by then."""
    vk, settings, srs = str(files.vk), str(files.settings), str(files.srs)
    source, abi = folder / "reusable.sol", str(folder / "abi")
    os.environ.update(dict.fromkeys(("HOME", "XDG_DATA_HOME"), str(folder)))
    os.environ.update(dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"))

    async def make() -> None:
        with contextlib.suppress(RuntimeError):
            await ezkl.create_evm_verifier(vk, settings, str(source), abi, srs, True)

    asyncio.run(make())
    return source.read_text(encoding="utf-8")


def _vka(files: CircuitFiles, folder: Path) -> bytes:
    """A circuit's key for the reusable verifier."""
    vk, settings, srs, vka = str(files.vk), str(files.settings), str(files.srs), folder / "vka"

    async def make() -> None:
        create: Any = ezkl.create_evm_vka  # its stub lacks the last argument, the decimals
        await create(vk, settings, str(vka), srs, 0)

    asyncio.run(make())
    return read_vka(vka.read_bytes())


if __name__ == "__main__":
    main()
