"""Bundles about committed hints whose issuer is not honest: every digest is right, and what they
say of commitments, weights and sizes is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import ProofResult
from circuits.engine.proof_json import EzklProof
from circuits.format.commitments import POINT_BYTES, Commitments, Weights
from circuits.format.digests import sha256, sha256_file
from circuits.format.profile import Visibility
from circuits.rebuild import derive
from circuits.srs.g2 import Q
from prover.statement.bundle import write_bundle
from prover.statement.context import Context
from prover.statement.envelope import sign_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.report import Check, Status
from tests.cases.committed import Circuits, Committed, X, network
from tests.conformance.make_vectors import signer
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

HERE = Context(job_id="job")
Settings = dict[str, Any]


@pytest.fixture(scope="module")
def shown(circuit: Circuits) -> Committed:
    """Two committed tensors before the challenges: input, hints and salt, and folded weights."""
    return circuit(Visibility.PRIVATE_INPUT, Weights.SHOWN)


@pytest.fixture(scope="module")
def honest(shown: Committed) -> ProofResult:
    proof = shown.honest(X, contexts=[HERE])
    assert shown.failures(proof, X, HERE) == []
    return proof


def point(proof: bytes, number: int) -> tuple[int, int]:
    at = number * POINT_BYTES
    x, y = proof[at : at + POINT_BYTES // 2], proof[at + POINT_BYTES // 2 : at + POINT_BYTES]
    return int.from_bytes(x, "big"), int.from_bytes(y, "big")


def with_point(proof: bytes, number: int, x: int, y: int) -> bytes:
    at = number * POINT_BYTES
    raw = x.to_bytes(POINT_BYTES // 2, "big") + y.to_bytes(POINT_BYTES // 2, "big")
    return proof[:at] + raw + proof[at + POINT_BYTES :]


def off_the_curve(proof: bytes) -> bytes:
    x, y = point(proof, 0)
    return with_point(proof, 0, x, y ^ 1)


def beyond_the_base_field(proof: bytes) -> bytes:
    x, y = point(proof, 0)
    return with_point(proof, 0, x + Q, y)


def identity(proof: bytes) -> bytes:
    return with_point(proof, 1, 0, 0)


def negated(proof: bytes) -> bytes:
    x, y = point(proof, 0)
    return with_point(proof, 0, x, Q - y)


def other_order(proof: bytes) -> bytes:
    first, second = point(proof, 0), point(proof, 1)
    return with_point(with_point(proof, 0, *second), 1, *first)


def twice(proof: bytes) -> bytes:
    return with_point(proof, 1, *point(proof, 0))


@pytest.mark.parametrize(
    "change", [off_the_curve, beyond_the_base_field, identity, negated, other_order, twice]
)
def test_commitments_are_points_in_their_order(
    shown: Committed, honest: ProofResult, change: Callable[[bytes], bytes]
) -> None:
    other = EzklProof(instances=honest.instances, proof=change(honest.proof))
    bent = replace(honest, proof=other.proof, proof_json=other.to_bytes())
    assert {"challenges", "proof"} <= {*shown.failures(bent, X, HERE)}


@pytest.mark.parametrize(
    ("changes", "refused_by"),
    [
        ({"elements": 5000}, {"challenges", "settings-agree"}),  # more columns than there are
        ({"elements": 1 << 31}, {"challenges", "settings-agree"}),
        ({"folded": 5000}, {"challenges", "settings-agree", "weights"}),
        ({"folded": None, "weights": Weights.SEALED}, {"manifest"}),
        ({"folded": None}, {"manifest"}),
        ({"folded": 0}, {"manifest"}),
        ({"elements": -1}, {"manifest"}),
        ({"weights": Weights.SEALED}, {"manifest"}),
        ({"residues": 3}, {"instances", "settings-agree"}),
        ({"output_bounds": (1 << 127,)}, {"manifest"}),
        ({"output_bounds": (1 << 126,)}, {"challenges", "weights"}),
        ({"evaluated": (6, 6)}, {"manifest"}),
        ({"lanes": 2}, {"manifest"}),
        ({"network_sha256": "sha256:" + "0" * 64}, {"challenges", "weights"}),
    ],
)
def test_a_claim_is_the_circuits(
    shown: Committed, honest: ProofResult, changes: dict[str, Any], refused_by: set[str]
) -> None:
    claim = shown.built.manifest.commitments
    assert claim is not None
    found = _failures_or_refusal(shown, replace(claim, **changes), honest)
    assert refused_by <= {*found}


def _stated(circuit: Committed, claim: Commitments, **manifest: Any) -> Committed:
    forged = replace(circuit.built.manifest, commitments=claim, **manifest)
    return replace(circuit, built=replace(circuit.built, manifest=forged))


def test_commitments_are_those_of_the_circuits_own_size(
    shown: Committed, honest: ProofResult
) -> None:
    """The number of rows says how many columns, and so commitments, a tensor has."""
    manifest = shown.built.manifest
    assert manifest.commitments is not None
    for logrows in (manifest.srs.logrows - 5, manifest.srs.logrows + 1, 0, 29):
        srs = replace(manifest.srs, logrows=logrows)
        failures = _failures_or_refusal(shown, manifest.commitments, honest, srs=srs)
        assert {"settings-agree", "manifest"} & {*failures}


def _failures_or_refusal(
    circuit: Committed, claim: Commitments, proof: ProofResult, **manifest: Any
) -> list[str]:
    """What the checks find. (Of some manifests nothing can be stated, since what stands where they
    say that outputs are is none, or the schema allows no such number.)"""
    try:
        return _stated(circuit, claim, **manifest).failures(proof, X, HERE)
    except ValueError:
        return ["manifest"]


def moved_between_tensors(settings: Settings) -> None:
    first, second, third = settings["module_sizes"]["polycommit"]
    settings["module_sizes"]["polycommit"] = [first - 1, second + 1, third]


def tensors_in_another_order(settings: Settings) -> None:
    settings["module_sizes"]["polycommit"].reverse()


def one_tensor_more(settings: Settings) -> None:
    settings["module_sizes"]["polycommit"].append(5)


def one_tensor_only(settings: Settings) -> None:
    settings["module_sizes"]["polycommit"] = [sum(settings["module_sizes"]["polycommit"])]


def another_table(settings: Settings) -> None:
    low, high = settings["run_args"]["lookup_range"]
    settings["run_args"]["lookup_range"] = [low, high + 1]


def a_range_check(settings: Settings) -> None:
    settings["required_range_checks"] = [[0, 1]]


@pytest.mark.parametrize(
    ("change", "refused_by"),
    [
        (moved_between_tensors, "settings-agree"),
        (tensors_in_another_order, "settings-agree"),
        (one_tensor_more, "settings-agree"),
        (one_tensor_only, "settings-agree"),
        (another_table, "weights"),
        (a_range_check, "settings-agree"),
    ],
)
def test_settings_are_those_of_the_commitments(
    shown: Committed,
    honest: ProofResult,
    tmp_path: Path,
    change: Callable[[Settings], None],
    refused_by: str,
) -> None:
    settings = json.loads(shown.files.settings.read_bytes())
    change(settings)
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    manifest = shown.built.manifest
    files = manifest.files | {"settings": sha256_file(path)}
    built = replace(
        shown.built,
        manifest=replace(manifest, files=files),
        files=shown.built.files | {"settings": path},
    )
    found = replace(shown, built=built).failures(honest, X, HERE)
    assert {refused_by, "challenges"} <= {*found}
    assert "settings-digest" not in found


def test_weights_are_written_in_one_way(shown: Committed, honest: ProofResult) -> None:
    """Other bytes with their own digests: what the weights fold to, or how large they get, is not
    what the claim says, or they are no network."""
    assert shown.files.hints is not None
    mine = shown.files.hints.read_bytes()
    head, _, numbers = mine.partition(b"\n")
    header = json.loads(head)
    others = {
        "longer": mine + bytes(8),
        "shorter": mine[:-8],
        "nothing": b"",
        "not canonical": json.dumps(header).encode() + b"\n" + numbers,
        "too large": mine[:-8] + ((1 << 62) - 1).to_bytes(8, "little"),
        "the most negative": mine[:-8] + (-(1 << 63)).to_bytes(8, "little", signed=True),
    }
    claim = shown.built.manifest.commitments
    assert claim is not None
    for name, data in others.items():
        files = shown.built.manifest.files | {"hints": sha256(data)}
        bent = _stated(shown, replace(claim, network_sha256=sha256(data)), files=files)
        assert "weights" in bent.failures(honest, X, HERE, data), name


def test_no_bundle_carries_weights_that_are_sealed(circuit: Circuits) -> None:
    sealed = circuit(Visibility.PRIVATE_INPUT)
    assert sealed.files.hints is not None
    proof = sealed.honest(X, contexts=[HERE])
    assert sealed.failures(proof, X, HERE) == []
    assert sealed.failures(proof, X, HERE, sealed.files.hints.read_bytes()) == ["weights"]


def test_who_has_the_model_needs_no_signature_for_its_weights(
    shown: Committed, honest: ProofResult
) -> None:
    """The weights are derived from the model, whoever signed; here an unknown key signed."""
    statement, bundle = shown.stated(honest, X, HERE)
    data = write_bundle(sign_bundle(statement, bundle, signer(7)))

    def judged(model: bytes | None) -> Check:
        report = verify_bundle(
            data,
            engine=shown.engine,
            model=model,
            derive=lambda own, manifest: derive(shown.engine, own, manifest, LIMITS),
        )
        (found,) = (check for check in report.checks if check.name == "weights")
        return found

    assert judged(None).detail.endswith("depends on the signature, or on a rebuild")
    own = judged(network())
    assert own.status is Status.WARN
    assert "the weights derived from the model are the same; only a rebuild" in own.detail
    assert judged(network(4)).failed


def test_another_models_weights_are_not_the_models(engine: EzklEngine, circuit: Circuits) -> None:
    """Everything is that of another model of the architecture, but what the manifest calls it."""
    other = circuit(Visibility.PRIVATE_INPUT, Weights.SHOWN, network(4))
    mine = sha256(network())
    manifest = replace(other.built.manifest, model_sha256=mine)
    forged = replace(other, built=replace(other.built, manifest=manifest))
    proof = forged.honest(X, contexts=[HERE])
    assert forged.failures(proof, X, HERE) == []
    statement, bundle = forged.stated(proof, X, HERE)
    report = verify_bundle(
        write_bundle(sign_bundle(statement, bundle, signer(7))),
        engine=engine,
        model=network(),
        derive=lambda own, made: derive(engine, own, made, LIMITS),
    )
    assert [check.name for check in report.failures] == ["weights"]
