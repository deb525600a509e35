"""Webhook endpoints over HTTP, with a receiver that checks what arrives as its users' do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from standardwebhooks import WebhookVerificationError

from prover.records.webhook import DisabledReason
from prover.records.webhook_message import MAX_BYTES
from prover.webhooks.deliverer import Deliverer
from prover.webhooks.sender import Sender
from tests.acceptance.processes import until
from tests.cases.webhooks import Receiver, receiving
from tests.unit.fake_app import MODEL, FakeApp, http_client, serving

ENDPOINTS = "/v1/webhook-endpoints"
X = {"x": [[1.0, 2.0, 3.0]]}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FakeApp]:
    fake = FakeApp(tmp_path / "home", webhooks_allow_private=True)
    yield fake
    fake.close()


@pytest.fixture
def http(app: FakeApp) -> Iterator[httpx.Client]:
    with serving(app) as base, http_client(base) as raw:
        yield raw


@pytest.fixture
def deliverer(app: FakeApp) -> Iterator[Deliverer]:
    sender = Sender(allow_private=True)
    with Deliverer(app.store.every_tenant(), sender, look_s=0.05, draw=Random(1)) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def register(http: httpx.Client, url: str, **fields: Any) -> dict[str, Any]:
    answer = http.post(ENDPOINTS, json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == found["links"]["self"]
    return found


def prove(http: httpx.Client, app: FakeApp, problem: dict[str, Any] | None = None) -> str:
    data = MODEL + b"hooks"
    model = http.post("/v1/models", content=data, headers={"Content-Type": "application/onnx"})
    job = http.post("/v1/proofs", json={"model": model.json()["id"], "inputs": X}).json()
    app.work(app.store.job(job["id"]), problem)
    return str(job["id"])


def deliveries(http: httpx.Client, endpoint: dict[str, Any], **params: str) -> list[dict[str, Any]]:
    answer = http.get(endpoint["links"]["deliveries"], params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_the_end_of_a_proof_arrives_signed_and_thin(
    http: httpx.Client, app: FakeApp, deliverer: Deliverer, receiver: Receiver
) -> None:
    endpoint = register(http, receiver.url)
    job = prove(http, app)
    until(lambda: receiver.got)
    (event,) = receiver.events(endpoint["secret"])
    assert event["type"] == "proof.succeeded"
    assert event["data"]["id"] == job
    assert http.get(event["data"]["links"]["bundle"]).status_code == 200
    _, body = receiver.got[0]
    assert len(body) < MAX_BYTES
    assert b"outputs" not in body
    until(lambda: deliveries(http, endpoint)[0]["state"] == "delivered")
    (logged,) = deliveries(http, endpoint)
    assert logged["event"] == receiver.ids()[0]
    assert [a["status"] for a in logged["attempts"]] == [204]
    assert http.get(endpoint["links"]["self"]).json()["delivered_at"]


def test_a_secret_is_shown_once(http: httpx.Client, receiver: Receiver) -> None:
    endpoint = register(http, receiver.url)
    assert endpoint["secret"].startswith("whsec_")
    shown = http.get(endpoint["links"]["self"]).text + http.get(ENDPOINTS).text
    assert endpoint["secret"] not in shown
    asymmetric = register(http, receiver.url, signature="v1a")
    assert asymmetric["secret"] is None
    assert asymmetric["public_key"].startswith("whpk_")
    assert "whsk_" not in json.dumps(asymmetric)


def test_while_a_secret_is_rotated_both_verify_and_afterwards_the_new_one_only(
    http: httpx.Client, app: FakeApp, deliverer: Deliverer, receiver: Receiver
) -> None:
    endpoint = register(http, receiver.url)
    rotated = http.post(f"{endpoint['links']['self']}/rotate", json={"overlap_s": 3600}).json()
    assert rotated["previous_secret_until"]
    prove(http, app)
    until(lambda: receiver.got)
    assert receiver.events(endpoint["secret"]) == receiver.events(rotated["secret"])

    final = http.post(f"{endpoint['links']['self']}/rotate", json={"overlap_s": 0}).json()
    receiver.got.clear()
    prove(http, app)
    until(lambda: receiver.got)
    receiver.events(final["secret"])
    with pytest.raises(WebhookVerificationError):
        receiver.events(rotated["secret"])


def test_a_receiver_that_fails_touches_nothing_but_its_endpoint(
    http: httpx.Client, app: FakeApp, deliverer: Deliverer, receiver: Receiver
) -> None:
    receiver.status = 500
    endpoint = register(http, receiver.url)
    with receiving() as fine:
        other = register(http, fine.url)
        job = prove(http, app)
        until(lambda: fine.got)
        until(lambda: deliveries(http, endpoint)[0]["attempts"])
        (failing,) = deliveries(http, endpoint)
        assert (failing["state"], failing["attempts"][0]["status"]) == ("pending", 500)
        assert failing["next_attempt_at"]
        assert http.get(f"/v1/proofs/{job}").json()["state"] == "succeeded"
        assert http.get("/readyz").json()["ready"] is True
        assert http.get(endpoint["links"]["self"]).json()["failing_since"]
        assert http.get(other["links"]["self"]).json()["failing_since"] is None


def test_the_same_event_comes_again_with_the_same_id_after_a_failure(
    http: httpx.Client, app: FakeApp, receiver: Receiver
) -> None:
    """The deliverer's clock runs ahead: the pauses are hours."""
    receiver.status = 503
    register(http, receiver.url)
    prove(http, app)
    store = app.store.every_tenant()
    for hours in (0, 1, 2):
        now = datetime.now(UTC) + timedelta(hours=hours)
        store._now = lambda now=now: now  # type: ignore[misc]
        with Deliverer(store, Sender(allow_private=True, clock=store._now), look_s=0.05):
            until(lambda hours=hours: len(receiver.got) > hours)  # type: ignore[misc]
    assert len(receiver.got) == 3
    assert len(set(receiver.ids())) == 1
    assert len({body for _, body in receiver.got}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.got}) == 3


def test_410_disables_and_that_is_seen(
    http: httpx.Client, app: FakeApp, deliverer: Deliverer, receiver: Receiver
) -> None:
    receiver.status = 410
    endpoint = register(http, receiver.url, events=["proof.*"])
    prove(http, app)
    until(lambda: not http.get(endpoint["links"]["self"]).json()["enabled"])
    shown = http.get(endpoint["links"]["self"]).json()
    assert (shown["disabled_reason"], shown["enabled"]) == ("gone", False)
    missed = prove(http, app)
    assert app.store.count_webhooks().disabled == 1
    states = {d["state"] for d in deliveries(http, endpoint)}
    assert states == {"failed", "missed"}

    # Repaired: enabled, and told of everything since then.
    receiver.status = 200
    receiver.got.clear()
    own = endpoint["links"]["self"]
    refused = http.post(f"{own}/replay", json={"since": shown["created_at"]})
    assert refused.json()["code"] == "webhook_endpoint_disabled"
    assert http.patch(own, json={"enabled": True}).json()["enabled"] is True
    replay = http.post(f"{own}/replay", json={"since": shown["created_at"]})
    assert (replay.status_code, replay.json()["queued"]) == (202, 2)
    until(lambda: len(receiver.got) == 2)
    assert missed in {e["data"]["id"] for e in receiver.events(endpoint["secret"])}


def test_a_test_event_is_sent_whatever_is_wanted(
    http: httpx.Client, deliverer: Deliverer, receiver: Receiver
) -> None:
    endpoint = register(http, receiver.url, events=["batch.failed"])
    sent = http.post(f"{endpoint['links']['self']}/test")
    assert sent.status_code == 202
    until(lambda: receiver.got)
    assert receiver.ids() == [sent.json()["event"]]
    assert receiver.events(endpoint["secret"])[0]["type"] == "endpoint.test"


def test_a_deleted_endpoint_is_sent_nothing_more(
    http: httpx.Client, app: FakeApp, deliverer: Deliverer, receiver: Receiver
) -> None:
    endpoint = register(http, receiver.url)
    assert http.delete(endpoint["links"]["self"]).status_code == 204
    assert http.get(endpoint["links"]["self"]).status_code == 404
    prove(http, app)
    assert receiver.got == []
    assert http.delete(endpoint["links"]["self"]).json()["code"] == "webhook_endpoint_not_found"


def test_what_is_changed_is_what_was_named(http: httpx.Client, receiver: Receiver) -> None:
    endpoint = register(http, receiver.url, events=["proof.*"], description="mine")
    own = endpoint["links"]["self"]
    assert http.patch(own, json={"description": "ours"}).json()["events"] == ["proof.*"]
    assert http.patch(own, json={"events": None}).json()["events"] is None
    off = http.patch(own, json={"enabled": False}).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, DisabledReason.REQUESTED)
    assert off["description"] == "ours"
    assert http.patch(own, json={"enabled": True}).json()["disabled_reason"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://example.com/"},
        {"url": "https://example.com/\r\nX: 1"},
        {"url": "https://u:p@example.com/"},
        {"url": "https://example.com/", "events": ["proof.unknown"]},
        {"url": "https://example.com/", "events": []},
        {"url": "https://example.com/", "description": "a\nb"},
        {"url": "https://example.com/", "signature": "v2"},
        {"url": "https://example.com/", "secret": "mine"},
        {"url": ["https://example.com/"]},
        {},
    ],
)
def test_what_is_no_endpoint_is_refused(http: httpx.Client, fields: dict[str, Any]) -> None:
    answer = http.post(ENDPOINTS, json=fields)
    assert answer.status_code == 422
    assert answer.json()["code"] in ("request_invalid", "webhook_url_refused")


def test_private_addresses_are_refused_unless_the_operator_allows_them(tmp_path: Path) -> None:
    strict = FakeApp(tmp_path / "strict")
    with serving(strict) as base, http_client(base) as raw:
        for url in ("https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://10.1/"):
            answer = raw.post(ENDPOINTS, json={"url": url})
            assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused"), url
    strict.close()


def test_a_replay_begins_within_what_is_kept(http: httpx.Client, receiver: Receiver) -> None:
    own = register(http, receiver.url)["links"]["self"]
    long_ago = (datetime.now(UTC) - timedelta(days=8)).isoformat()
    answer = http.post(f"{own}/replay", json={"since": long_ago})
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_replay_window")
    for since in ("yesterday", "2026-01-01T00:00:00", None):
        assert http.post(f"{own}/replay", json={"since": since}).status_code == 422


def test_one_tenant_has_fifty_endpoints_at_most(http: httpx.Client) -> None:
    for _ in range(50):
        register(http, "http://127.0.0.1:9/")
    answer = http.post(ENDPOINTS, json={"url": "http://127.0.0.1:9/"})
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_endpoint_limit")
