"""Private inputs: what a proof reveals to an attacker who guesses, salted and unsalted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from circuits.calibration.samples import draw
from circuits.compiler.build import Builder, BuiltCircuit
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles
from circuits.format.field import to_felt
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
