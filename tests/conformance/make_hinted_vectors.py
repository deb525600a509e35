"""Makes the vectors about hints: ``python -m tests.conformance.make_hinted_vectors``.

Circuits that are given the results of their products: proved with the right results, and with
others. The engine accepts each of these proofs, and every digest and signature
is right; ``verdicts.json`` says what a verifier must find.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from onnx import numpy_helper, parser

from circuits.compiler.process import given, lay_out
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.format.digests import canonical_json, sha256, sha256_file
from circuits.format.field import Felts, from_felt, to_felt
from circuits.format.hints import challenge
from circuits.format.manifest import Accuracy, CircuitManifest, SrsRef
from circuits.format.profile import Profile, Visibility
from circuits.format.tensors import ContextEncoding, InputEncoding, OutputEncoding, TensorSpec
from circuits.integers.hint_values import results_for
from circuits.lower import BitWidths, GraphVariant, LoweringOptions, lower
from circuits.rewrite import rewrite
from circuits.srs.verify_part import extract
from prover.statement.bundle import Bundle, write_bundle
from prover.statement.commitment import input_json
from prover.statement.context import Context
from prover.statement.envelope import sign_bundle
from prover.statement.statement import MeasuredError, build_statement
from tests.cases.hints import apart_of, packings
from tests.conformance.make_vectors import CONSUMER, EXPIRES, FOLDER, ISSUED, LIMITS, PLAN, signer

HINTED = FOLDER / "hinted"


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """A model of input x and output y, and the circuit that is made of it."""

    body: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    weights: Mapping[str, tuple[int, ...]]
    logrows: int

    def uploaded(self) -> bytes:
        """The model as a user would upload it."""
        shapes = [",".join(map(str, shape)) for shape in (self.input, self.output)]
        model = parser.parse_model(
            f'<ir_version: 8, opset_import: ["" : 17]>'
            f" g (float[{shapes[0]}] x) => (float[{shapes[1]}] y) {{ {self.body} }}"
        )
        rng = np.random.default_rng(8)
        for name, shape in self.weights.items():
            values = rng.normal(size=shape).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(values, name))
        return bytes(model.SerializeToString())

    def lowered(self) -> GraphVariant:
        """Its graph of integers."""
        bits, accepted = BitWidths(input=5, weights=(6,)), {"x": (-1.0, 1.0)}
        return lower(rewrite(self.uploaded()).onnx, bits, accepted, LoweringOptions(hints=True))

    @property
    def values(self) -> dict[str, np.ndarray]:
        """What it is proved on."""
        count = int(np.prod(self.input))
        return {"x": np.linspace(-1, 1, count, dtype=np.float32).reshape(self.input)}


#: Both products packed.
DENSE = Circuit(
    body="g = Gemm(x, V, b) r = Relu(g) y = MatMul(r, W)",
    input=(1, 12),
    output=(1, 4),
    weights={"V": (12, 6), "b": (6,), "W": (6, 4)},
    logrows=9,
)
#: So many windows that the first product is challenged; the second is packed.
WINDOWS = Circuit(
    body="c = Conv<kernel_shape = [2, 2], strides = [1, 1]>(x, K) r = Relu(c)"
    " f = Flatten(r) y = MatMul(f, W)",
    input=(1, 1, 5, 5),
    output=(1, 3),
    weights={"K": (40, 1, 2, 2), "W": (640, 3)},
    logrows=13,
)
Results = list[Felts]
#: How a prover errs, given the results, by how many bits the last product's lie apart and how the
#: challenge is made; for which circuit; and what a verifier must find.
Errs = Callable[[Results, int, Callable[[Results], str]], None]
PROVERS: dict[str, tuple[Circuit, Errs, list[str]]] = {}


def prover(circuit: Circuit, *failures: str) -> Callable[[Errs], None]:
    def register(errs: Errs) -> None:
        PROVERS[errs.__name__.replace("_", "-")] = circuit, errs, list(failures)

    return register


def add(results: Felts, place: int, by: int) -> None:
    results[place] = to_felt(from_felt(results[place]) + by)


@prover(DENSE)
def right_results(results: Results, apart: int, challenge: Callable[[Results], str]) -> None:
    pass


@prover(DENSE, "residues")
def another_result_inside(
    results: Results, apart: int, challenge: Callable[[Results], str]
) -> None:
    add(results[0], 0, 1)


@prover(DENSE, "residues")
def another_output(results: Results, apart: int, challenge: Callable[[Results], str]) -> None:
    add(results[1], 2, -5)


@prover(DENSE, "residues")
def outputs_that_carry(results: Results, apart: int, challenge: Callable[[Results], str]) -> None:
    """No residue is left: but one output is larger than any that the circuit has."""
    add(results[1], 0, 1 << apart)
    add(results[1], 1, -1)


@prover(WINDOWS)
def right_results_challenged(
    results: Results, apart: int, challenge: Callable[[Results], str]
) -> None:
    pass


@prover(WINDOWS, "residues")
def another_result_challenged(
    results: Results, apart: int, challenge: Callable[[Results], str]
) -> None:
    """The challenge is that of the results given: residues are left."""
    add(results[0], 0, 1)
    results[-1] = [challenge(results[:-1])]


@prover(WINDOWS, "residues")
def a_challenge_of_ones_own(
    results: Results, apart: int, challenge: Callable[[Results], str]
) -> None:
    """Errors of two groups that cancel out under it, in a row where both results are rectified
    away: no residue is left at all."""
    own, filters = 5, WINDOWS.weights["K"][0]
    made = WINDOWS.lowered().hinted
    assert made is not None
    second = packings(made, "Mul")[0].index(1, 1)
    numbers = [from_felt(felt) for felt in results[0]]
    row = next(
        row
        for row in range(0, len(numbers), filters)
        if numbers[row] < -own and numbers[row + second] < 0
    )
    add(results[0], row, own)
    add(results[0], row + second, -1)
    results[-1] = [to_felt(own)]


def set_up(
    engine: EzklEngine, circuit: Circuit, folder: Path
) -> tuple[CircuitManifest, CircuitFiles, bytes]:
    """The circuit, its files and the graph that computes its hints."""
    variant = circuit.lowered()
    hints = given(variant)
    assert hints is not None
    rewritten = lay_out(variant, {}, 1, Visibility.PUBLIC).onnx
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=circuit.logrows,
        decomp_base=1 << (hints.claim.most_bits // 2),
        decomp_legs=2,
    )
    (priced,) = engine.measure_layout(rewritten, [args], LIMITS)
    if isinstance(priced, Exception):
        raise priced
    srs = folder / "srs"
    engine.generate_srs(srs, circuit.logrows, LIMITS)
    engine.setup(rewritten, priced.settings, srs, folder, LIMITS)
    names = ("compiled", "vk", "pk")
    x = TensorSpec(name="x", dtype="float32", shape=circuit.input)
    y = TensorSpec(name="y", dtype="float32", shape=circuit.output)
    manifest = CircuitManifest(
        circuit_id=sha256_file(folder / "vk"),
        model_sha256=sha256(circuit.uploaded()),
        rewritten_sha256=sha256(rewritten),
        passes=variant.passes,
        engine=engine.name,
        engine_version=engine.version,
        profile=Profile(),
        srs=SrsRef(logrows=circuit.logrows, sha256=sha256_file(srs), origin="insecure-development"),
        files={
            "model": sha256(circuit.uploaded()),
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
    """The bundle of a prover with these hints, signed even if it is invalid."""
    context = Context(
        job_id=f"job-{name}",
        nonce="conformance",
        chain_id=1,
        consumer=CONSUMER,
        expires_at=int(EXPIRES.timestamp()),
    )
    circuit, errs, _ = PROVERS[name]
    shown = [to_felt(n) for n in manifest.inputs[0].quantise(circuit.values["x"])]
    felts = [shown, manifest.context.encode(context.digest)]
    key = files.vk.read_bytes()
    results = results_for(hints, felts, key)
    made = circuit.lowered().hinted
    assert made is not None
    assert made.challenged == (circuit is WINDOWS)
    errs(results, apart_of(made, -1), lambda told: challenge(key, [shown, *told]))
    proof = engine.prove(files, [*felts, *results], LIMITS)
    own = replace(manifest, proof_bytes=len(proof.proof))
    statement = build_statement(
        own,
        context=context,
        inputs=circuit.values,
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
        input=input_json(manifest.inputs, circuit.values),
    )
    return write_bundle(sign_bundle(statement, unsigned, signer(1)))


def main() -> None:
    HINTED.mkdir(exist_ok=True)
    sandbox = Sandbox()
    engine = EzklEngine(sandbox)
    for circuit in (DENSE, WINDOWS):
        with tempfile.TemporaryDirectory() as scratch:
            built = set_up(engine, circuit, Path(scratch))
            for name in (n for n, (proved, *_) in PROVERS.items() if proved is circuit):
                data = bundle(engine, *built, name)
                (HINTED / f"{name}.zkml").write_bytes(data)
                print(f"{name}: {len(data)} bytes")
    sandbox.close()
    verdicts = [
        {"file": f"{name}.zkml", "failures": failures} for name, (*_, failures) in PROVERS.items()
    ]
    (HINTED / "verdicts.json").write_text(json.dumps(verdicts, indent=1) + "\n")


if __name__ == "__main__":
    main()
