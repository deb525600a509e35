"""Batches over HTTP, with real workers: posted, followed, fetched, and verified offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from api.client import Client, ServerProblem
from tests.acceptance.processes import Up, zkml
from tests.cases.tiny import linear

pytestmark = pytest.mark.slow

VALUES = np.random.default_rng(8).uniform(-1, 1, (6, 1, 4))
BAD = '{"id": "short", "inputs": {"x": [[1, 2]]}}\n'


def rows() -> str:
    lines = [{"id": f"row-{i}", "inputs": {"x": v.tolist()}} for i, v in enumerate(VALUES)]
    return "".join(json.dumps(line) + "\n" for line in lines) + BAD


def post(url: str, content: str | bytes, **query: Any) -> httpx.Response:
    headers = {"Content-Type": "application/x-ndjson"}
    return httpx.post(f"{url}/v1/batches", params=query, content=content, headers=headers)


def follow(url: str, batch_id: str) -> list[dict[str, Any]]:
    """Every event of the batch, to its end."""
    with httpx.stream("GET", f"{url}/v1/batches/{batch_id}/events", timeout=300) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith("data:")]
    return [json.loads(line.removeprefix("data:")) for line in lines]


@pytest.fixture(scope="module")
def batch(service: Up, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A batch of six good rows and a bad one, in proofs of four lanes, as it ended."""
    path = tmp_path_factory.mktemp("model") / "linear.onnx"
    path.write_bytes(linear(scale=0.5))
    with Client(service.url, timeout_s=300) as client:
        model = client.upload_model(path).id
    answer = post(service.url, rows(), model=model, lanes=4)
    assert answer.status_code == 202, answer.text
    events = follow(service.url, answer.json()["id"])
    assert [e["terminal"] for e in events] == [False] * (len(events) - 1) + [True]
    assert answer.headers["location"] == events[-1]["links"]["self"]
    ended: dict[str, Any] = events[-1]
    return ended


def test_a_batch_ends_with_a_receipt_for_each_good_row(service: Up, batch: dict[str, Any]) -> None:
    counts = {k: batch["progress"][k] for k in ("total", "done", "failed", "remaining")}
    assert (batch["state"], counts) == (
        "succeeded",
        {"total": 7, "done": 6, "failed": 1, "remaining": 0},
    )
    found = httpx.get(service.url + batch["links"]["items"]).json()["items"]
    assert [(i["id"], i["line"], i["state"]) for i in found] == [
        *((f"row-{n}", n + 1, "proved") for n in range(6)),
        ("short", 7, "failed"),
    ]
    assert found[6]["problem"]["code"] == "input_shape"
    shared = {i["proof"] for i in found[:6]}
    listed = httpx.get(service.url + batch["links"]["proofs"]).json()["items"]
    assert len(shared) == 2
    assert {proof["id"] for proof in listed} == shared
    (one, _) = listed
    assert (one["kind"], one["state"], one["links"]["batch"]) == (
        "pack",
        "succeeded",
        batch["links"]["self"],
    )
    assert httpx.get(service.url + one["links"]["self"]).json() == one
    assert httpx.get(service.url + one["links"]["proof"]).json()["proof"]
    assert httpx.get(service.url + one["links"]["events"]).text.rstrip().endswith("}")
    for wrong in ("receipt", "bundle"):
        refused = httpx.get(f"{service.url}{one['links']['self']}/{wrong}")
        assert (refused.status_code, refused.json()["code"]) == (409, "proof_of_batch")
    canceled = httpx.post(f"{service.url}{one['links']['self']}/cancel")
    assert canceled.json()["code"] == "proof_of_batch"
    plain = httpx.get(f"{service.url}/v1/proofs", params={"limit": 200}).json()["items"]
    assert not shared & {proof["id"] for proof in plain}
    lines = httpx.get(service.url + batch["links"]["results"]).text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, 8))


def test_bundles_fetched_over_http_verify_offline(
    service: Up, batch: dict[str, Any], tmp_path: Path
) -> None:
    alone, together = tmp_path / "3.zkml", tmp_path / "all.zkml"
    item = httpx.get(service.url + batch["links"]["items"], params={"after": 2, "limit": 1}).json()
    alone.write_bytes(httpx.get(service.url + item["items"][0]["links"]["bundle"]).content)
    together.write_bytes(httpx.get(service.url + batch["links"]["bundle"]).content)
    given = tmp_path / "input.json"
    given.write_text(json.dumps({"inputs": {"x": VALUES[2].tolist()}}))
    one = zkml(tmp_path / "home", "verify", alone, "--input", given, "--json")
    assert (one.code, one.json["ok"]) == (0, True)
    given.write_text(json.dumps({"inputs": {"x": VALUES[3].tolist()}}))
    assert zkml(tmp_path / "home", "verify", alone, "--input", given, "--json").code == 1
    every = zkml(tmp_path / "home", "verify", together, "--json")
    assert (every.code, every.json["verified"]) == (0, 6)


def test_the_client_sends_rows_one_by_one_and_fetches_the_results(
    client: Client, batch: dict[str, Any], tmp_path: Path
) -> None:
    given = ({"id": f"r{i}", "inputs": {"x": v}} for i, v in enumerate(VALUES[:4]))
    sent = client.create_batch(given, model=batch["model"], lanes=4, context={"nonce": "mine"})
    followed = list(client.batch_events(sent.id))
    assert [b.terminal for b in followed] == [False] * (len(followed) - 1) + [True]
    ended = client.wait_batch(sent.id)
    assert (ended.state, ended.progress.done, ended.context) == ("succeeded", 4, {"nonce": "mine"})
    assert client.batches(limit=1).items[0].id == sent.id
    items = list(client.batch_items(sent.id, state="proved"))
    assert [(i.id, i.lane) for i in items] == [(f"r{n}", n) for n in range(4)]
    assert [line["id"] for line in client.batch_results(sent.id)] == [i.id for i in items]
    policy = {"context": {"nonce": "mine", "job_id": f"{sent.id}.2"}}
    assert client.verify(client.item_bundle(sent.id, 2), policy).ok
    assert json.loads(client.item_receipt(sent.id, 2))["payloadType"]
    client.save_batch_bundle(sent.id, tmp_path / "all.zkml")
    every = zkml(tmp_path / "home", "verify", tmp_path / "all.zkml", "--json")
    assert (every.code, every.json["verified"]) == (0, 4)
    seen = zkml(tmp_path / "home", "inspect", tmp_path / "all.zkml", "--json")
    (use,) = seen.json["circuits"]
    assert (seen.json["batch"], seen.json["items"], seen.json["proofs"]) == (sent.id, 4, 1)
    assert (use["lanes"], use["free_lanes"], use["visibility"]) == (4, 0, "public")


def test_the_client_sends_a_file_and_cancels_it(
    client: Client, batch: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(rows())
    sent = client.create_batch(path, model=batch["model"], isolate=True)
    assert client.cancel_batch(sent.id).state == "canceled"
    assert client.batch(sent.id).progress.remaining == 0
    with pytest.raises(ServerProblem, match="model_not_found"):
        client.create_batch([{"inputs": {}}], model="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("query", "content", "code"),
    [
        ({}, "x", "request_invalid"),
        ({"model": "sha256:" + "0" * 64}, "x", "model_not_found"),
        ({"model": "m", "lanes": 2, "isolate": True}, "x", "batch_format"),
        ({"model": "m", "surplus": 1}, "x", "request_invalid"),
    ],
    ids=["nothing", "unknown-model", "contradiction", "unknown-option"],
)
def test_requests_that_cannot_be_served_say_why(
    service: Up, query: dict[str, Any], content: str, code: str
) -> None:
    answer = post(service.url, content, **query)
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"] == code


def test_an_empty_file_is_a_failed_batch_with_its_line(service: Up, batch: dict[str, Any]) -> None:
    ended = post(service.url, b"", model=batch["model"]).json()
    assert (ended["state"], ended["progress"]["failed"]) == ("failed", 1)
    item = httpx.get(service.url + ended["links"]["items"]).json()["items"][0]
    assert (item["line"], item["problem"]["code"]) == (1, "batch_empty")


def test_a_batch_can_be_canceled_and_asking_again_changes_nothing(
    service: Up, batch: dict[str, Any]
) -> None:
    started = post(service.url, rows(), model=batch["model"], isolate=True).json()
    for _ in range(2):
        answer = httpx.post(f"{service.url}/v1/batches/{started['id']}/cancel", timeout=300)
        assert (answer.status_code, answer.json()["state"]) == (200, "canceled")
    assert httpx.post(f"{service.url}/v1/batches/none/cancel").status_code == 404
