"""Whose a model is: what others see of it, what they may do, and what the ledger says of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.client import Client, ServerProblem
from prover.records.api_key import ALL_SCOPES, new_api_key
from prover.statement.ownership import model_manifest
from tests.cases.signatures import eip191
from tests.unit.fake_app import MODEL, FakeApp, serving

X = {"x": [[1.0, 2.0, 3.0]]}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FakeApp]:
    fake = FakeApp(tmp_path)
    yield fake
    fake.close()


@pytest.fixture
def clients(app: FakeApp) -> Iterator[dict[str, Client]]:
    with serving(app) as url:
        found = {}
        for tenant in ("owner", "other", "third"):
            key, token = new_api_key(
                tenant=tenant, name=tenant, scopes=ALL_SCOPES, now=datetime.now(UTC)
            )
            app.store.add_api_key(key)
            found[tenant] = Client(url, api_key=token)
        yield found
        for client in found.values():
            client.close()


def refused(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(ServerProblem) as told:
        call(*args, **options)
    return told.value.problem.code


def test_what_others_see_and_may_do_is_the_owners_to_say(clients: dict[str, Client]) -> None:
    owner, other = clients["owner"], clients["other"]
    model = owner.upload_model(MODEL, "net").id
    assert owner.model(model).owner == "owner"
    assert refused(other.model, model) == "model_not_found"

    owner.change_model(model, visibility="unlisted")
    assert other.model(model).owner == "owner"
    assert other.models(public=True).items == []
    assert refused(other.create_proof, model=model, inputs=X) == "model_not_for_others"
    rows = [{"id": "a", "inputs": X}]
    with suppress(ServerProblem):  # this application has no batches
        other.create_batch(rows, model=model)
    assert other.batches().items == []

    owner.change_model(model, visibility="public", others_may_prove=True, licence="mine")
    assert [m.id for m in other.models(public=True).items] == [model]
    assert other.models().items == []  # it is not theirs
    job = other.create_proof(model=model, inputs=X)
    assert refused(owner.proof, job.id) == "job_not_found"  # nor is the job the owner's

    # Only its owner changes or signs it; to others it is a model that is not theirs.
    assert refused(other.change_model, model, visibility="private") == "model_not_found"
    signed = {"scheme": "ed25519", "signer": "0" * 64, "signature": "0" * 128}
    assert refused(other.sign_model, model, **signed) == "model_not_found"

    owner.change_model(model, visibility="private")
    assert refused(other.model, model) == "model_not_found"
    assert refused(other.create_proof, model=model, inputs=X) == "model_not_found"
    assert other.proof(job.id).id == job.id


def test_who_uploads_the_same_bytes_uses_a_model_of_their_own(
    app: FakeApp, clients: dict[str, Client]
) -> None:
    owner, other = clients["owner"], clients["other"]
    model = owner.upload_model(MODEL, "net").id
    owner.change_model(model, visibility="public", others_may_prove=True)
    assert other.upload_model(MODEL, "same").name == "same"
    job = other.create_proof(model=model, inputs=X)
    app.for_tenant("other").work(app.for_tenant("other").store.job(job.id))
    assert owner.usage().items == []
    assert [(u.caller, u.proofs) for u in other.usage(by=["caller", "owner"]).items] == [
        ("other", 1)
    ]


def test_owner_and_caller_see_the_ledger(app: FakeApp, clients: dict[str, Client]) -> None:
    owner, other, third = clients["owner"], clients["other"], clients["third"]
    model = owner.upload_model(MODEL, "net").id
    owner.change_model(model, visibility="public", others_may_prove=True)
    for client, tenant in ((owner, "owner"), (other, "other"), (other, "other")):
        job = client.create_proof(model=model, inputs=X)
        view = app.for_tenant(tenant)
        view.work(view.store.job(job.id))

    def seen(client: Client) -> list[tuple[str | None, str | None, int]]:
        found = client.usage(by=["caller", "owner"]).items
        return sorted((u.caller, u.owner, u.proofs) for u in found)

    assert seen(owner) == [("other", "owner", 2), ("owner", "owner", 1)]
    assert seen(other) == [("other", "owner", 2)]
    assert seen(third) == []
    (day,) = {u.day for u in owner.usage(by=["day"]).items}
    assert day is not None
    assert abs((day - datetime.now(UTC).date()).days) <= 1
    assert owner.usage(since=datetime(2100, 1, 1, tzinfo=UTC)).items == []

    # Which key asked is shown to its own tenant, and to the owner of the model is not.
    (key,) = (key for key in app.store.api_keys() if key.tenant == "other")
    assert [(u.key, u.proofs) for u in other.usage(by=["key"]).items] == [(key.id, 2)]
    by_key = {(u.caller, u.key is None) for u in owner.usage(by=["caller", "key"]).items}
    assert by_key == {("other", True), ("owner", False)}

    answer = owner._http.get("/v1/usage?by=caller", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["caller"], row["proofs"]) for row in table] == [("other", "2"), ("owner", "1")]


@pytest.mark.parametrize("query", ["by=nothing", "since=yesterday", "since=2026-01-01T00:00:00"])
def test_a_question_that_is_none(clients: dict[str, Client], query: str) -> None:
    assert clients["owner"]._http.get(f"/v1/usage?{query}").status_code == 422


# --- the owner's signature ---------------------------------------------------------------------


def ed25519(message: bytes) -> dict[str, str]:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    return {"scheme": "ed25519", "signer": public, "signature": key.sign(message).hex()}


@pytest.mark.parametrize("sign", [ed25519, eip191])
def test_the_owner_signs_the_models_manifest(clients: dict[str, Client], sign: Any) -> None:
    owner = clients["owner"]
    model = owner.upload_model(MODEL, "net").id
    owner.change_model(model, licence="CC-BY-4.0 ü")
    manifest = owner.model_manifest(model)
    assert manifest == model_manifest(model, "CC-BY-4.0 ü")

    signed = sign(manifest)
    kept = owner.sign_model(model, **signed).signature
    assert kept is not None
    assert (kept.scheme, kept.signer) == (signed["scheme"], signed["signer"])
    # Of another message, of another signer, or with a digit changed, it is none.
    other = sign(manifest + b" ")
    assert refused(owner.sign_model, model, **other) == "owner_signature_invalid"
    stranger = sign(manifest) | {"signer": signed["signer"]}
    assert refused(owner.sign_model, model, **stranger) == "owner_signature_invalid"
    at = 10
    digit = "1" if signed["signature"][at] == "0" else "0"
    text = signed["signature"][:at] + digit + signed["signature"][at + 1 :]
    wrong = refused(owner.sign_model, model, **(signed | {"signature": text}))
    assert wrong == "owner_signature_invalid"
    short = signed | {"signature": signed["signature"][:-2]}
    assert refused(owner.sign_model, model, **short) == "owner_signature_invalid"
    # Under another licence it says nothing any more.
    assert owner.change_model(model, licence="none").signature is None
