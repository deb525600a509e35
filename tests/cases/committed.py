"""A circuit with committed hints, with the honest prover and others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.batching.felts import join
from circuits.calibration.samples import draw
from circuits.compiler.build import Builder, BuiltCircuit
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, Limits, ProofResult
from circuits.engine.proof_json import normalise_proof, parse_proof
from circuits.format.commitments import Weights
from circuits.format.digests import canonical_json
from circuits.format.field import Felts, to_felt
from circuits.format.profile import Argument, Profile, Target, Visibility
from circuits.format.tensors import Signature, TensorSpec
from circuits.plan.effort import Effort
from circuits.rebuild import rebuild
from circuits.srs.files import Policy, SrsFolder
from circuits.srs.verify_part import extract
from prover.statement.bundle import Bundle
from prover.statement.commitment import input_json
from prover.statement.context import Context
from prover.statement.predicate import MeasuredError
from prover.statement.statement import Statement, build_statement
from prover.verify.bundle import check_statement
from tests.conftest import LIMITS

ROOT = Path(__file__).parents[2]
#: Of a prover that computes commitments in Python.
PATIENCE = Limits(deadline_s=300, memory_bytes=4 << 30)

SALT = bytes(32)


def network(seed: int = 3) -> bytes:
    """A convolution, an average pool, a hidden dense layer and a last one."""
    rng = np.random.default_rng(seed)
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 1, 6, 6] x) => (float[1, 3] y) {
      c = Conv<pads = [1, 1, 1, 1], strides = [1, 1], kernel_shape = [3, 3]>(x, k, kb)
      a = Relu(c)
      p = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(a)
      f = Flatten(p)
      h = Gemm(f, w, wb)
      b = Relu(h)
      y = Gemm(b, v, vb)
    }""")
    shapes: dict[str, int | tuple[int, ...]] = {
        "k": (2, 1, 3, 3),
        "kb": 2,
        "w": (18, 5),
        "wb": 5,
        "v": (5, 3),
        "vb": 3,
    }
    for name, shape in shapes.items():
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return bytes(model.SerializeToString())


X = np.linspace(-1, 1, 36, dtype=np.float32).reshape(1, 1, 6, 6)


@dataclass(frozen=True)
class Committed:
    """A circuit with committed hints, and both kinds of prover. Inputs and contexts are those of
    its lanes, one in most tests."""

    built: BuiltCircuit
    engine: EzklEngine
    srs: Path

    @property
    def files(self) -> CircuitFiles:
        paths = self.built.files
        return CircuitFiles(
            compiled=paths["compiled"],
            settings=paths["settings"],
            pk=paths["pk"],
            vk=paths["vk"],
            srs=paths["srs"],
            hints=paths["hints"],
            commitments=self.built.manifest.commitments,
        )

    def rows(self, xs: Sequence[NDArray[Any]], contexts: Sequence[Context]) -> list[list[Felts]]:
        """Each lane's input and context as the engine takes them."""
        manifest = self.built.manifest
        return [
            [
                [to_felt(n) for n in manifest.inputs[0].quantise(x)],
                manifest.context.encode(c.digest),
            ]
            for x, c in zip(xs, contexts, strict=True)
        ]

    def assert_rebuilt(self, model: bytes) -> None:
        """The model gives the same verifying key again."""
        manifest = self.built.manifest
        made = rebuild(
            self.engine,
            SrsFolder(self.srs),
            model,
            manifest,
            self.files.settings.read_bytes(),
            manifest.srs,
            LIMITS,
        )
        assert made.vk == self.files.vk.read_bytes()

    def honest(self, *xs: NDArray[Any], contexts: Sequence[Context]) -> ProofResult:
        rows = join(self.rows(xs, contexts))
        return self.engine.prove(self.files, rows, LIMITS, input_salt=SALT)

    def dishonest(
        self, folder: Path, *xs: NDArray[Any], contexts: Sequence[Context], bend: str
    ) -> ProofResult:
        """A proof by ``tests.dishonest_hints``."""
        manifest = self.built.manifest
        for name, path in self.built.files.items():
            names = {"settings": "settings.json", "hints": "network"}
            shutil.copyfile(path, folder / names.get(name, name))
        assert manifest.commitments is not None
        (folder / "srs_part").write_bytes(extract(self.files.srs))
        (folder / "claim.json").write_bytes(canonical_json(manifest.commitments.to_json()))
        job = {
            "inputs": [manifest.inputs[0].quantise(x) for x in xs],
            "contexts": [context.digest for context in contexts],
            "bend": bend,
        }
        (folder / "job.json").write_text(json.dumps(job))
        reads = [ROOT / "tests"]
        self.engine.sandbox.call(
            "tests.dishonest_hints:prove", folder, limits=PATIENCE, reads=reads, writes=[folder]
        )
        data = normalise_proof((folder / "proof.json").read_bytes())
        proof = parse_proof(data)
        beside = [folder / f"{n}.bin" for n in ("identity", "input_identity")]
        identity, named = (path.read_bytes() if path.exists() else None for path in beside)
        return ProofResult(
            proof_json=data,
            instances=list(proof.instances),
            proof=proof.proof,
            identity=identity,
            input_identity=named,
        )

    def stated(
        self,
        proof: ProofResult,
        x: NDArray[Any],
        context: Context,
        weights: bytes | None = None,
        lane: int = 0,
        lanes: bytes | None = None,
        issued_at: datetime | None = None,
    ) -> tuple[Statement, Bundle]:
        """The statement about a lane of a proof and its bundle, unsigned, with the circuit's own
        ``weights`` unless others are given."""
        manifest, files = self.built.manifest, self.files
        if manifest.profile.shows_network and weights is None:
            assert files.hints is not None
            weights = files.hints.read_bytes()
        part = extract(files.srs)
        statement = build_statement(
            manifest,
            context=context,
            inputs={"x": x},
            proof=proof,
            srs_part=part,
            measured_error=MeasuredError(max_absolute=0.0, max_relative=0.0, same_top1=True),
            timings={},
            peak_rss=0,
            verifier_domain="test",
            worker="test",
            software={"zkml-prover": "0"},
            input_salt=SALT,
            lane=lane,
            issued_at=issued_at,
        )
        shown = manifest.profile.visibility.shows_input
        bundle = Bundle(
            proof=proof.proof_json,
            settings=files.settings.read_bytes(),
            vk=files.vk.read_bytes(),
            srs_part=part,
            manifest=canonical_json(manifest.to_json()),
            plan=self.built.files["plan"].read_bytes(),
            weights=weights,
            identity=proof.identity,
            input_identity=proof.input_identity,
            input=input_json(manifest.inputs, {"x": x}) if shown else None,
            lanes=lanes,
        )
        return statement, bundle

    def failures(
        self,
        proof: ProofResult,
        x: NDArray[Any],
        context: Context,
        weights: bytes | None = None,
        lane: int = 0,
        lanes: bytes | None = None,
    ) -> list[str]:
        """The names of the verifier's checks that refuse what is ``stated``."""
        statement, bundle = self.stated(proof, x, context, weights, lane, lanes)
        shown = self.built.manifest.profile.visibility.shows_input
        report = check_statement(
            statement,
            bundle,
            engine=self.engine,
            inputs={"x": x},
            input_salt=None if shown else SALT,
            limits=LIMITS,
        )
        return [check.name for check in report.failures]


def committed(
    engine: EzklEngine,
    srs: Path,
    out: Path,
    visibility: Visibility,
    weights: Weights = Weights.SEALED,
    model: bytes | None = None,
    target: Target = Target.SPEED,
    input_scale: int | None = None,
    sizes: tuple[float, ...] | None = None,
) -> Committed:
    """``sizes``: what the columns of inputs are multiplied by, which are from -1 to 1 else."""
    builder = Builder(
        engine=engine,
        srs=SrsFolder(srs),
        policy=Policy.DEVELOPMENT,
        limits=LIMITS,
        effort=Effort.FAST,
    )
    x = TensorSpec(name="x", dtype="float32", shape=(1, 1, 6, 6))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 3))
    samples = draw(Signature(inputs=(x,), outputs=(y,)), {"x": (-1.0, 1.0)})
    if sizes is not None:
        own = np.array(sizes, dtype=np.float32)
        plan, held_out = (
            tuple({"x": np.asarray(s["x"] * own)} for s in part)
            for part in (samples.plan, samples.held_out)
        )
        ranges = {"x": (-max(sizes), max(sizes))}
        samples = replace(samples, plan=plan, held_out=held_out, ranges=ranges)
    profile = Profile(
        visibility=visibility,
        argument=Argument.COMMITTED,
        weights=weights,
        target=target,
        max_error=0.05,
        agreement=0.9,
        input_scale=input_scale,
    )
    return Committed(builder.build(model or network(), samples, profile, out), engine, srs)


#: ``committed`` with the engine and a folder.
Circuits = Callable[..., Committed]
