"""Private weights against provers who are not honest, through the verifier's own checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.committed.arithmetic import InputSteps, Steps, SumSteps, entries
from circuits.committed.arrangement import Arrangement
from circuits.committed.network import Axis, Convolution, Kind, Network, Sum, View
from circuits.compiler.build import BuiltCircuit
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, LayoutStats, ProofResult, set_up_files
from circuits.engine.proof_json import EzklProof
from circuits.errors import CircuitNotFaithful
from circuits.format.commitments import (
    COLUMN_SALT,
    POINT_BYTES,
    Binding,
    Commitments,
    Subject,
    Weights,
    columns,
    doubled,
)
from circuits.format.digests import sha256
from circuits.format.field import to_felt
from circuits.format.profile import Argument, Profile, Visibility
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.plan.committed import committed_args
from circuits.rebuild import derive, rebuild
from circuits.srs.files import Policy as SrsPolicy
from circuits.srs.files import SrsFolder
from circuits.srs.identity import Comparison
from circuits.srs.verify_part import extract
from prover.jobs.reference import measured_error
from prover.statement.bundle import write_bundle
from prover.statement.context import Context
from prover.statement.envelope import sign_bundle
from prover.statement.statement import decode_outputs
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Status
from tests.cases.committed import Circuits, Committed, X, network
from tests.conformance.make_vectors import signer
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

HERE = Context(job_id="job")


@pytest.fixture(scope="module")
def private(circuit: Circuits) -> Committed:
    """Private weights, and a private input."""
    return circuit(Visibility.PRIVATE_INPUT, Weights.PRIVATE)


@pytest.fixture(scope="module")
def other(circuit: Circuits) -> Committed:
    """Another model of the same architecture."""
    return circuit(Visibility.PRIVATE_INPUT, Weights.PRIVATE, network(4))


@pytest.fixture(scope="module")
def honest(private: Committed) -> ProofResult:
    proof = private.honest(X, contexts=[HERE])
    assert private.failures(proof, X, HERE) == []
    return proof


def claim_of(circuit: Committed) -> Commitments:
    claim = circuit.built.manifest.commitments
    assert claim is not None
    return claim


def network_of(built: BuiltCircuit) -> Arrangement:
    return Arrangement.from_bytes(built.files["hints"].read_bytes())


def refusals(circuit: Committed, proof: ProofResult, policy: Policy | None = None) -> list[str]:
    """The names of the checks that refuse a bundle, read from its bytes."""
    statement, bundle = circuit.stated(proof, X, HERE)
    data = write_bundle(sign_bundle(statement, bundle, signer(1)))
    report = verify_bundle(data, engine=circuit.engine, policy=policy, limits=LIMITS)
    return [check.name for check in report.failures]


def test_another_implementation_of_the_specification_proves_too(
    private: Committed, tmp_path: Path
) -> None:
    proof = private.dishonest(tmp_path, X, contexts=[HERE], bend="nothing")
    assert private.failures(proof, X, HERE) == []


@pytest.mark.parametrize(
    ("bend", "refused_by"),
    [
        pytest.param("quotient", {"residues"}, marks=pytest.mark.long),
        pytest.param("result", {"residues"}, marks=pytest.mark.long),
        pytest.param("weight outside the table", {"residues", "identity"}, marks=pytest.mark.long),
        ("other private weight", {"identity"}),
        pytest.param("result and constant", {"identity"}, marks=pytest.mark.long),
        pytest.param(
            "constant after challenges", {"challenges", "identity"}, marks=pytest.mark.long
        ),
        pytest.param("salt of the identity", {"identity"}, marks=pytest.mark.long),
        ("forged quotient", {"identity"}),
        pytest.param("place of one's own", {"identity"}, marks=pytest.mark.long),
        pytest.param("quotient for its place", {"identity"}, marks=pytest.mark.long),
        pytest.param("challenges", {"challenges"}, marks=pytest.mark.long),
        pytest.param("pasted", {"proof", "challenges", "identity"}, marks=pytest.mark.long),
    ],
)
def test_bent_proofs_are_refused(
    private: Committed, tmp_path: Path, bend: str, refused_by: set[str]
) -> None:
    """Each by the checks that are there for it, and no others."""
    proof = private.dishonest(tmp_path, X, contexts=[HERE], bend=bend)
    assert {*private.failures(proof, X, HERE)} == refused_by


@pytest.mark.long
def test_proofs_of_one_identity_share_no_commitment(
    private: Committed, honest: ProofResult
) -> None:
    claim, logrows = claim_of(private), private.built.manifest.srs.logrows
    second = private.honest(X, contexts=[HERE])
    assert second.identity != honest.identity
    found = [
        claim.private_points(claim.committed(p.proof, logrows)[0], logrows)
        for p in (honest, second)
    ]
    points = [*found[0], *found[1], *(bytes.fromhex(point) for point in claim.identity)]
    assert len({*points}) == 3 * len(claim.identity) > 0
    salt = network_of(private.built).identity_salt
    assert len({*salt}) == COLUMN_SALT * len(claim.identity)


def test_a_receipt_names_the_identity_and_carries_no_weights(
    private: Committed, honest: ProofResult
) -> None:
    statement, bundle = private.stated(honest, X, HERE)
    named = statement.predicate.circuit.weights_identity
    assert named == private.built.manifest.weights_identity
    assert statement.predicate.receipt.schema_version == 7
    assert "weights-identity" in {claim.id for claim in statement.predicate.non_claims}
    assert bundle.weights is None
    policies = [Policy(weights_identity=n) for n in (named, "sha256:" + "0" * 64)]
    assert refusals(private, honest, policies[0]) == []
    assert refusals(private, honest, policies[1]) == ["expected-circuit"]


@pytest.mark.parametrize("changes", [{"elements": 5000}, {"private": 140}, {"residues": 3}])
def test_an_identity_says_which_commitments_are_the_weights(
    private: Committed, honest: ProofResult, changes: dict[str, Any]
) -> None:
    """With the sizes moved between tensors whose columns are as many in total, the engine accepts
    the same key, and other commitments would be compared with the identity's points."""
    manifest = private.built.manifest
    policy = Policy(weights_identity=manifest.weights_identity)
    moved = replace(manifest, commitments=replace(claim_of(private), **changes))
    settings = replace(manifest, files=manifest.files | {"settings": "sha256:" + "0" * 64})
    for forged in (moved, settings):
        bent = replace(private, built=replace(private.built, manifest=forged))
        assert "expected-circuit" in refusals(bent, honest, policy)


def test_a_receipt_tells_little_of_the_weights(private: Committed, honest: ProofResult) -> None:
    """A scale as fine as the table allows would confirm a guess of one layer; an exact error would
    tell the exact output."""
    sums = network_of(private.built).steps.sums
    assert all(math.frexp(own.scale)[0] == 0.5 and not any(own.shifts) for own in sums)
    manifest = private.built.manifest
    (output,) = decode_outputs(manifest, honest.instances)
    shown = replace(manifest.profile, visibility=Visibility.PUBLIC)
    want = [np.array(output.values).reshape(output.shape) + 0.001]
    error = measured_error(replace(manifest, profile=shown), honest, want)
    assert error.max_relative == manifest.profile.max_error


@pytest.mark.long
def test_a_key_is_an_architectures_and_an_identity_a_models(
    private: Committed, other: Committed, honest: ProofResult
) -> None:
    for name in ("vk", "settings", "rewritten"):
        assert private.built.files[name].read_bytes() == other.built.files[name].read_bytes()
    assert private.built.manifest.weights_identity != other.built.manifest.weights_identity
    proof = other.honest(X, contexts=[HERE])
    assert other.failures(proof, X, HERE) == []
    assert {*private.failures(proof, X, HERE)} == {"challenges", "identity"}
    stolen = replace(proof, identity=honest.identity)
    assert other.failures(stolen, X, HERE) == ["identity"]


@pytest.mark.parametrize(
    ("changes", "refused_by"),
    [
        ({"identity": ()}, {"manifest"}),
        ({"identity": ("00" * 64,)}, {"challenges", "identity"}),
        ({"identity": ("0" * 127,)}, {"manifest"}),
        ({"identity": ("A" * 128,)}, {"manifest"}),
        ({"private": 5000}, {"manifest"}),
        ({"private": 140}, {"challenges", "settings-agree", "identity"}),
        ({"private": 0}, {"manifest"}),
        ({"private": None, "identity": ()}, {"manifest"}),
        ({"network_sha256": "sha256:" + "0" * 64}, {"challenges", "identity"}),
    ],
)
def test_a_claim_is_the_circuits(
    private: Committed, honest: ProofResult, changes: dict[str, Any], refused_by: set[str]
) -> None:
    manifest = private.built.manifest
    forged = replace(manifest, commitments=replace(claim_of(private), **changes))
    if changes.get("private", 1) is None:  # what is sealed has no identity
        forged = replace(forged, profile=replace(forged.profile, weights=Weights.SEALED))
    bent = replace(private, built=replace(private.built, manifest=forged))
    assert refused_by <= {*refusals(bent, honest)}


def _swapped(circuit: Committed, proof: ProofResult) -> ProofResult:
    """The commitments to the weights are the identity's own."""
    at = columns(claim_of(circuit).elements, circuit.built.manifest.srs.logrows) * POINT_BYTES
    point = bytes.fromhex(claim_of(circuit).identity[0])
    data = proof.proof[:at] + point + proof.proof[at + POINT_BYTES :]
    made = EzklProof(instances=proof.instances, proof=data).to_bytes()
    return replace(proof, proof=data, proof_json=made)


@pytest.mark.parametrize(
    ("change", "refused_by"),
    [
        (lambda c, p: replace(p, identity=None), {"manifest"}),
        (lambda c, p: replace(p, identity=p.identity[:-1]), {"identity"}),
        (lambda c, p: replace(p, identity=bytes(128)), {"identity"}),
        (lambda c, p: replace(p, identity=p.identity[64:] + p.identity[:64]), {"identity"}),
        (_swapped, {"identity", "challenges", "proof"}),
    ],
)
def test_an_argument_is_the_proofs(
    private: Committed,
    honest: ProofResult,
    change: Callable[[Committed, ProofResult], ProofResult],
    refused_by: set[str],
) -> None:
    assert refused_by <= {*refusals(private, change(private, honest))}


@pytest.mark.long
def test_weights_of_several_columns(engine: EzklEngine, srs_cache: Path, tmp_path: Path) -> None:
    """Each column has salt and a point of its own, in the engine's order."""
    logrows, base = 11, 512
    weights = np.random.default_rng(5).integers(-60, 60, (100, 30, 1, 1))
    view = View(rows=(0,), places=np.arange(30).reshape(1, 1, 30))
    axis = Axis(size=1, taps=1, stride=1, dilation=1, before=0, outputs=1)
    dense = Convolution(view=view, weights=weights, height=axis, width=axis)
    bias = np.arange(100)
    step = Sum(kind=Kind.RESULT, shape=(1, 1, 100), terms=(dense,), bias=bias)
    output = View(rows=(1,), places=np.arange(100))
    own = SumSteps(scale=1.0, offset=0, digits=0, shifts=(0,) * 100)
    made = write_circuit(
        Network(inputs=(30,), steps=(step,), outputs=(output,)),
        Steps(base=base, logrows=logrows, inputs=(InputSteps(scale=0, offset=8),), sums=(own,)),
        shown=False,
        columns=4,
        results=["y"],
        weights=Weights.PRIVATE,
    )
    profile = Profile(
        visibility=Visibility.PRIVATE_INPUT, argument=Argument.COMMITTED, weights=Weights.PRIVATE
    )
    args = committed_args(profile, logrows, 4, (base - entries(logrows), base - 1))
    (layout,) = engine.measure_layout(made.onnx, [args], LIMITS)
    assert isinstance(layout, LayoutStats), layout
    folder = SrsFolder(srs_cache)
    srs = folder.ensure(
        logrows, SrsPolicy.DEVELOPMENT, lambda path, k: engine.generate_srs(path, k, LIMITS)
    ).path
    engine.setup(made.onnx, layout.settings, srs, tmp_path, LIMITS)
    files = CircuitFiles.of(set_up_files(tmp_path, srs))
    data, points = engine.commit_weights(made.arrangement.to_bytes(), files, LIMITS)
    assert len(points) == 2
    (tmp_path / "network").write_bytes(data)
    claim = replace(made.claim, network_sha256=sha256(data), identity=points)
    files = replace(files, hints=tmp_path / "network", commitments=claim)
    x = [n % 17 - 8 for n in range(30)]
    proof = engine.prove(files, [[to_felt(n) for n in x], [to_felt(5)]], LIMITS)
    parts = files.settings.read_bytes(), files.vk.read_bytes(), extract(srs)
    assert engine.verify(proof.proof_json, *parts, LIMITS)
    binding = Binding(
        vk=parts[1],
        settings=parts[0],
        srs_part=parts[2],
        claim=claim,
        about=Subject(context=5, inputs=None),
    )
    (committed_to,) = claim.committed(proof.proof, logrows)
    assert proof.instances[:5] == doubled(binding.challenges(committed_to))
    assert proof.instances[-claim.residues :] == [to_felt(0)] * claim.residues
    wanted = weights[:, :, 0, 0] @ np.array(x) + bias
    assert proof.instances[5:-2] == [to_felt(int(n)) for n in wanted]
    comparison = Comparison.of(binding, committed_to, logrows)
    assert proof.identity is not None
    assert engine.identity_fault(comparison, proof.identity, parts[2], LIMITS) is None
    exchanged = replace(comparison, identity=comparison.identity[::-1])
    assert engine.identity_fault(exchanged, proof.identity, parts[2], LIMITS) is not None


@pytest.mark.long
def test_a_rebuild_gives_the_architectures_key_and_says_so(
    private: Committed, other: Committed, honest: ProofResult
) -> None:
    manifest = private.built.manifest

    def again(model: bytes, *_: Any) -> Any:
        settings = private.files.settings.read_bytes()
        folder = SrsFolder(private.srs)
        return rebuild(private.engine, folder, model, manifest, settings, manifest.srs, LIMITS)

    assert again(network()).vk == private.files.vk.read_bytes()
    statement, bundle = private.stated(honest, X, HERE)
    data = write_bundle(sign_bundle(statement, bundle, signer(1)))
    report = verify_bundle(
        data, engine=private.engine, model=network(), rebuild=again, limits=LIMITS
    )
    assert report.ok
    found = {check.name: check for check in report.checks}
    assert found["rebuild"].status is Status.WARN
    forged = replace(manifest, commitments=replace(claim_of(private), residues=3))
    with pytest.raises(CircuitNotFaithful, match="committed hints"):
        derive(private.engine, network(), forged, LIMITS)
