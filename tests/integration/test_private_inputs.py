"""Private inputs: what a proof reveals to an attacker who guesses, salted and unsalted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.calibration.samples import draw
from circuits.compiler.build import Builder, BuiltCircuit
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, LayoutStats, RunArgs
from circuits.errors import EngineError
from circuits.format.field import to_felt
from circuits.format.hidden import BOUND, RESIDUES
from circuits.format.profile import Argument, Profile, Soundness, Visibility
from circuits.format.tensors import Signature, TensorSpec
from circuits.plan.effort import Effort
from circuits.srs.files import Policy, SrsFolder
from prover.statement.non_claims import non_claims
from tests.cases.tiny import linear
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

_POINT = 64
X = np.array([[0.5, -1.25, 1.0, 0.75]], dtype=np.float32)


@dataclass(frozen=True)
class Private:
    built: BuiltCircuit
    engine: EzklEngine

    def proof(self, x: np.ndarray, context: int = 0) -> list[bytes]:
        """The proof's points, and what else it is made of, in pieces of 64 bytes."""
        manifest, paths = self.built.manifest, self.built.files
        files = CircuitFiles(
            compiled=paths["compiled"],
            settings=paths["settings"],
            pk=paths["pk"],
            vk=paths["vk"],
            srs=paths["srs"],
            salt=manifest.salt,
        )
        felts = [to_felt(n) for n in manifest.inputs[0].quantise(x)]
        made = self.engine.prove(files, [felts, manifest.context.encode(context)], LIMITS).proof
        return [made[at : at + _POINT] for at in range(0, len(made), _POINT)]

    def shared(self, first: list[bytes], second: list[bytes]) -> list[int]:
        return [n for n, (a, b) in enumerate(zip(first, second, strict=True)) if a == b]


def private(
    engine: EzklEngine, srs: Path, out: Path, soundness: Soundness = Soundness.STANDARD
) -> Private:
    builder = Builder(
        engine=engine,
        srs=SrsFolder(srs),
        policy=Policy.DEVELOPMENT,
        limits=LIMITS,
        effort=Effort.FAST,
    )
    x = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 3))
    samples = draw(Signature(inputs=(x,), outputs=(y,)), {"x": (-2.0, 2.0)})
    profile = Profile(
        visibility=Visibility.PRIVATE_INPUT, soundness=soundness, argument=Argument.PLAIN
    )
    return Private(builder.build(linear(), samples, profile, out), engine)


@pytest.mark.long
def test_salted_proofs_share_no_point_and_no_guess_matches(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path
) -> None:
    circuit = private(engine, srs_cache, tmp_path)
    hidden = circuit.built.manifest.hidden
    assert hidden is not None
    assert (hidden.inputs, hidden.salted_tables) == ("table", 1)
    assert "guessed-input" not in non_claims(circuit.built.manifest)
    first = circuit.proof(X)
    for guess in (circuit.proof(X), circuit.proof(X, context=7), circuit.proof(X + 0.25)):
        assert circuit.shared(first, guess) == []


@pytest.mark.long
def test_without_salt_a_guess_is_confirmed_and_the_receipt_says_so(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path
) -> None:
    circuit = private(engine, srs_cache, tmp_path, Soundness.CONSERVATIVE)
    hidden = circuit.built.manifest.hidden
    assert hidden is not None
    assert hidden.salted_tables == 0
    assert "guessed-input" in non_claims(circuit.built.manifest)
    first = circuit.proof(X)
    right, wrong = circuit.proof(X), circuit.proof(X + 0.25)
    assert len(circuit.shared(first, right)) > len(circuit.shared(first, wrong))


@pytest.mark.parametrize(("places", "cut"), [(3, False), ([3], True), ([3, 5], False)])
def test_what_the_importer_cuts_off_a_bound_ends_the_build(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path, places: int | list[int], cut: bool
) -> None:
    """Of a list of one place it makes a cut, and moves that in front of the ReLU: elements that are
    not picked would be free to be anything. Our own graphs hold no such lists."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 8] x) => ({RESIDUES}) {{ r = Relu(x) {RESIDUES} = Gather<axis = 1>(r, i) }}"""
    )
    model.graph.node[0].name = BOUND
    index = model.graph.initializer.add()
    index.CopyFrom(numpy_helper.from_array(np.array(places), "i"))
    network = model.SerializeToString()
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=10,
        decomp_base=64,
        input_visibility="private",
    )
    (layout,) = engine.measure_layout(network, [args], LIMITS)
    assert isinstance(layout, EngineError) == cut
    # Whoever has settings from elsewhere gets no key either: those of a graph without the cut.
    index.CopyFrom(numpy_helper.from_array(np.array([3, 5]), "i"))
    (other,) = engine.measure_layout(model.SerializeToString(), [args], LIMITS)
    assert isinstance(other, LayoutStats)
    srs = srs_cache / "dev10.srs"
    if cut:
        with pytest.raises(EngineError, match="might not be bound"):
            engine.setup(network, other.settings, srs, tmp_path, LIMITS)
    else:
        assert isinstance(layout, LayoutStats)
        engine.setup(network, layout.settings, srs, tmp_path, LIMITS)
