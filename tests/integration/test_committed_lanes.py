"""Committed hints of several inputs in one proof: each lane verified by itself, and provers who
cheat in one of them."""

from __future__ import annotations

import json
import math
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from circuits.batching.batched_circuit import BatchedBuilder, SingleLane
from circuits.committed.arithmetic import entries
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, ProofResult, Simulated
from circuits.format.commitments import Lanes, Weights, challenge_names
from circuits.format.digests import canonical_json
from circuits.format.field import to_felt
from circuits.format.profile import Argument, Profile, Visibility
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.plan.committed import committed_args
from circuits.srs.files import Policy, SrsFolder
from prover.batch.lanes import list_of_lanes
from prover.statement.context import Context
from tests.cases.committed import Circuits, Committed, X, network
from tests.cases.committed_networks import arranged, inputs, quantised
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

LANES = 3
XS = [X, X[..., ::-1].copy(), X * np.float32(0.5)]
CONTEXTS = [Context(job_id=f"job.{n}") for n in range(LANES)]


def batched(single: Committed, out: Path) -> Committed:
    built = single.built
    made = BatchedBuilder(
        engine=single.engine, srs=SrsFolder(single.srs), policy=Policy.DEVELOPMENT, limits=LIMITS
    ).build(
        SingleLane(
            manifest=built.manifest,
            model=network(),
            graph=built.files["rewritten"].read_bytes(),
            settings=built.files["settings"].read_text(),
            plan=json.loads(built.files["plan"].read_bytes()),
            hints=built.files["hints"].read_bytes(),
        ),
        LANES,
        out,
    )
    return replace(single, built=made)


@pytest.fixture(scope="module")
def private(circuit: Circuits, tmp_path_factory: pytest.TempPathFactory) -> Committed:
    return batched(circuit(Visibility.PRIVATE_INPUT), tmp_path_factory.mktemp("private"))


@pytest.fixture(scope="module")
def public(circuit: Circuits, tmp_path_factory: pytest.TempPathFactory) -> Committed:
    return batched(circuit(Visibility.PUBLIC), tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def shown(circuit: Circuits, tmp_path_factory: pytest.TempPathFactory) -> Committed:
    """A public input and shown weights."""
    one = circuit(Visibility.PUBLIC, Weights.SHOWN)
    return batched(one, tmp_path_factory.mktemp("shown"))


def failures(
    circuit: Committed, proof: ProofResult, lanes: bytes | None, lane: int, **other: Any
) -> list[str]:
    x: NDArray[Any] = other.get("x", XS[lane])
    return circuit.failures(proof, x, other.get("context", CONTEXTS[lane]), lane=lane, lanes=lanes)


def listed(circuit: Committed, proof: ProofResult) -> bytes:
    made = list_of_lanes(circuit.built.manifest, circuit.rows(XS, CONTEXTS), proof)
    assert made is not None
    return made


def dishonest(circuit: Committed, folder: Path, bend: str) -> tuple[ProofResult, bytes]:
    proof = circuit.dishonest(folder, *XS, contexts=CONTEXTS, bend=bend)
    return proof, (folder / "lanes.json").read_bytes()


def test_each_lane_of_an_honest_proof_verifies_and_the_circuit_is_rebuilt(
    private: Committed,
) -> None:
    manifest = private.built.manifest
    proof = private.honest(*XS, contexts=CONTEXTS)
    lanes = listed(private, proof)
    for lane in range(LANES):
        assert failures(private, proof, lanes, lane) == []
    # Nothing but outputs grows with the lanes: six challenges and the residues of one.
    one = manifest.residues + 6
    assert len(proof.instances) == one + LANES * manifest.outputs[0].tensor.size
    private.assert_rebuilt(network())


@pytest.mark.long
def test_another_implementation_of_the_specification_proves_too(
    private: Committed, public: Committed, shown: Committed, tmp_path: Path
) -> None:
    for name, circuit in (("private", private), ("public", public), ("shown", shown)):
        folder = tmp_path / name
        folder.mkdir()
        proof, lanes = dishonest(circuit, folder, "nothing")
        assert lanes == listed(circuit, proof)
        for lane in range(LANES):
            assert failures(circuit, proof, lanes, lane) == []


@pytest.mark.parametrize(
    ("bend", "refused_by"),
    [
        pytest.param("quotient of the last lane", "residues", marks=pytest.mark.long),
        pytest.param("border of the last lane", "residues", marks=pytest.mark.long),
        pytest.param("result of the last lane", "residues", marks=pytest.mark.long),
        ("results that cancel", "residues"),
        pytest.param("quotients that cancel", "residues", marks=pytest.mark.long),
        pytest.param("results swapped", "residues", marks=pytest.mark.long),
        ("lanes swapped behind the input", "residues"),
        ("lanes told apart by nothing", "challenges"),
        pytest.param("shown output", "proof", marks=pytest.mark.long),
    ],
)
def test_cheating_in_one_lane_is_refused_in_every_lane(
    private: Committed, tmp_path: Path, bend: str, refused_by: str
) -> None:
    proof, lanes = dishonest(private, tmp_path, bend)
    for lane in range(LANES):
        assert refused_by in failures(private, proof, lanes, lane)


@pytest.mark.long
def test_whole_lanes_swapped_are_refused_where_inputs_are_public(
    public: Committed, tmp_path: Path
) -> None:
    """Where they are private, such a proof is of the same statements about other secrets."""
    proof, lanes = dishonest(public, tmp_path, "whole lanes swapped")
    for lane in range(LANES):
        assert "input-instances" in failures(public, proof, lanes, lane)


@pytest.mark.long
def test_a_false_evaluation_of_another_lane_is_rejected(public: Committed, tmp_path: Path) -> None:
    proof, lanes = dishonest(public, tmp_path, "evaluation of another lane")
    for lane in range(LANES):
        assert "input-instances" in failures(public, proof, lanes, lane)


@pytest.mark.parametrize(
    ("bend", "refused_by"),
    [
        ("quotients that cancel", "residues"),
        ("results that cancel", "residues"),
        ("result and weights", "weights"),
        ("other weights", "weights"),
    ],
)
@pytest.mark.long
def test_cheating_in_one_lane_is_refused_where_weights_are_shown(
    shown: Committed, tmp_path: Path, bend: str, refused_by: str
) -> None:
    proof, lanes = dishonest(shown, tmp_path, bend)
    for lane in range(LANES):
        assert refused_by in failures(shown, proof, lanes, lane)


@pytest.mark.long
def test_a_lane_is_its_own_inputs_and_contexts_only(public: Committed) -> None:
    proof = public.honest(*XS, contexts=CONTEXTS)
    lanes = listed(public, proof)
    for lane in range(LANES):
        assert failures(public, proof, lanes, lane) == []
    assert failures(public, proof, lanes, 0, x=XS[1], context=CONTEXTS[1])
    assert "challenges" in failures(public, proof, lanes, 0, context=CONTEXTS[1])
    found = failures(public, proof, lanes, 0, x=XS[0] + np.float32(0.25))
    assert {"input-instances", "challenges"} <= {*found}


def test_a_list_of_lanes_is_the_one_that_was_hashed(private: Committed) -> None:
    proof = private.honest(*XS, contexts=CONTEXTS)
    lanes = Lanes.from_bytes(listed(private, proof))
    first, second, third = lanes.leaves
    wrong = (
        replace(lanes, leaves=(first, third, second)).to_bytes(),
        replace(lanes, leaves=(first, second)).to_bytes(),
        replace(lanes, leaves=(first, second, third, third)).to_bytes(),
        replace(lanes, leaves=(first, second, third[:-2])).to_bytes(),
        replace(lanes, evaluations=(first,)).to_bytes(),
        lanes.to_bytes() + b" ",
        canonical_json([]),
    )
    for data in wrong:
        assert "challenges" in failures(private, proof, data, 0)
    assert "manifest" in failures(private, proof, None, 0)


@pytest.mark.parametrize(
    "name",
    [pytest.param("attention", marks=pytest.mark.long), "functions", "linear layers in a row"],
)
def test_errors_of_two_lanes_do_not_cancel_in_any_sum(engine: EzklEngine, name: str) -> None:
    """Products of values and functions included: one more in a lane's hint and one less in
    another's, and two lanes' hints swapped, leave a residue under challenges that are drawn."""
    lanes = 2
    one = arranged(name, logrows=12, base=1 << 11)
    made = write_circuit(
        one.network,
        one.steps,
        shown=False,
        columns=1,
        results=[f"y{n}" for n in range(len(one.network.outputs))],
        lanes=lanes,
    )
    arrangement = made.arrangement
    honest = arrangement.committed([r.reshape(-1).tolist() for r in quantised(one, inputs(lanes))])
    places = [n for piece in arrangement.pieces for n in range(*piece)]
    bent, at = [honest], 0
    for part in arrangement.parts:
        own = places[at : at + part.size]
        at += part.size
        half = part.size // lanes
        if part.lanes != lanes or part.name == "input":
            continue
        cancel, swap = list(honest), list(honest)
        cancel[own[0]] += 1
        cancel[own[half]] -= 1
        for mine, theirs in zip(own[:half], own[half:], strict=True):
            swap[mine], swap[theirs] = honest[theirs], honest[mine]
        bent += [t for t in (cancel, swap) if t != honest]
    profile = Profile(visibility=Visibility.PRIVATE_INPUT, argument=Argument.COMMITTED)
    logrows = max(12, math.ceil(math.log2(made.cells + 20)))
    table = one.steps.base - entries(12), one.steps.base - 1
    (layout,) = engine.measure_layout(
        made.onnx, [committed_args(profile, logrows, 1, table)], LIMITS
    )
    assert isinstance(layout, LayoutStats), layout
    count = len(challenge_names(lanes))
    given = [
        [[to_felt(n) for n in tensor], [to_felt(secrets.randbits(248)) for _ in range(count)]]
        for tensor in bent
    ]
    first, *others = engine.simulate(made.onnx, layout.settings, given, LIMITS)
    assert isinstance(first, Simulated)
    zero = to_felt(0)
    assert {*first.outputs[-1]} == {zero}
    assert len(others) > len(arrangement.network.sums)
    for other in others:
        assert not isinstance(other, Simulated) or {*other.outputs[-1]} != {zero}
