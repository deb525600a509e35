"""Jobs from order to bundle in one process, with real proofs, in each profile."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from circuits.engine.ezkl_engine import EzklEngine
from circuits.errors import ProfileContradiction
from circuits.format.commitments import Weights
from circuits.format.profile import Argument, Profile, Soundness, Visibility
from prover.app import App
from prover.records.job import JobOptions, ModelVisibility
from prover.records.usage import Grouping
from prover.statement.bundle import read_bundle
from prover.statement.envelope import Receipt
from prover.statement.ownership import OwnerSignature, Scheme, model_manifest
from tests.cases import tiny
from tests.cases.pipeline import INPUT, OUTPUT, inputs_kept, ordered, outputs, proved

pytestmark = pytest.mark.slow

#: Of visibilities that ask for more.
PROFILES = {
    Visibility.COMMITTED_INPUT: Profile(visibility=Visibility.COMMITTED_INPUT, input_scale=6)
}


@pytest.mark.parametrize("visibility", [v for v in Visibility if v.shows_weights])
def test_each_visibility_proves_verifies_and_shows_only_what_it_should(
    app: App, visibility: Visibility
) -> None:
    job = proved(
        app,
        tiny.linear(),
        INPUT,
        profile=PROFILES.get(visibility, Profile(visibility=visibility)),
        context={"nonce": "mine"},
    )
    assert outputs(job)["y"] == OUTPUT
    bundle = app.bundle(job)
    report = app.verify(bundle, {"context": {"nonce": "mine"}})
    assert report["ok"]
    assert not app.verify(bundle, {"context": {"nonce": "another's"}})["ok"]
    if not visibility.shows_input:
        assert "[1.0, -1.0, 2.0, 0.0]" not in json.dumps(report)
    assert inputs_kept(app) == []


@pytest.mark.long
@pytest.mark.parametrize("weights", [Weights.SHOWN, Weights.PRIVATE])
def test_a_retrained_model_whose_weights_are_no_constants_needs_no_set_up(
    app: App, monkeypatch: pytest.MonkeyPatch, weights: Weights
) -> None:
    """One key serves an architecture. (All else of a set-up is found by the graph's digest.)"""
    profile = Profile(
        visibility=Visibility.PRIVATE_INPUT, argument=Argument.COMMITTED, weights=weights
    )
    first = proved(app, tiny.linear(), INPUT, profile=profile)
    np.testing.assert_allclose(outputs(first)["y"], OUTPUT, atol=0.05)
    monkeypatch.setattr(EzklEngine, "setup", None)
    retrained = proved(app, tiny.linear(scale=0.9), INPUT, profile=profile)
    np.testing.assert_allclose(outputs(retrained)["y"], 0.9 * np.array(OUTPUT), atol=0.3)
    bundles = [read_bundle(app.bundle(job)) for job in (first, retrained)]
    assert bundles[0].vk == bundles[1].vk
    assert bundles[0].settings == bundles[1].settings
    assert (bundles[0].weights != bundles[1].weights) == (weights is Weights.SHOWN)
    assert (bundles[0].identity != bundles[1].identity) == (weights is Weights.PRIVATE)
    for job in (first, retrained):
        report = app.verify(app.bundle(job), None)
        assert report["ok"]
        passed = {check["name"] for check in report["checks"] if check["status"] == "pass"}
        assert passed & {"weights", "identity"} == {
            "weights" if weights is Weights.SHOWN else "identity"
        }


@pytest.mark.long
def test_receipts_of_several_models_name_one_input(app: App) -> None:
    """Under the salt of its owner; without it each proof has a new one."""
    profile = PROFILES[Visibility.COMMITTED_INPUT]
    options = JobOptions(input_salt="5a" * 32)
    models = tiny.linear(), tiny.linear(scale=0.9)
    jobs = [proved(app, m, INPUT, profile=profile, options=options) for m in models]
    jobs.append(proved(app, models[0], INPUT, profile=profile))
    np.testing.assert_allclose(outputs(jobs[0])["y"], OUTPUT, atol=0.05)
    results = [job.result or {} for job in jobs]
    names = [result["input_identity"] for result in results]
    assert names[0] == names[1] != names[2]
    assert results[0]["input_salt"] == options.input_salt != results[2]["input_salt"]
    for job, name in zip(jobs, names, strict=True):
        report = app.verify(app.bundle(job), {"input_identity": name})
        assert report["ok"]
        assert report["statement"]["input_identity"] == name
    for job, name in ((jobs[0], names[2]), (jobs[2], names[0])):
        assert not app.verify(app.bundle(job), {"input_identity": name})["ok"]
    private = replace(profile, visibility=Visibility.PRIVATE_INPUT)
    with pytest.raises(ProfileContradiction, match="names none"):
        ordered(app, models[0], INPUT, profile=private, options=options)


def test_a_tenant_proves_anothers_model_and_the_receipt_has_its_owners_signature(app: App) -> None:
    owner, other = app.for_tenant("owner"), app.for_tenant("other")
    model, _ = owner.add_model(tiny.linear(), "net")
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    owner.store.change_model(
        model.id, visibility=ModelVisibility.UNLISTED, others_may_prove=True, licence="ours"
    )
    signature = OwnerSignature.read(
        Scheme.ED25519, public, key.sign(model_manifest(model.id, "ours")).hex()
    )
    owner.store.sign_model(model.id, signature.to_json(), "ours")

    job = other.request_proof(
        model_id=model.id,
        circuit_id=None,
        payload={"inputs": INPUT},
        profile=Profile(),
        context=None,
    )
    app.run(job.id, "test")
    done = other.store.job(job.id)
    assert outputs(done)["y"] == OUTPUT
    report = app.verify(other.bundle(done), None)
    assert report["ok"]
    assert next(c for c in report["checks"] if c["name"] == "owner")["status"] == "pass"
    receipt = Receipt.from_bytes(other.receipt(done)).statement().predicate.owner
    assert receipt is not None
    assert (receipt.signer, receipt.licence) == (public, "ours")
    (used,) = owner.store.usage([Grouping.CALLER, Grouping.OWNER])
    assert (used.caller, used.owner, used.proofs) == ("other", "owner", 1)
    assert used.proving_s > 0 < used.building_s


def test_the_conservative_profile_proves_too(app: App) -> None:
    job = proved(app, tiny.linear(), INPUT, profile=Profile(soundness=Soundness.CONSERVATIVE))
    assert outputs(job)["y"] == OUTPUT
    assert app.verify(app.bundle(job), None)["ok"]
