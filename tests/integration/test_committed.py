"""Committed hints against provers who are not honest, through the verifier's own checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.engine.table_end import has_tables
from circuits.errors import CircuitNotFaithful
from circuits.format.commitments import COLUMN_SALT, POINT_BYTES, Weights
from circuits.format.digests import sha256
from circuits.format.profile import Visibility
from circuits.rebuild import derive
from prover.statement.context import Context
from tests.cases.committed import Circuits, Committed, X, network
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def private(circuit: Circuits) -> Committed:
    return circuit(Visibility.PRIVATE_INPUT)


@pytest.fixture(scope="module")
def public(circuit: Circuits) -> Committed:
    return circuit(Visibility.PUBLIC)


@pytest.fixture(scope="module")
def shown(circuit: Circuits) -> Committed:
    """A private input, and weights that the verifier has."""
    return circuit(Visibility.PRIVATE_INPUT, Weights.SHOWN)


def here(job: str = "job") -> Context:
    return Context(job_id=job)


def test_honest_proofs_verify_and_are_rebuilt(private: Committed) -> None:
    proof = private.honest(X, contexts=[here()])
    assert private.failures(proof, X, here()) == []
    private.assert_rebuilt(network())


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
        ("border", "residues"),
        pytest.param("column", "residues", marks=pytest.mark.long),
        ("sum of salt", "residues"),
        ("negative remainder", "residues"),
        ("negative input", "residues"),
        ("challenges", "challenges"),
        pytest.param("no challenge", "challenges", marks=pytest.mark.long),
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
        pytest.param("quotient", {"residues"}, marks=pytest.mark.long),
        pytest.param("hidden quotient", {"residues"}, marks=pytest.mark.long),
        pytest.param("border", {"residues"}, marks=pytest.mark.long),
        pytest.param("negative remainder", {"residues"}, marks=pytest.mark.long),
        pytest.param("negative input", {"residues"}, marks=pytest.mark.long),
        pytest.param("result", {"residues"}, marks=pytest.mark.long),
        ("result and weights", {"weights"}),
        ("other weights", {"weights"}),
        pytest.param("weights under challenges", {"weights", "challenges"}, marks=pytest.mark.long),
        pytest.param("challenges", {"challenges"}, marks=pytest.mark.long),
        pytest.param("shown output", {"proof"}, marks=pytest.mark.long),
        pytest.param("pasted", {"proof", "challenges"}, marks=pytest.mark.long),
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


@pytest.mark.long
def test_another_model_of_the_architecture_has_the_same_circuit(
    shown: Committed, circuit: Circuits
) -> None:
    """The key, the settings and the graph hold nothing of the weights."""
    other = circuit(Visibility.PRIVATE_INPUT, Weights.SHOWN, network(4))
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


def test_a_table_that_ends_elsewhere_is_not_in_the_key(
    private: Committed, commit: Callable[..., Any]
) -> None:
    """By the key's own bytes: the same columns, one entry further, are not there."""
    manifest, files = private.built.manifest, private.files
    settings = json.loads(files.settings.read_bytes())
    low = settings["run_args"]["lookup_range"][0]
    vk = files.vk.read_bytes()
    made = commit(files)
    assert has_tables(vk, low, manifest.srs.logrows, made)
    assert not has_tables(vk, low + 1, manifest.srs.logrows, made)


def test_what_is_committed_to_is_salted_in_every_column(private: Committed) -> None:
    from circuits.committed.arrangement import Arrangement

    assert private.files.hints is not None
    arrangement = Arrangement.from_bytes(private.files.hints.read_bytes())
    numbers = private.built.manifest.inputs[0].quantise(X)
    first, second = (arrangement.committed([numbers]) for _ in range(2))
    starts = [start - COLUMN_SALT for start, _ in arrangement.pieces]
    for start in starts:
        mine, others = (set(t[start : start + COLUMN_SALT]) for t in (first, second))
        assert len(mine) == len(others) == COLUMN_SALT
        assert not mine & others


def quantised() -> bytes:
    """A layer in 8 bits, and one behind it."""
    rng = np.random.default_rng(9)
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 1, 6, 6] x) => (float[1, 3] y) {
      q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
      f = Flatten(d) h = MatMul(f, w)
      i = QuantizeLinear(h, t, z) j = DequantizeLinear(i, t, z)
      y = MatMul(j, v)
    }""")
    constants = {
        "s": np.float32(2 / 255),
        "z": np.uint8(127),
        "t": np.float32(0.05),
        "w": rng.normal(0, 0.3, (36, 5)).astype(np.float32),
        "v": rng.normal(0, 0.3, (5, 3)).astype(np.float32),
    }
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return bytes(model.SerializeToString())


def test_who_rounds_otherwise_than_the_model_has_no_proof(
    circuit: Circuits, tmp_path: Path
) -> None:
    rounded = circuit(Visibility.PUBLIC, model=quantised())
    manifest = rounded.built.manifest
    proof = rounded.honest(X, contexts=[here()])
    assert rounded.failures(proof, X, here()) == []
    derive(rounded.engine, quantised(), manifest, LIMITS)
    bent = rounded.dishonest(tmp_path, X, contexts=[here()], bend="rounded to the next")
    assert "residues" in rounded.failures(bent, X, here())
