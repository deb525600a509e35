"""Inputs that an identity names, against provers who are not honest, through the verifier's own
checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from circuits.batching.batched_circuit import BatchedBuilder
from circuits.batching.errors import CannotBatch
from circuits.engine.port import ProofResult
from circuits.errors import CircuitNotFaithful
from circuits.format.commitments import (
    POINT_BYTES,
    Commitments,
    Weights,
    columns,
    input_identity,
)
from circuits.format.profile import Visibility
from circuits.rebuild import derive
from circuits.srs.input_identity import ARGUMENT_BYTES, NamedInput
from circuits.srs.verify_part import extract
from prover.statement.bundle import write_bundle
from prover.statement.context import Context
from prover.statement.envelope import sign_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Report
from tests.cases.committed import SALT, Circuits, Committed, X, network
from tests.conformance.make_vectors import signer
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

HERE, THERE = Context(job_id="job"), Context(job_id="another")
SCALE = 6
NAMED = Visibility.COMMITTED_INPUT


@pytest.fixture(scope="module")
def named(circuit: Circuits) -> Committed:
    return circuit(NAMED, input_scale=SCALE)


@pytest.fixture(scope="module")
def other(circuit: Circuits) -> Committed:
    """Another model, whose weights are private as well."""
    return circuit(NAMED, Weights.PRIVATE, network(4), input_scale=SCALE)


@pytest.fixture(scope="module")
def honest(named: Committed) -> ProofResult:
    proof = named.honest(X, contexts=[HERE])
    assert named.failures(proof, X, HERE) == []
    return proof


@pytest.fixture(scope="module")
def elsewhere(named: Committed) -> ProofResult:
    """Of the same input in another context."""
    return named.honest(X, contexts=[THERE])


def claim_of(circuit: Committed) -> Commitments:
    claim = circuit.built.manifest.commitments
    assert claim is not None
    return claim


def name_of(circuit: Committed, proof: ProofResult) -> str:
    found = circuit.stated(proof, X, HERE)[0].predicate.input.identity
    assert found is not None
    return found


def verified(circuit: Committed, proof: ProofResult, policy: Policy | None = None) -> Report:
    """What a verifier says of a bundle, read from its bytes."""
    statement, bundle = circuit.stated(proof, X, HERE)
    data = write_bundle(sign_bundle(statement, bundle, signer(1)))
    return verify_bundle(data, engine=circuit.engine, policy=policy, limits=LIMITS)


def refusals(circuit: Committed, proof: ProofResult, policy: Policy | None = None) -> list[str]:
    """The names of the checks that refuse a bundle."""
    return [check.name for check in verified(circuit, proof, policy).failures]


def test_one_identity_names_the_input_of_several_models(
    named: Committed, other: Committed, honest: ProofResult
) -> None:
    assert named.built.manifest.srs == other.built.manifest.srs
    assert named.files.vk.read_bytes() != other.files.vk.read_bytes()
    proof = other.honest(X, contexts=[HERE])
    assert other.failures(proof, X, HERE) == []
    name = name_of(named, honest)
    assert name_of(other, proof) == name
    pinned = Policy(input_identity=name)
    assert refusals(named, honest, pinned) == refusals(other, proof, pinned) == []
    assert refusals(named, honest, Policy(input_identity="sha256:" + "0" * 64)) == [
        "expected-input"
    ]
    circuit = named.stated(honest, X, HERE)[0].predicate.circuit
    fixed = replace(pinned, manifest_sha256=circuit.manifest_sha256)
    for policy, warned in ((pinned, True), (fixed, False)):
        warnings = [check.name for check in verified(named, honest, policy).warnings]
        assert ("expected-input" in warnings) == warned
    bent = X.copy()
    bent[0, 0, 0, 0] = 1.0
    assert name_of(named, named.honest(bent, contexts=[HERE])) != name


def test_an_owner_knows_the_name_without_a_proof(named: Committed, honest: ProofResult) -> None:
    (encoding,) = named.built.manifest.inputs
    assert encoding.scale == SCALE
    point = NamedInput.of(encoding.quantise(X), SALT, named.files.srs).point
    part = extract(named.files.srs)
    assert input_identity(point, part, [(X.size, SCALE)]) == name_of(named, honest)


@pytest.mark.long
def test_proofs_of_one_identity_share_no_other_point(named: Committed, honest: ProofResult) -> None:
    claim, logrows = claim_of(named), named.built.manifest.srs.logrows
    second = named.honest(X, contexts=[HERE])

    def points(proof: ProofResult) -> list[bytes]:
        assert proof.input_identity is not None
        (first,) = claim.committed(proof.proof, logrows)
        return [
            data[n : n + POINT_BYTES]
            for data in (first, proof.input_identity)
            for n in range(0, len(data), POINT_BYTES)
        ]

    mine, its = points(honest), points(second)
    assert len(mine) == columns(claim.elements, logrows) + ARGUMENT_BYTES // POINT_BYTES
    assert honest.input_identity is not None
    assert {*mine} & {*its} == {honest.input_identity[:POINT_BYTES]}
    shown = len(claim.challenges)
    assert honest.instances[shown] != second.instances[shown]
    assert not {*honest.instances[:shown]} & {*second.instances[:shown]}


def test_a_receipt_names_the_input_and_does_not_carry_it(
    named: Committed, honest: ProofResult
) -> None:
    statement, bundle = named.stated(honest, X, HERE)
    assert statement.predicate.receipt.schema_version == 10
    assert "input-identity" in {claim.id for claim in statement.predicate.non_claims}
    assert bundle.input is None


@pytest.mark.parametrize(
    ("bend", "refused_by"),
    [
        ("nothing", set()),
        ("another input", {"input-identity"}),
        pytest.param("another last element", {"input-identity"}, marks=pytest.mark.long),
        ("input below the table", {"input-identity"}),
        ("difference of a lower degree", {"input-identity"}),
        pytest.param("place of one's own", {"input-identity"}, marks=pytest.mark.long),
        pytest.param(
            "added after its place", {"challenges", "input-identity"}, marks=pytest.mark.long
        ),
        pytest.param("challenges", {"challenges", "input-identity"}, marks=pytest.mark.long),
        pytest.param("result", {"residues"}, marks=pytest.mark.long),
        pytest.param("pasted", {"proof", "challenges", "input-identity"}, marks=pytest.mark.long),
    ],
)
def test_bent_proofs_are_refused(
    named: Committed, tmp_path: Path, bend: str, refused_by: set[str]
) -> None:
    """Each by the checks that are there for it, and no others; another implementation of the
    specification is not."""
    lowest = X.copy()
    lowest.reshape(-1)[5] = named.built.manifest.inputs[0].lower
    proof = named.dishonest(tmp_path, lowest, contexts=[HERE], bend=bend)
    assert {*named.failures(proof, lowest, HERE)} == refused_by


@pytest.mark.parametrize(
    ("bend", "refused_by"),
    [("nothing", set()), ("identity of the weights", {"input-identity"})],
)
@pytest.mark.long
def test_an_identity_of_weights_names_no_input(
    other: Committed, tmp_path: Path, bend: str, refused_by: set[str]
) -> None:
    proof = other.dishonest(tmp_path, X, contexts=[HERE], bend=bend)
    assert {*other.failures(proof, X, HERE)} == refused_by


@pytest.mark.long
def test_an_identity_of_an_input_names_no_weights(other: Committed) -> None:
    proof = other.honest(X, contexts=[HERE])
    assert proof.input_identity is not None
    forged = replace(claim_of(other), identity=(proof.input_identity[:POINT_BYTES].hex(),))
    manifest = replace(other.built.manifest, commitments=forged)
    bent = replace(other, built=replace(other.built, manifest=manifest))
    proof = bent.honest(X, contexts=[HERE])
    assert refusals(bent, proof) == ["identity"]


@pytest.mark.parametrize(
    ("change", "refused_by"),
    [
        (lambda data, its: None, {"statement"}),
        (lambda data, its: data[:-1], {"manifest"}),
        (lambda data, its: bytes(ARGUMENT_BYTES), {"input-identity", "challenges"}),
        (lambda data, its: its, {"input-identity", "challenges"}),
        (lambda data, its: data[:128] + its[128:], {"input-identity"}),
        (lambda data, its: data[:64] + its[64:], {"input-identity", "challenges"}),
    ],
)
def test_an_argument_is_the_proofs(
    named: Committed,
    honest: ProofResult,
    elsewhere: ProofResult,
    change: Callable[[bytes, bytes], bytes | None],
    refused_by: set[str],
) -> None:
    mine, its = honest.input_identity, elsewhere.input_identity
    assert mine is not None
    assert its is not None
    made = replace(honest, input_identity=change(mine, its))
    if made.input_identity is None:
        with pytest.raises(ValueError, match="committed inputs"):
            refusals(named, made)
    else:
        assert refused_by <= {*refusals(named, made)}


@pytest.mark.parametrize(
    ("changes", "refused_by"),
    [
        ({"blinding": None}, "manifest"),
        ({"blinding": 5}, "manifest"),
        ({"evaluated": (6, 6)}, "manifest"),
        ({"evaluated": (1, 42)}, "manifest"),
        ({"lanes": 2}, "manifest"),
    ],
)
def test_a_claim_is_the_circuits(
    named: Committed, honest: ProofResult, changes: dict[str, Any], refused_by: str
) -> None:
    """With rows of another width a polynomial's coefficients would be sums of the input's."""
    manifest = replace(named.built.manifest, commitments=replace(claim_of(named), **changes))
    bent = replace(named, built=replace(named.built, manifest=manifest))
    assert refused_by in refusals(bent, honest)


@pytest.mark.parametrize("visibility", [Visibility.PRIVATE_INPUT, Visibility.PUBLIC])
@pytest.mark.long
def test_only_a_profile_that_names_inputs_has_an_identity(
    named: Committed, honest: ProofResult, visibility: Visibility
) -> None:
    profile = replace(named.built.manifest.profile, visibility=visibility)
    forged = replace(named.built.manifest, profile=profile)
    bent = replace(named, built=replace(named.built, manifest=forged))
    with pytest.raises(ValueError, match="committed inputs"):
        refusals(bent, honest)
    assert "manifest" in refusals(bent, replace(honest, input_identity=None))


def test_a_rebuild_gives_the_same_circuit(named: Committed, honest: ProofResult) -> None:
    derive(named.engine, network(), named.built.manifest, LIMITS)
    private = replace(named.built.manifest.profile, visibility=Visibility.PRIVATE_INPUT)
    with pytest.raises(CircuitNotFaithful):
        derive(named.engine, network(), replace(named.built.manifest, profile=private), LIMITS)


def test_lanes_are_refused(named: Committed) -> None:
    builder: Any = None
    single: Any = SimpleNamespace(manifest=named.built.manifest)
    with pytest.raises(CannotBatch, match="a proof to itself"):
        BatchedBuilder.lane_costs(builder, single)


@pytest.mark.long
def test_zeros_and_the_ends_of_the_range_have_identities(named: Committed) -> None:
    (encoding,) = named.built.manifest.inputs
    ends = np.full_like(X, encoding.lower)
    ends.reshape(-1)[::2] = encoding.upper
    for x in (np.zeros_like(X), np.full_like(X, 0.25)):
        assert named.failures(named.honest(x, contexts=[HERE]), x, HERE) == []
    assert NamedInput.of(encoding.quantise(ends), SALT, named.files.srs).point
