"""``zkml remote`` against a running service: prove there, verify here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.client import Client, verify_offline
from tests.acceptance.processes import Up, zkml
from tests.cases import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MODEL, INPUTS = tiny.linear(scale=1.25), {"inputs": {"x": [[1.0, -1.0, 2.0, 0.0]]}}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    return path


@pytest.mark.long
def test_prove_there_and_verify_here(
    service: Up, client: Client, model: Path, tmp_path: Path
) -> None:
    out, sample = tmp_path / "proof.zkml", tmp_path / "input.json"
    sample.write_text(json.dumps(INPUTS))
    to = ("--url", service.url, "--json")
    done = zkml(tmp_path, "remote", "prove", model, sample, "-o", out, "--nonce", "mine", *to)
    assert (done.code, done.json["ok"]) == (0, True)
    proof = done.json["proof"]["id"]
    assert out.read_bytes() == client.bundle(proof)

    state = zkml(tmp_path, "remote", "status", proof, *to)
    assert (state.code, state.json["proof"]["state"]) == (0, "succeeded")
    listed = zkml(tmp_path, "remote", "list", "--state", "succeeded", *to)
    assert proof in [p["id"] for p in listed.json["proofs"]]

    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(zkml(tmp_path, "remote", "keys", *to).json))
    again = tmp_path / "again.zkml"
    options = ("-o", again, "--trusted", keys)
    assert zkml(tmp_path, "remote", "fetch", proof, *options, "--nonce", "mine", *to).code == 0
    # A nonce of somebody else's is refused on this machine, whatever the service says.
    other = zkml(tmp_path, "remote", "fetch", proof, *options, "--nonce", "theirs", *to)
    assert (other.code, other.json["ok"]) == (1, False)


@pytest.mark.long
def test_batches_usage_and_webhooks(service: Up, model: Path, tmp_path: Path) -> None:
    to = ("--url", service.url, "--json")
    rows, out = tmp_path / "rows.jsonl", tmp_path / "batch.zkml"
    rows.write_text((json.dumps(INPUTS) + "\n") * 2)
    options = ("-o", out, "--isolate")
    done = zkml(tmp_path, "remote", "batch", model, rows, *options, *to)
    assert (done.code, done.json["batch"]["progress"]["done"]) == (0, 2)
    assert zkml(tmp_path, "verify", out, "--json").json["ok"]

    used = zkml(tmp_path, "remote", "usage", "--by", "caller", "--by", "key", *to)
    assert used.json["by"] == ["caller", "key"]
    assert sum(item["proofs"] for item in used.json["items"]) >= 2

    made = zkml(tmp_path, "remote", "webhooks", "create", "https://example.com/h", *to)
    assert made.json["endpoint"]["secret"].startswith("whsec_")
    endpoint = made.json["endpoint"]["id"]
    off = zkml(tmp_path, "remote", "webhooks", "enable", endpoint, "--off", *to)
    assert off.json["endpoint"]["enabled"] is False
    (listed,) = zkml(tmp_path, "remote", "webhooks", "list", *to).json["endpoints"]
    assert (listed["id"], listed["secret"]) == (endpoint, None)
    assert zkml(tmp_path, "remote", "webhooks", "enable", endpoint, *to).code == 0
    since = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    again = zkml(tmp_path, "remote", "webhooks", "replay", endpoint, since, *to)
    assert again.json["queued"] == 0
    assert zkml(tmp_path, "remote", "webhooks", "delete", endpoint, *to).code == 0
    assert zkml(tmp_path, "remote", "webhooks", "list", *to).json["endpoints"] == []


def test_a_signer_that_is_not_trusted_is_refused_offline(client: Client, tmp_path: Path) -> None:
    model = client.upload_model(MODEL)
    job = client.prove(model=model.id, inputs=INPUTS["inputs"])
    bundle = client.bundle(job.id)
    assert verify_offline(bundle, trusted=client.keys()).ok
    nobody = verify_offline(bundle, policy={"keyids": []})
    assert [c.name for c in nobody.checks if c.status == "fail"] == ["signer"]


def test_what_the_service_refuses_has_its_own_code(service: Up, tmp_path: Path) -> None:
    done = zkml(tmp_path, "remote", "status", "nobody", "--url", service.url, "--json")
    assert (done.code, done.json["problem"]["code"]) == (2, "job_not_found")
