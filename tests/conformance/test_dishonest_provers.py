"""Provers who put numbers into a circuit that its manifest does not allow, under the honest key.

They run the real engine, without any of our checks, and sign with a key that the verifier trusts.
Each attack is also made on a circuit as older compilers built it, where it succeeds: so these tests
can fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, LayoutStats, Limits, ProofResult
from circuits.engine.proof_json import parse_proof
from circuits.errors import EngineError
from circuits.format.field import Felts, P, to_felt
from circuits.format.hidden import Hidden
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Soundness, Visibility
from circuits.rewrite.hidden_values import Bound, bound_inputs
from circuits.srs.verify_part import extract
from prover.statement.bundle import read_bundle, write_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Report
from tests.cases.verdicts import NOW
from tests.conformance.forgeries import Forgery, statement_of
from tests.conformance.make_vectors import (
    BOUND,
    INPUT,
    SCALE,
    Case,
    bundle,
    encoded,
    public_key,
    run_args,
    set_up,
)

pytestmark = pytest.mark.slow

#: Long enough for any proof here on a busy machine; an engine that waits for ever ends with it.
PATIENCE = Limits(deadline_s=90, memory_bytes=4 << 30)
HIDDEN_INPUTS = (
    Case(name="private-input", visibility=Visibility.PRIVATE_INPUT),
    Case(name="hashed-input", visibility=Visibility.HASHED_INPUT),
    Case(
        name="conservative-private-input",
        visibility=Visibility.PRIVATE_INPUT,
        soundness=Soundness.CONSERVATIVE,
    ),
)
SHOWN = (
    Case(name="public"),
    Case(name="conservative", soundness=Soundness.CONSERVATIVE),
)


def cases(*every: Case) -> list[Any]:
    """Conservative circuits only add checks, and a hash is another form of a hidden input: they are
    for the long run."""
    return [
        pytest.param(case, marks=pytest.mark.long)
        if case.soundness is Soundness.CONSERVATIVE or case.visibility is Visibility.HASHED_INPUT
        else case
        for case in every
    ]


@dataclass(frozen=True)
class Attacked:
    """A circuit and its honest input."""

    case: Case
    engine: EzklEngine
    manifest: CircuitManifest
    files: CircuitFiles

    @property
    def honest(self) -> list[Felts]:
        return encoded(self.case, self.manifest)

    def refused_by(self, x: Sequence[int], compiled: Path | None = None) -> list[str]:
        """The checks that refuse a proof about x (``["engine"]`` where none could be made)."""
        files = replace(self.files, compiled=compiled or self.files.compiled)
        inputs = [[to_felt(n % P if n % P <= P // 2 else n % P - P) for n in x], self.honest[1]]
        try:
            made: bytes = self.engine.sandbox.call(
                "tests.conformance.adversary:prove_anything",
                files,
                inputs,
                limits=PATIENCE,
                reads=[*files.paths, Path(__file__).parents[1]],
            )
        except EngineError:
            return ["engine"]
        return [c.name for c in self.verified(made, x).failures]

    def verified(self, proof_json: bytes, x: Sequence[int]) -> Report:
        parsed = parse_proof(proof_json)
        proof = ProofResult(
            proof_json=proof_json, instances=list(parsed.instances), proof=parsed.proof
        )
        manifest = replace(self.manifest, proof_bytes=len(proof.proof))
        stated = {"x": np.array([[min(n, 1 << 20) / (1 << SCALE) for n in x]], dtype=np.float32)}
        data = bundle(self.case, 0, manifest, self.files, proof, stated)
        policy = Policy(trusted=(public_key(1),))
        return verify_bundle(data, engine=self.engine, policy=policy, now=NOW)


@pytest.fixture(scope="module")
def srs(engine: EzklEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("srs") / "srs"
    engine.generate_srs(path, 10, PATIENCE)
    return path


@pytest.fixture
def attacked(engine: EzklEngine, srs: Path, tmp_path: Path) -> Callable[[Case], Attacked]:
    def made(case: Case) -> Attacked:
        folder = tmp_path / f"{case.name}-{case.bounded}"
        folder.mkdir()
        return Attacked(case, engine, *set_up(case, engine, srs, folder))

    return made


def quantised_weights(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The model's weights and biases as the engine has them."""
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=3)

    def quantised(a: np.ndarray, steps: int) -> np.ndarray:
        flat = [int(np.round(float(n) * steps)) for n in a.reshape(-1)]
        return np.array(flat, dtype=object).reshape(a.shape)

    return quantised(weights, 1 << SCALE), quantised(bias.astype(np.float32), 1 << 2 * SCALE)


def preimage(seed: int, wanted: Sequence[int]) -> list[int]:
    """Field elements x with ``x·W + b = wanted``: three equations, so one of four is free."""
    weights, bias = quantised_weights(seed)
    rows = [
        [int(weights[i, j]) % P for i in range(3)]
        + [(int(w) - int(bias[j]) - int(weights[3, j])) % P]
        for j, w in enumerate(wanted)
    ]
    for column in range(3):
        pivot = next(r for r in range(column, 3) if rows[r][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        inverse = pow(rows[column][column], -1, P)
        rows[column] = [v * inverse % P for v in rows[column]]
        for r in range(3):
            if r != column:
                factor = rows[r][column]
                rows[r] = [(a - factor * b) % P for a, b in zip(rows[r], rows[column], strict=True)]
    return [row[3] for row in rows] + [1]


@pytest.mark.parametrize("case", cases(*SHOWN), ids=lambda c: c.name)
def test_no_input_that_is_shown_lies_outside_its_range(
    case: Case, attacked: Callable[[Case], Attacked]
) -> None:
    circuit = attacked(case)
    honest = circuit.manifest.inputs[0].quantise(INPUT["x"])
    assert circuit.refused_by([BOUND.high, BOUND.low, *honest[2:]]) == []
    for beyond in (BOUND.low - 1, BOUND.high + 1):
        assert circuit.refused_by([beyond, *honest[1:]]) == ["input-range"]
    # No number that a bundle can state is quantised to such elements.
    chosen = circuit.refused_by(preimage(case.seed, CHOSEN))
    assert chosen == ["engine"] or "input-instances" in chosen


@pytest.mark.parametrize("case", cases(*HIDDEN_INPUTS), ids=lambda c: c.name)
def test_no_hidden_input_lies_outside_its_range(
    case: Case, attacked: Callable[[Case], Attacked]
) -> None:
    circuit = attacked(case)
    honest = circuit.manifest.inputs[0].quantise(INPUT["x"])
    for edge in (BOUND.low, BOUND.high):
        assert circuit.refused_by([edge, *honest[1:]]) == []
    for place, beyond in ((0, BOUND.low - 1), (3, BOUND.high + 1)):
        x = [*honest[:place], beyond, *honest[place + 1 :]]
        assert circuit.refused_by(x) == ["residues"]
    # One far above and one far below, so that sums cancel.
    assert circuit.refused_by([BOUND.high + 9, BOUND.low - 9, *honest[2:]]) == ["residues"]
    wrapped = circuit.refused_by([P - 1 - BOUND.high, *honest[1:]])
    assert wrapped == ["residues"]


#: An output of the attacker's choice: 20, 40 and 60, far from what any accepted input gives.
CHOSEN = [n << 2 * SCALE for n in (20, 40, 60)]


@pytest.mark.parametrize("case", cases(*HIDDEN_INPUTS[:2]), ids=lambda c: c.name)
def test_an_output_is_not_to_be_chosen(case: Case, attacked: Callable[[Case], Attacked]) -> None:
    x = preimage(case.seed, CHOSEN)
    assert attacked(case).refused_by(x) in (["engine"], ["proof"], ["proof", "residues"])
    # As circuits were built before: nothing bounds the input, and the proof holds.
    unbounded = attacked(replace(case, bounded=False))
    assert unbounded.refused_by(x) == []


def flagged(kind: str) -> bytes:
    """``y = x·W + b``, b being of a kind, with both inputs bounded."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 4] x, {kind}[1, 3] b) => (float[1, 3] y) {{
          p = MatMul(x, W)
          c = Cast<to = 1>(b)
          y = Add(p, c)
        }}"""
    )
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    model.graph.initializer.append(numpy_helper.from_array(weights, "W"))
    bounds = [Bound(name="x", low=-9, high=9), Bound(name="b", low=0, high=1)]
    return bound_inputs(model.SerializeToString(), bounds, by_table=False)


@pytest.mark.long
def test_a_bool_is_0_or_1_although_the_engine_checks_another_cell(
    engine: EzklEngine, srs: Path, tmp_path: Path
) -> None:
    """The engine checks bools when it makes a witness, and a hashed one in no constraint: a witness
    made with a graph that takes integers goes through."""
    args = replace(run_args(HIDDEN_INPUTS[1]), input_scale=0, param_scale=0)
    folders = {}
    for kind in ("bool", "int32"):
        out = folders[kind] = tmp_path / kind
        out.mkdir()
        (layout,) = engine.measure_layout(flagged(kind), [args], PATIENCE)
        assert isinstance(layout, LayoutStats)
        engine.setup(flagged(kind), layout.settings, srs, out, PATIENCE)
    honest = folders["bool"]
    files = CircuitFiles(
        compiled=honest / "compiled",
        settings=honest / "settings.json",
        pk=honest / "pk",
        vk=honest / "vk",
        srs=srs,
    )
    parts = (files.settings.read_bytes(), files.vk.read_bytes(), extract(srs))
    for flags, honestly in (((1, 0, 1), True), ((9, 0, 1), False), ((-1, 1, 0), False)):
        inputs = [[to_felt(n) for n in values] for values in ((1, 2, 3, 4), flags)]
        twin = folders["int32"] / "compiled"
        made: bytes = engine.sandbox.call(
            "tests.conformance.adversary:prove_anything",
            files,
            inputs,
            twin,
            limits=PATIENCE,
            reads=[*files.paths, twin, Path(__file__).parents[1]],
        )
        assert engine.verify(made, *parts, PATIENCE)
        assert (parse_proof(made).instances[-1] == to_felt(0)) is honestly


def test_salt_that_the_settings_contradict_is_not_believed(
    engine: EzklEngine, vectors: dict[str, bytes]
) -> None:
    honest = read_bundle(vectors["private-input"])
    forgery = Forgery(honest, statement_of(honest))
    forgery.set_manifest(replace(forgery.manifest, hidden=Hidden(inputs="digits", salted_tables=1)))
    report = verify_bundle(write_bundle(forgery.resigned()), engine=engine, now=NOW)
    assert [c.name for c in report.failures] == ["settings-agree"]


def test_old_circuits_are_named_and_strict_verification_refuses_them(
    engine: EzklEngine, vectors: dict[str, bytes]
) -> None:
    folder = Path(__file__).parent / "vectors" / "unbounded"
    found = {path.stem: path.read_bytes() for path in folder.glob("*.zkml")}
    assert sorted(found) == ["hashed-input", "hashed-weights", "private-input", "private-weights"]
    for name, data in found.items():
        check = "input-range" if name.endswith("input") else "settings-agree"
        report = verify_bundle(data, engine=engine, now=NOW)
        assert report.ok
        (warning,) = [c for c in report.warnings if c.name == check]
        assert "any output can be proved" in warning.detail
        strict = verify_bundle(data, engine=engine, now=NOW, policy=Policy(strict=True))
        assert check in [c.name for c in strict.failures]
        today = verify_bundle(vectors[name], engine=engine, now=NOW)
        assert check not in [c.name for c in today.warnings]
