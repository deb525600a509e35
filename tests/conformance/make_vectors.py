"""Makes the conformance vectors with the real engine: ``python -m tests.conformance.make_vectors``.

One tiny circuit for each visibility that circuits are built for, one for the conservative profile,
one of another model and one of two lanes, each proved, signed and bundled. The signing keys are
made from seeds in this file: they are test keys and guard nothing. The reference string is a
generated one, so every bundle is labelled insecure-development. (``hashed-weights`` and
``private-weights`` are an older compiler's, and stay as they are.)
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper
from securesystemslib.signer import CryptoSigner

from circuits.batching.felts import join
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, Limits, ProofResult, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.format.digests import canonical_json, sha256, sha256_file
from circuits.format.field import to_felt
from circuits.format.hidden import Hidden
from circuits.format.manifest import Accuracy, AppliedPass, CircuitManifest, SrsRef
from circuits.format.profile import Profile, Soundness, Visibility
from circuits.format.tensors import ContextEncoding, InputEncoding, OutputEncoding, TensorSpec
from circuits.lower.graphs import context_encoding
from circuits.rewrite.hidden_values import Bound, bound_inputs
from circuits.srs.verify_part import extract
from prover.statement.bundle import Bundle, write_bundle
from prover.statement.commitment import input_json
from prover.statement.context import Context
from prover.statement.envelope import sign_bundle
from prover.statement.keys import PublicKey
from prover.statement.statement import MeasuredError, build_statement, decode_outputs

FOLDER = Path(__file__).parent / "vectors"
ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
CONSUMER = "0x00000000000000000000000000000000000c0de5"
SALT = bytes(range(32))
INPUT = {"x": np.array([[1.0, -2.0, 0.5, 3.0]], dtype=np.float32)}
SCALE = 7
LOWER, UPPER = -4.0, 4.0
BOUND = Bound(name="x", low=int(LOWER) << SCALE, high=int(UPPER) << SCALE, scale=SCALE)
LOGROWS = 10
PLAN = canonical_json({"chosen": "fixed by the vector script"})
LIMITS = Limits(deadline_s=120, memory_bytes=4 << 30)


def signer(seed: int) -> CryptoSigner:
    """A signing key that everybody can make."""
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def public_key(seed: int) -> PublicKey:
    """Its public half."""
    return replace(PublicKey.of(signer(seed).public_key), created_at="2026-01-01T00:00:00Z")


def uploaded(seed: int, rows: int = 1) -> bytes:
    """``relu(x·W + b)``, float32 [1, 4] to [1, 3]: the model as a user would upload it, or with a
    row for each lane."""
    rng = np.random.default_rng(seed)
    weights = numpy_helper.from_array(rng.normal(size=(4, 3)).astype(np.float32), "W")
    bias = numpy_helper.from_array(rng.normal(size=3).astype(np.float32), "b")
    nodes = [
        helper.make_node("Gemm", ["x", "W", "b"], ["g"]),
        helper.make_node("Relu", ["g"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 3])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [weights, bias])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    proto.ir_version = 8
    return bytes(proto.SerializeToString())


def with_context(model: bytes, limbs: int, shows_input: bool, rows: int = 1) -> bytes:
    """The model with a context input that no operator uses.

    Where the inputs are not shown, the context is handed on as the first output instead.
    """
    proto = onnx.load_from_string(model)
    shape = [rows, limbs]
    proto.graph.input.append(helper.make_tensor_value_info("context", TensorProto.FLOAT, shape))
    if not shows_input:
        proto.graph.node.append(helper.make_node("Identity", ["context"], ["context_out"]))
        carried = helper.make_tensor_value_info("context_out", TensorProto.FLOAT, shape)
        proto.graph.output.insert(0, carried)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def reference(seed: int, x: np.ndarray) -> np.ndarray:
    """The model's output in float32 arithmetic."""
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=3)
    return np.maximum(x @ weights + bias.astype(np.float32), 0)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A vector to be made."""

    name: str
    visibility: Visibility = Visibility.PUBLIC
    soundness: Soundness = Soundness.STANDARD
    seed: int = 4
    carries_model: bool = False
    lanes: int = 1
    bounded: bool = True  # what is not shown; circuits of older compilers did not do it

    @property
    def context(self) -> ContextEncoding:
        return context_encoding(self.profile)

    @property
    def profile(self) -> Profile:
        return Profile(visibility=self.visibility, soundness=self.soundness)

    @property
    def hidden(self) -> Hidden | None:
        """What the circuit enforces of what its proofs do not show."""
        if not self.bounded:
            return None
        return None if self.visibility.shows_input else Hidden(inputs="digits")


CASES = (
    Case(name="public", carries_model=True),
    Case(name="conservative", soundness=Soundness.CONSERVATIVE),
    Case(name="private-input", visibility=Visibility.PRIVATE_INPUT),
    Case(name="hashed-input", visibility=Visibility.HASHED_INPUT),
    Case(name="other-model", seed=7),
)
#: Two inputs that share a proof, and so two bundles.
WIDE = Case(name="wide", lanes=2)


def run_args(case: Case) -> RunArgs:
    """The engine settings of a case."""
    return RunArgs(
        input_scale=SCALE,
        param_scale=SCALE,
        scale_rebase_multiplier=1,
        logrows=LOGROWS,
        decomp_base=64,
        decomp_legs=4,
        lookup_range=(-10, 10),
        ignore_range_check_inputs_outputs=not case.profile.checks_ranges,
        input_visibility=case.visibility.engine_input,
    )


def lane_input(lane: int) -> dict[str, np.ndarray]:
    """What each lane is about; lane 0 is what the circuits of one lane are about."""
    return {"x": INPUT["x"] + np.float32(0.25 * lane)}


def lane_context(case: Case, lane: int) -> Context:
    """For whom."""
    return Context(
        job_id=f"job-{case.name}" + (f"-{lane}" if case.lanes > 1 else ""),
        nonce="conformance",
        chain_id=1,
        consumer=CONSUMER,
        expires_at=int(EXPIRES.timestamp()),
    )


def set_up(
    case: Case, engine: EzklEngine, srs: Path, folder: Path
) -> tuple[CircuitManifest, CircuitFiles]:
    """The circuit of a case, in a folder; nothing is proved, so ``proof_bytes`` is not known."""
    lanes, shown = case.lanes, case.visibility.shows_input
    rewritten = with_context(uploaded(case.seed, lanes), case.context.limbs, shown, lanes)
    if case.bounded and not case.visibility.shows_input:
        rewritten = bound_inputs(rewritten, [BOUND], by_table=False)
    (layout,) = engine.measure_layout(rewritten, [run_args(case)], LIMITS)
    if isinstance(layout, Exception):
        raise layout
    engine.setup(rewritten, layout.settings, srs, folder, LIMITS)
    residues = case.hidden.residues if case.hidden else 0
    scale = layout.output_scales[-1 - residues]  # residues come last
    manifest = describe(case, engine, srs, folder, rewritten, scale)
    files = CircuitFiles(
        compiled=folder / "compiled",
        settings=folder / "settings.json",
        pk=folder / "pk",
        vk=folder / "vk",
        srs=srs,
    )
    return manifest, files


def encoded(case: Case, manifest: CircuitManifest, lane: int = 0) -> list[list[str]]:
    """What goes into a lane: the input and the context."""
    felts = [to_felt(n) for n in manifest.inputs[0].quantise(lane_input(lane)["x"])]
    return [felts, case.context.encode(lane_context(case, lane).digest)]


def make(case: Case, engine: EzklEngine, srs: Path, folder: Path) -> list[bytes]:
    """The bundles of one case: one for each lane, about one proof."""
    manifest, files = set_up(case, engine, srs, folder)
    rows = [encoded(case, manifest, lane) for lane in range(case.lanes)]
    proof = engine.prove(files, join(rows), LIMITS)
    manifest = replace(manifest, proof_bytes=len(proof.proof))
    return [bundle(case, lane, manifest, files, proof) for lane in range(case.lanes)]


def bundle(
    case: Case,
    lane: int,
    manifest: CircuitManifest,
    files: CircuitFiles,
    proof: ProofResult,
    inputs: dict[str, np.ndarray] | None = None,
) -> bytes:
    """The bundle about one lane of a proof (``inputs``: of another input than the lane's)."""
    inputs = lane_input(lane) if inputs is None else inputs
    (output,) = decode_outputs(manifest, proof.instances, lane)
    off = float(np.abs(np.array(output.values) - reference(case.seed, inputs["x"])).max())
    statement = build_statement(
        manifest,
        context=lane_context(case, lane),
        inputs=inputs,
        proof=proof,
        srs_part=extract(files.srs),
        measured_error=MeasuredError(max_absolute=off, max_relative=off, same_top1=True),
        timings={"prove": 0.0},
        peak_rss=0,
        verifier_domain="conformance",
        worker="make_vectors",
        software={"zkml-prover": "0.1.0", "ezkl": manifest.engine_version},
        input_salt=SALT,
        issued_at=ISSUED,
        lane=lane,
    )
    unsigned = Bundle(
        proof=proof.proof_json,
        settings=files.settings.read_bytes(),
        vk=files.vk.read_bytes(),
        srs_part=extract(files.srs),
        manifest=canonical_json(manifest.to_json()),
        plan=PLAN,
        input=input_json(manifest.inputs, inputs) if case.visibility.shows_input else None,
        model=uploaded(case.seed) if case.carries_model else None,
    )
    return write_bundle(sign_bundle(statement, unsigned, signer(1)))


def describe(
    case: Case, engine: EzklEngine, srs: Path, folder: Path, rewritten: bytes, output_scale: int
) -> CircuitManifest:
    """The manifest of a circuit whose files lie in ``folder``."""
    files = {
        "model": sha256(uploaded(case.seed)),
        "rewritten": sha256(rewritten),
        "compiled": sha256_file(folder / "compiled"),
        "settings": sha256_file(folder / "settings.json"),
        "vk": sha256_file(folder / "vk"),
        "pk": sha256_file(folder / "pk"),
        "plan": sha256(PLAN),
    }
    x = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 3))
    return CircuitManifest(
        circuit_id=files["vk"],
        model_sha256=files["model"],
        rewritten_sha256=files["rewritten"],
        passes=(AppliedPass(name="context-input", version=1),),
        engine=engine.name,
        engine_version=engine.version,
        profile=case.profile,
        srs=SrsRef(logrows=LOGROWS, sha256=sha256_file(srs), origin="insecure-development"),
        files=files,
        inputs=(InputEncoding(tensor=x, scale=SCALE, lower=LOWER, upper=UPPER),),
        context=case.context,
        outputs=(OutputEncoding(tensor=y, scale=output_scale),),
        proof_bytes=1,
        accuracy=Accuracy(max_error=0.01, agreement=1.0, samples=1, calibrated=True),
        lanes=case.lanes,
        hidden=case.hidden,
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    sandbox = Sandbox()
    engine = EzklEngine(sandbox)
    with tempfile.TemporaryDirectory() as scratch:
        srs = Path(scratch) / "srs"
        engine.generate_srs(srs, LOGROWS, LIMITS)
        other = Path(scratch) / "other-srs"
        engine.generate_srs(other, LOGROWS, LIMITS)
        (FOLDER / "other_srs_part.bin").write_bytes(extract(other))
        for case in (*CASES, WIDE):
            folder = Path(scratch) / case.name
            folder.mkdir()
            for lane, data in enumerate(make(case, engine, srs, folder)):
                name = case.name if case.lanes == 1 else f"{case.name}-{lane}"
                (FOLDER / f"{name}.zkml").write_bytes(data)
                print(f"{name}: {len(data)} bytes")
    sandbox.close()
    described = {"issued": ISSUED.isoformat(), "salt": SALT.hex(), "input": INPUT["x"].tolist()}
    (FOLDER / "about.json").write_text(json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    main()
