"""`zkml up` tells a receiver of a real proof, also when worker and receiver fail in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from api.client import Client
from tests.acceptance.processes import Up, until, up, zkml
from tests.cases import tiny
from tests.cases.webhooks import Receiver, receiving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

ENV = {
    "ZKML_WEBHOOKS_ALLOW_PRIVATE": "true",
    "ZKML_PLAN_EFFORT": "fast",
    "ZKML_LEASE_S": "2",
    "ZKML_SWEEP_S": "0.3",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("webhooks") / "home"
    with up(home, ZKML_SRS_DIR=str(srs_cache), **ENV) as service:
        yield service


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def prove(client: Client) -> str:
    model = client.upload_model(tiny.linear()).id
    return client.create_proof(model=model, inputs={"x": [[0.5, 0.25, -0.5, 0.0]]}).id


@pytest.mark.long
def test_what_happened_is_told_whatever_was_killed_meanwhile(
    running: Up, receiver: Receiver
) -> None:
    with Client(running.url) as client, httpx.Client(base_url=running.url, timeout=30) as http:
        endpoint = http.post("/v1/webhook-endpoints", json={"url": receiver.url}).json()
        first = prove(client)
        assert client.wait(first, timeout_s=90).state == "succeeded"
        until(lambda: receiver.got)
        (event,) = receiver.events(endpoint["secret"])
        assert (event["type"], event["data"]["id"]) == ("proof.succeeded", first)
        assert client.bundle(first)

        # The worker dies with the receiver away: its successor sends what was left.
        receiver.status = 500
        receiver.got.clear()
        second = prove(client)
        assert client.wait(second, timeout_s=90).state == "succeeded"
        until(lambda: http.get(endpoint["links"]["self"]).json()["failing_since"])
        running.worker().kill()
        receiver.status = 204
        until(lambda: len(receiver.got) > 1, within_s=60)
        assert len(set(receiver.ids())) == 1
        assert {e["data"]["id"] for e in receiver.events(endpoint["secret"])} == {second}

        until(lambda: not http.get(endpoint["links"]["self"]).json()["failing_since"])

        # A receiver that has lost what it had asks for everything again.
        receiver.got.clear()
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        replay = http.post(
            f"{endpoint['links']['self']}/replay",
            json={"since": since, "include_delivered": True},
        )
        assert replay.json()["queued"] == 2
        until(lambda: len(receiver.got) == 2)
        told = {e["data"]["id"] for e in receiver.events(endpoint["secret"])}
        assert told == {first, second}


@pytest.mark.long
def test_doctor_names_an_endpoint_that_was_disabled(running: Up, receiver: Receiver) -> None:
    with httpx.Client(base_url=running.url, timeout=30) as http:
        receiver.status = 410
        endpoint = http.post("/v1/webhook-endpoints", json={"url": receiver.url}).json()
        http.post(f"{endpoint['links']['self']}/test")
        until(lambda: not http.get(endpoint["links"]["self"]).json()["enabled"])
    until(lambda: "webhook_endpoint_disabled" in running.log.read_text())
    said = zkml(running.home, "doctor", **ENV)
    assert endpoint["id"] in said.out + said.err
    assert "gone" in said.out + said.err
