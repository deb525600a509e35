"""Committed hints against provers who are not honest, through the verifier's own checks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.build import Builder, BuiltCircuit
from circuits.committed.arrangement import COLUMN_SALT
from circuits.committed.claim import POINT_BYTES, Weights
from circuits.digests import canonical_json, sha256
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, Felts, ProofResult
from circuits.engine.proof_json import normalise_proof, parse_proof
from circuits.engine.table_end import has_table
from circuits.errors import CircuitNotFaithful
from circuits.field import to_felt
from circuits.lanes.felts import join
from circuits.plan.effort import Effort
from circuits.plan.samples import draw
from circuits.profile import Argument, Profile, Visibility
from circuits.rebuild import derive, rebuild
from circuits.srs.files import Policy, SrsFolder
from circuits.srs.verify_part import extract
from circuits.tensors import Signature, TensorSpec
from prover.bundle import Bundle
from prover.commitment import input_json
from prover.context import Context
from prover.predicate import MeasuredError
from prover.statement import build_statement
from prover.verify import check_statement
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
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

    def honest(self, *xs: NDArray[Any], contexts: Sequence[Context]) -> ProofResult:
        return self.engine.prove(self.files, join(self.rows(xs, contexts)), LIMITS)

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
        command = [sys.executable, "-m", "tests.dishonest_hints", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=300, capture_output=True)
        data = normalise_proof((folder / "proof.json").read_bytes())
        proof = parse_proof(data)
        return ProofResult(proof_json=data, instances=list(proof.instances), proof=proof.proof)

    def failures(
        self,
        proof: ProofResult,
        x: NDArray[Any],
        context: Context,
        weights: bytes | None = None,
        lane: int = 0,
        lanes: bytes | None = None,
    ) -> list[str]:
        """The names of the verifier's checks that refuse a proof stated of this lane, with the
        circuit's own ``weights`` unless others are given."""
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
            input=input_json(manifest.inputs, {"x": x}) if shown else None,
            lanes=lanes,
        )
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
    visibility: Visibility,
    engine: EzklEngine,
    srs: Path,
    out: Path,
    weights: Weights = Weights.SEALED,
    model: bytes | None = None,
) -> Committed:
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
    profile = Profile(
        visibility=visibility,
        argument=Argument.COMMITTED,
        weights=weights,
        max_error=0.05,
        agreement=0.9,
    )
    return Committed(builder.build(model or network(), samples, profile, out), engine, srs)


@pytest.fixture(scope="module")
def private(
    engine: EzklEngine, srs_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Committed:
    folder = tmp_path_factory.mktemp("private")
    return committed(Visibility.PRIVATE_INPUT, engine, srs_cache, folder)


@pytest.fixture(scope="module")
def public(
    engine: EzklEngine, srs_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Committed:
    return committed(Visibility.PUBLIC, engine, srs_cache, tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def shown(
    engine: EzklEngine, srs_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Committed:
    """A private input, and weights that the verifier has."""
    folder = tmp_path_factory.mktemp("shown")
    return committed(Visibility.PRIVATE_INPUT, engine, srs_cache, folder, Weights.SHOWN)


def here(job: str = "job") -> Context:
    return Context(job_id=job)


def test_honest_proofs_verify_and_are_rebuilt(private: Committed) -> None:
    proof = private.honest(X, contexts=[here()])
    assert private.failures(proof, X, here()) == []
    manifest = private.built.manifest
    made = rebuild(
        private.engine,
        SrsFolder(private.srs),
        network(),
        manifest,
        private.files.settings.read_bytes(),
        manifest.srs,
        LIMITS,
    )
    assert made.vk == private.files.vk.read_bytes()


def test_another_implementation_of_the_specification_proves_too(
    private: Committed, tmp_path: Path
) -> None:
    proof = private.dishonest(tmp_path, X, contexts=[here()], bend="nothing")
    assert private.failures(proof, X, here()) == []


@pytest.mark.parametrize(
    ("bend", "refused_by"),
    [
        ("quotient", "residues"),
        ("remainder", "residues"),
        ("hidden quotient", "residues"),
        ("padding", "residues"),
        ("border", "residues"),
        ("column", "residues"),
        ("sum of salt", "residues"),
        ("negative remainder", "residues"),
        ("negative input", "residues"),
        ("challenges", "challenges"),
        ("no challenge", "challenges"),
        ("shown output", "proof"),
        ("pasted", "proof"),
    ],
)
def test_bent_proofs_are_refused(
    private: Committed, tmp_path: Path, bend: str, refused_by: str
) -> None:
    proof = private.dishonest(tmp_path, X, contexts=[here()], bend=bend)
    assert refused_by in private.failures(proof, X, here())


@pytest.mark.parametrize(
    ("bend", "refused_by"),
    [
        ("quotient", {"residues"}),
        ("hidden quotient", {"residues"}),
        ("border", {"residues"}),
        ("negative remainder", {"residues"}),
        ("negative input", {"residues"}),
        ("result", {"residues"}),
        ("result and weights", {"weights"}),
        ("other weights", {"weights"}),
        ("weights under challenges", {"weights", "challenges"}),
        ("challenges", {"challenges"}),
        ("shown output", {"proof"}),
        ("pasted", {"proof", "challenges"}),
    ],
)
def test_bent_proofs_with_shown_weights_are_refused(
    shown: Committed, tmp_path: Path, bend: str, refused_by: set[str]
) -> None:
    proof = shown.dishonest(tmp_path, X, contexts=[here()], bend=bend)
    assert refused_by <= {*shown.failures(proof, X, here())}


def test_a_proof_with_shown_weights_is_of_these_and_no_others(
    shown: Committed, tmp_path: Path
) -> None:
    proof = shown.honest(X, contexts=[here()])
    assert shown.failures(proof, X, here()) == []
    assert (
        shown.failures(shown.dishonest(tmp_path, X, contexts=[here()], bend="nothing"), X, here())
        == []
    )
    assert shown.files.hints is not None
    mine = shown.files.hints.read_bytes()
    last = int.from_bytes(mine[-8:], "little", signed=True) + 1
    others = mine[:-8] + last.to_bytes(8, "little", signed=True)
    assert shown.failures(proof, X, here(), others) == ["weights"]
    manifest = shown.built.manifest
    assert manifest.commitments is not None
    claim = replace(manifest.commitments, network_sha256=sha256(others))
    files = manifest.files | {"hints": sha256(others)}
    forged = replace(manifest, commitments=claim, files=files)
    bent = replace(shown, built=replace(shown.built, manifest=forged))
    assert {"weights", "challenges"} <= {*bent.failures(proof, X, here(), others)}
    with pytest.raises(CircuitNotFaithful, match="committed hints"):
        derive(shown.engine, network(), forged, LIMITS)
    derive(shown.engine, network(), manifest, LIMITS)


def test_another_model_of_the_architecture_has_the_same_circuit(
    shown: Committed, engine: EzklEngine, srs_cache: Path, tmp_path: Path
) -> None:
    """The key, the settings and the graph hold nothing of the weights."""
    other = committed(
        Visibility.PRIVATE_INPUT, engine, srs_cache, tmp_path, Weights.SHOWN, network(4)
    )
    mine, theirs = shown.built, other.built
    for name in ("vk", "settings", "rewritten"):
        assert mine.files[name].read_bytes() == theirs.files[name].read_bytes()
    assert mine.manifest.files["hints"] != theirs.manifest.files["hints"]
    proof = other.honest(X, contexts=[here()])
    assert other.failures(proof, X, here()) == []
    assert {"weights", "challenges"} <= {*shown.failures(proof, X, here())}


def test_a_proof_holds_for_its_context_only(private: Committed) -> None:
    proof = private.honest(X, contexts=[here()])
    assert "challenges" in private.failures(proof, X, here("another"))


def test_a_public_input_is_the_one_evaluated(public: Committed) -> None:
    proof = public.honest(X, contexts=[here()])
    assert public.failures(proof, X, here()) == []
    found = public.failures(proof, X + np.float32(0.25), here())
    assert {"input-instances", "challenges"} <= {*found}


def test_a_claim_out_of_bounds_is_refused(public: Committed) -> None:
    """Numbers of an issuer's choice keep no verifier busy."""
    proof = public.honest(X, contexts=[here()])
    manifest = public.built.manifest
    assert manifest.commitments is not None
    for changes in ({"evaluated": (1 << 40, 6)}, {"elements": 1 << 40}, {"residues": 0}):
        claim = replace(manifest.commitments, **changes)
        forged = replace(manifest, commitments=claim)
        bent = replace(public, built=replace(public.built, manifest=forged))
        assert bent.failures(proof, X, here())


def test_two_proofs_of_one_input_share_no_point(private: Committed) -> None:
    """The commitments of committed columns and of look-ups have no blinding but salt."""
    first, second = (private.honest(X, contexts=[here()]).proof for _ in range(2))
    points = [
        {p[at : at + POINT_BYTES] for at in range(0, len(p) - POINT_BYTES, POINT_BYTES)}
        for p in (first, second)
    ]
    committed_challenges = first[POINT_BYTES : 2 * POINT_BYTES]
    assert points[0] & points[1] <= {committed_challenges}


def test_a_table_that_ends_elsewhere_is_not_in_the_key(private: Committed) -> None:
    """By the key's own bytes: the same columns, one entry further, are not there."""
    manifest, files = private.built.manifest, private.files
    settings = json.loads(files.settings.read_bytes())
    low = settings["run_args"]["lookup_range"][0]
    vk = files.vk.read_bytes()
    script = (
        "import ezkl, json, sys\n"
        "columns = json.load(sys.stdin)\n"
        f"paths = {[str(p) for p in (files.vk, files.settings, files.srs)]!r}\n"
        "points = [ezkl.kzg_commit(c, *paths)[0] for c in columns]\n"
        "print(json.dumps([[p.x, p.y] for p in points]))\n"
    )

    def commit(column: list[str]) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", script],
            input=json.dumps([column]),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        ((x, y),) = json.loads(done.stdout.splitlines()[-1])
        return tuple(int.from_bytes(bytes.fromhex(c), "little") for c in (x, y))  # type: ignore[return-value]

    assert has_table(vk, low, manifest.srs.logrows, commit)
    assert not has_table(vk, low + 1, manifest.srs.logrows, commit)


def test_what_is_committed_to_is_salted_in_every_column(private: Committed) -> None:
    from circuits.committed.arrangement import Arrangement

    assert private.files.hints is not None
    arrangement = Arrangement.from_bytes(private.files.hints.read_bytes())
    numbers = private.built.manifest.inputs[0].quantise(X)
    first, second = (arrangement.committed(numbers) for _ in range(2))
    starts = [start - COLUMN_SALT for start, _ in arrangement.pieces]
    for start in starts:
        mine, others = (set(t[start : start + COLUMN_SALT]) for t in (first, second))
        assert len(mine) == len(others) == COLUMN_SALT
        assert not mine & others
