"""Makes the vectors about hints: ``python -m tests.conformance.make_hinted_vectors``.

One circuit that is given the results of its two products, under one key: proved with the right
results, and with others. The engine accepts each of these proofs, and every digest and signature
is right; ``verdicts.json`` says what a verifier must find.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from circuits.compiler import bound, given
from circuits.digests import canonical_json, sha256, sha256_file
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, Felts, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.field import from_felt, to_felt
from circuits.integers.hints import results_for
from circuits.lower import Bits, Form, GraphVariant, lower
from circuits.manifest import Accuracy, CircuitManifest, SrsRef
from circuits.profile import Profile
from circuits.rewrite import rewrite
from circuits.srs.verify_part import extract
from circuits.tensors import ContextEncoding, InputEncoding, OutputEncoding, TensorSpec
from prover.bundle import Bundle, write_bundle
from prover.commitment import input_json
from prover.context import Context
from prover.receipt import seal
from prover.statement import MeasuredError, build_statement
from tests.conformance.make_vectors import CONSUMER, EXPIRES, FOLDER, ISSUED, LIMITS, PLAN, signer
from tests.unit.test_hints import apart_of

HINTED = FOLDER / "hinted"
LOGROWS = 9
INPUT = {"x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 12)}
#: Results by which a prover errs, and what a verifier must find.
PROVERS: dict[str, tuple[Callable[[list[Felts], int], None], list[str]]] = {}


def prover(*failures: str) -> Callable[[Callable[[list[Felts], int], None]], None]:
    def register(errs: Callable[[list[Felts], int], None]) -> None:
        PROVERS[errs.__name__.replace("_", "-")] = errs, list(failures)

    return register


def add(results: Felts, place: int, by: int) -> None:
    results[place] = to_felt(from_felt(results[place]) + by)


@prover()
def right_results(results: list[Felts], apart: int) -> None:
    pass


@prover("residues")
def another_result_inside(results: list[Felts], apart: int) -> None:
    add(results[0], 0, 1)


@prover("residues")
def another_output(results: list[Felts], apart: int) -> None:
    add(results[1], 2, -5)


@prover("residues")
def outputs_that_carry(results: list[Felts], apart: int) -> None:
    """No residue is left: but one output is larger than any that the circuit has."""
    add(results[1], 0, 1 << apart)
    add(results[1], 1, -1)


def uploaded() -> bytes:
    """``relu(x·V + b)·W``, float32 [1, 12] to [1, 4]."""
    rng = np.random.default_rng(8)
    weights = {"V": (12, 6), "b": (6,), "W": (6, 4)}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "V", "b"], ["g"]),
            helper.make_node("Relu", ["g"], ["r"]),
            helper.make_node("MatMul", ["r", "W"], ["y"]),
        ],
        "two-layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def lowered() -> GraphVariant:
    float_graph = rewrite(uploaded()).onnx
    return lower(float_graph, Bits(input=5, weights=(6,)), {"x": (-1.0, 1.0)}, Form(hints=True))


def set_up(engine: EzklEngine, folder: Path) -> tuple[CircuitManifest, CircuitFiles, bytes]:
    """The circuit, its files and the graph that computes its hints."""
    variant = lowered()
    hints = given(variant)
    assert hints is not None
    rewritten = bound(variant, 1, hand_on=False)
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=LOGROWS,
        decomp_base=1 << (hints.claim.most_bits // 2),
        decomp_legs=2,
        disable_freivalds=True,
    )
    (priced,) = engine.price(rewritten, [args], LIMITS)
    if isinstance(priced, Exception):
        raise priced
    srs = folder / "srs"
    engine.generate_srs(srs, LOGROWS, LIMITS)
    engine.setup(rewritten, priced.settings, srs, folder, LIMITS)
    names = ("compiled", "vk", "pk")
    x = TensorSpec(name="x", dtype="float32", shape=(1, 12))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 4))
    manifest = CircuitManifest(
        circuit_id=sha256_file(folder / "vk"),
        model_sha256=sha256(uploaded()),
        rewritten_sha256=sha256(rewritten),
        passes=variant.passes,
        engine=engine.name,
        engine_version=engine.version,
        profile=Profile(),
        srs=SrsRef(logrows=LOGROWS, sha256=sha256_file(srs), origin="insecure-development"),
        files={
            "model": sha256(uploaded()),
            "rewritten": sha256(rewritten),
            "settings": sha256_file(folder / "settings.json"),
            "plan": sha256(PLAN),
            "hints": sha256(hints.graph),
        }
        | {name: sha256_file(folder / name) for name in names},
        inputs=(InputEncoding(tensor=x, scale=variant.input_scales[0], lower=-1.0, upper=1.0),),
        context=ContextEncoding(limbs=1, bits=248),
        outputs=(OutputEncoding(tensor=y, scale=variant.output_scales[0]),),
        proof_bytes=1,
        accuracy=Accuracy(max_error=0.01, agreement=1.0, samples=1, calibrated=True),
        hints=hints.claim,
    )
    files = CircuitFiles(
        compiled=folder / "compiled",
        settings=folder / "settings.json",
        pk=folder / "pk",
        vk=folder / "vk",
        srs=srs,
    )
    return manifest, files, hints.graph


def bundle(
    engine: EzklEngine, manifest: CircuitManifest, files: CircuitFiles, hints: bytes, name: str
) -> bytes:
    """What a prover makes who gives these results, and signs whatever comes of it."""
    context = Context(
        job_id=f"job-{name}",
        nonce="conformance",
        chain_id=1,
        consumer=CONSUMER,
        expires_at=int(EXPIRES.timestamp()),
    )
    felts = [
        [to_felt(n) for n in manifest.inputs[0].quantise(INPUT["x"])],
        manifest.context.encode(context.digest),
    ]
    results = results_for(hints, felts)
    errs, _ = PROVERS[name]
    errs(results, apart())
    proof = engine.prove(files, [*felts, *results], LIMITS)
    own = replace(manifest, proof_bytes=len(proof.proof))
    statement = build_statement(
        own,
        context=context,
        inputs=INPUT,
        proof=proof,
        srs_part=extract(files.srs),
        measured_error=MeasuredError(max_absolute=0.0, max_relative=0.0, same_top1=True),
        timings={"prove": 0.0},
        peak_rss=0,
        verifier_domain="conformance",
        worker="make_hinted_vectors",
        software={"zkml-prover": "0.1.0", "ezkl": manifest.engine_version},
        issued_at=ISSUED,
    )
    unsigned = Bundle(
        proof=proof.proof_json,
        settings=files.settings.read_bytes(),
        vk=files.vk.read_bytes(),
        srs_part=extract(files.srs),
        manifest=canonical_json(own.to_json()),
        plan=PLAN,
        input=input_json(manifest.inputs, INPUT),
    )
    return write_bundle(seal(statement, unsigned, signer(1)))


def apart() -> int:
    """By how many bits the results of the last product lie apart."""
    made = lowered().hinted
    assert made is not None
    return apart_of(made, 1)


def main() -> None:
    HINTED.mkdir(exist_ok=True)
    sandbox = Sandbox()
    with tempfile.TemporaryDirectory() as scratch:
        engine = EzklEngine(sandbox)
        circuit = set_up(engine, Path(scratch))
        for name in PROVERS:
            data = bundle(engine, *circuit, name)
            (HINTED / f"{name}.zkml").write_bytes(data)
            print(f"{name}: {len(data)} bytes")
    sandbox.close()
    verdicts = [{"file": f"{n}.zkml", "failures": failures} for n, (_, failures) in PROVERS.items()]
    (HINTED / "verdicts.json").write_text(json.dumps(verdicts, indent=1) + "\n")


if __name__ == "__main__":
    main()
