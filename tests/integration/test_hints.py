"""Results given to a circuit, with the real engine: what a prover gains by giving other ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from circuits.compiler import bound
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, Felts, Priced, RunArgs
from circuits.errors import InputOutOfRange
from circuits.field import from_felt, to_felt
from circuits.integers.hints import results_for
from circuits.lower import GraphVariant, run_integers
from circuits.lower.variant import Hinted
from circuits.srs.verify_part import extract
from tests.conftest import LIMITS
from tests.unit.test_hints import DENSE, apart_of, hinted

pytestmark = pytest.mark.slow

K = 10
TERMS, RESULTS, OUTPUTS = 30, 17, 5
CONTEXT = to_felt(77)
#: Where the outputs and, behind them, the residues stand among the instances.
OUTPUT = slice(TERMS + 1, TERMS + 1 + OUTPUTS)
RESIDUES = slice(TERMS + 1 + OUTPUTS, None)


@dataclass(frozen=True, kw_only=True)
class Circuit:
    variant: GraphVariant
    made: Hinted
    files: CircuitFiles

    @property
    def unaided(self) -> CircuitFiles:
        """The same circuit for a prover who gives results of his own, behind the inputs."""
        return replace(self.files, hints=None)


@pytest.fixture(scope="module")
def circuit(
    engine: EzklEngine, srs_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Circuit:
    variant, made = hinted(DENSE)
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=K,
        num_inner_cols=2,
        decomp_base=1 << (made.most_bits // 2),
        decomp_legs=2,
        disable_freivalds=True,
        input_visibility="private",
    )
    onnx = bound(variant, 1, hand_on=False)
    (priced,) = engine.price(onnx, [args], LIMITS)
    assert isinstance(priced, Priced)
    out, srs = tmp_path_factory.mktemp("hinted"), srs_cache / f"dev{K}.srs"
    engine.setup(onnx, priced.settings, srs, out, LIMITS)
    (out / "hints.onnx").write_bytes(made.hints)
    files = CircuitFiles(
        compiled=out / "compiled",
        settings=out / "settings.json",
        pk=out / "pk",
        vk=out / "vk",
        srs=srs,
        hints=out / "hints.onnx",
    )
    return Circuit(variant=variant, made=made, files=files)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(6).integers(-32, 33, (1, 1, TERMS))


def felts(x: np.ndarray) -> list[Felts]:
    return [[to_felt(int(n)) for n in x.reshape(-1)], [CONTEXT]]


def accepted(engine: EzklEngine, circuit: Circuit, proof_json: bytes) -> bool:
    settings, vk = circuit.files.settings.read_bytes(), circuit.files.vk.read_bytes()
    return engine.verify(proof_json, settings, vk, extract(circuit.files.srs), LIMITS)


def test_an_honest_proof_shows_input_context_output_and_residues_of_zero(
    engine: EzklEngine, circuit: Circuit, x: np.ndarray
) -> None:
    proof = engine.prove(circuit.files, felts(x), LIMITS)
    assert accepted(engine, circuit, proof.proof_json)
    assert [proof.instances[:TERMS], proof.instances[TERMS : TERMS + 1]] == felts(x)
    (expected,) = run_integers(circuit.variant, {"x": x})
    assert [from_felt(f) for f in proof.instances[OUTPUT]] == expected.reshape(-1).tolist()
    assert proof.instances[RESIDUES] == [to_felt(0)] * circuit.made.residues


@pytest.mark.parametrize("which", [0, 1], ids=["inside", "output"])
def test_other_results_leave_a_residue(
    engine: EzklEngine, circuit: Circuit, x: np.ndarray, which: int
) -> None:
    """The engine accepts the proof: that it proves nothing is for the verifier to see."""
    given = results_for(circuit.made.hints, felts(x))
    given[which][0] = to_felt(from_felt(given[which][0]) + 1)
    proof = engine.prove(circuit.unaided, [*felts(x), *given], LIMITS)
    assert accepted(engine, circuit, proof.proof_json)
    assert set(proof.instances[RESIDUES]) != {to_felt(0)}


def test_a_carry_leaves_no_residue_and_no_proof(
    engine: EzklEngine, circuit: Circuit, x: np.ndarray
) -> None:
    """What one result has too much its neighbour has too little. Digits cannot hold it."""
    given = results_for(circuit.made.hints, felts(x))
    given[0][0] = to_felt(from_felt(given[0][0]) + (1 << apart_of(circuit.made)))
    given[0][1] = to_felt(from_felt(given[0][1]) - 1)
    with pytest.raises(InputOutOfRange, match="beyond what the circuit can hold"):
        engine.prove(circuit.unaided, [*felts(x), *given], LIMITS)


def test_a_carry_between_outputs_shows_in_their_size(
    engine: EzklEngine, circuit: Circuit, x: np.ndarray
) -> None:
    given = results_for(circuit.made.hints, felts(x))
    apart = apart_of(circuit.made, 1)
    given[1][0] = to_felt(from_felt(given[1][0]) + (1 << apart))
    given[1][1] = to_felt(from_felt(given[1][1]) - 1)
    proof = engine.prove(circuit.unaided, [*felts(x), *given], LIMITS)
    assert accepted(engine, circuit, proof.proof_json)
    assert set(proof.instances[RESIDUES][-1:]) == {to_felt(0)}
    largest = max(abs(from_felt(f)) for f in proof.instances[OUTPUT])
    assert largest > circuit.made.output_bounds[0]
