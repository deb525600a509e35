"""Hints with the real engine: what a prover gains from wrong ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.compiler.process import lay_out
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, LayoutStats, RunArgs
from circuits.errors import EngineError, InputOutOfRange
from circuits.format.field import Felts, from_felt, to_felt
from circuits.format.profile import Visibility
from circuits.integers.hint_values import results_for
from circuits.lower import GraphVariant, run_integers
from circuits.lower.variant import Hinted
from circuits.srs.verify_part import extract
from tests.cases.hints import DENSE, apart_of, hinted
from tests.cases.integers import graph
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

K = 10
TERMS, RESULTS, OUTPUTS = 30, 17, 5
CONTEXT = to_felt(77)
#: Where outputs and residues stand among the instances: behind input, context and results.
_BEHIND = TERMS + 1 + RESULTS + OUTPUTS
OUTPUT = slice(_BEHIND, _BEHIND + OUTPUTS)
RESIDUES = slice(_BEHIND + OUTPUTS, None)


def settings(base: int, **others: Any) -> RunArgs:
    """Those of an integer graph, with two digits of this base."""
    return RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=K,
        decomp_base=base,
        decomp_legs=2,
        **others,
    )


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
    args = settings(1 << (made.most_bits // 2), num_inner_cols=2)
    onnx = lay_out(variant, {}, 1, Visibility.PUBLIC).onnx
    (priced,) = engine.measure_layout(onnx, [args], LIMITS)
    assert isinstance(priced, LayoutStats)
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
    frozen, vk = circuit.files.settings.read_bytes(), circuit.files.vk.read_bytes()
    return engine.verify(proof_json, frozen, vk, extract(circuit.files.srs), LIMITS)


def test_an_honest_proof_shows_all_that_is_given_and_residues_of_zero(
    engine: EzklEngine, circuit: Circuit, x: np.ndarray
) -> None:
    proof = engine.prove(circuit.files, felts(x), LIMITS)
    assert accepted(engine, circuit, proof.proof_json)
    given = results_for(circuit.made.hints, felts(x))
    assert proof.instances[:_BEHIND] == [*chain.from_iterable([*felts(x), *given])]
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


@pytest.mark.parametrize(("places", "cut"), [(3, False), ([3], True), ([3, 5], False)])
def test_what_the_importer_cuts_off_a_relu_ends_the_build(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path, places: int | list[int], cut: bool
) -> None:
    """Of a list of one place it makes a cut, and moves that in front of the ReLU: what is given and
    not picked would be free to be anything. Our own graphs hold no such lists."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 8] zkml_hint_0) => (y) { r = Relu(zkml_hint_0) y = Gather<axis = 1>(r, i) }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(places), "i"))
    network = model.SerializeToString()
    args = settings(64)
    (priced,) = engine.measure_layout(network, [args], LIMITS)
    assert isinstance(priced, EngineError) == cut
    # Whoever has settings from elsewhere gets no key either: those of a graph without the cut.
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([3, 5]), "i"))
    (other,) = engine.measure_layout(model.SerializeToString(), [args], LIMITS)
    assert isinstance(other, LayoutStats)
    srs = srs_cache / f"dev{K}.srs"
    if cut:
        with pytest.raises(EngineError, match="might not be bound"):
            engine.setup(network, other.settings, srs, tmp_path, LIMITS)
    else:
        assert isinstance(priced, LayoutStats)
        engine.setup(network, priced.settings, srs, tmp_path, LIMITS)


def test_one_value_picked_behind_a_relu_leaves_all_of_it(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path
) -> None:
    picked = graph(
        "a = Gemm(x, w, b) c = Concat<axis=1>(a, a) r = Relu(c) y = Gather<axis=1>(r, i)",
        "float[1, 30] x",
        {"w": [30, 8], "b": [8], "i": [3]},
    )
    variant, made = hinted(picked)
    args = settings(1 << (made.most_bits // 2))
    network = lay_out(variant, {}, 1, Visibility.PUBLIC).onnx
    (priced,) = engine.measure_layout(network, [args], LIMITS)
    assert isinstance(priced, LayoutStats)
    engine.setup(network, priced.settings, srs_cache / f"dev{K}.srs", tmp_path, LIMITS)


def test_what_is_given_has_to_be_public(
    engine: EzklEngine, srs_cache: Path, circuit: Circuit
) -> None:
    """Nothing ties an output that is a private input to the input."""
    private = settings(1 << (circuit.made.most_bits // 2), input_visibility="private")
    (refused,) = engine.measure_layout(
        lay_out(circuit.variant, {}, 1, Visibility.PUBLIC).onnx, [private], LIMITS
    )
    assert isinstance(refused, EngineError)
    assert "have to be public" in refused.detail
