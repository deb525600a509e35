"""A job's events as a stream: complete, in order, resumable, and ended when the job is."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from api.client import Client
from circuits.errors import EngineTimeout
from prover.jobs.bus import LocalNotifications
from prover.records.job import Job
from tests.unit.fake_app import MODEL, FakeApp, serving

X = {"x": [[1.0, 2.0, 3.0]]}
WHOLE_LIFE = ["state", "state", "stage", "stage", "stage", "stage", "state"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApp]:
    fake = FakeApp(tmp_path_factory.mktemp("home"))
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def client(app: FakeApp) -> Iterator[Client]:
    with serving(app) as url, Client(url) as zkml:
        yield zkml


@pytest.fixture
def job(client: Client, app: FakeApp) -> Job:
    model = client.upload_model(MODEL)
    return app.store.job(client.create_proof(model=model.id, inputs=X).id)


def raw_stream(client: Client, job: Job, **headers: str) -> list[str]:
    answer = client._http.get(f"/v1/proofs/{job.id}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return answer.text.split("\n")


def test_events_come_as_they_happen_and_end_with_the_job(
    client: Client, app: FakeApp, job: Job
) -> None:
    stream = client.events(job.id)
    assert next(stream).data["state"] == "queued"
    threading.Timer(0.1, app.work, [job]).start()
    rest = list(stream)
    assert [e.type for e in rest] == WHOLE_LIFE[1:]
    assert [e.seq for e in rest] == [2, 3, 4, 5, 6, 7]
    assert rest[-1].data["state"] == "succeeded"


def test_the_stream_has_ids_names_and_json(client: Client, app: FakeApp, job: Job) -> None:
    app.work(job)
    lines = raw_stream(client, job)
    assert lines[:2] == ["id: 1", "event: state"]
    data = json.loads(lines[2].removeprefix("data: "))
    assert data["job"] == job.id
    assert data["data"]["state"] == "queued"
    assert [line for line in lines if line.startswith("event:")] == [
        f"event: {name}" for name in WHOLE_LIFE
    ]


def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice(
    client: Client, app: FakeApp, job: Job
) -> None:
    app.work(job)
    ids = [line for line in raw_stream(client, job, **{"Last-Event-ID": "4"}) if "id:" in line]
    assert ids == ["id: 5", "id: 6", "id: 7"]
    assert [e.seq for e in client.events(job.id, after=6)] == [7]


def test_after_the_last_event_a_browser_stops_reconnecting(
    client: Client, app: FakeApp, job: Job
) -> None:
    app.work(job)
    path = f"/v1/proofs/{job.id}/events"
    assert client._http.get(path, headers={"Last-Event-ID": "7"}).status_code == 204
    assert client._http.get(path, params={"after": 7}).status_code == 204
    assert client._http.get(path, headers={"Last-Event-ID": "x"}).status_code == 422


def test_a_failed_jobs_last_event_holds_its_problem(client: Client, app: FakeApp, job: Job) -> None:
    app.work(job, problem=EngineTimeout().problem())
    last = list(client.events(job.id))[-1]
    assert last.data["state"] == "failed"
    assert last.data["problem"]["type"] == "/problems/engine_timeout"


def test_a_silent_stream_has_heartbeats(
    client: Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.jobs.events.HEARTBEAT_S", 0.1)
    with client._http.stream("GET", f"/v1/proofs/{job.id}/events") as answer:
        assert any(line == ": heartbeat" for line in answer.iter_lines())


def test_a_client_that_leaves_is_waited_for_no_longer(
    client: Client, app: FakeApp, job: Job
) -> None:
    with client._http.stream("GET", f"/v1/proofs/{job.id}/events") as answer:
        lines = answer.iter_lines()  # kept: when it is collected the stream is closed
        next(lines)
        assert job.id in app.notifications._waiters
    until = time.monotonic() + 300
    while job.id in app.notifications._waiters and time.monotonic() < until:
        time.sleep(0.02)
    assert job.id not in app.notifications._waiters


def test_without_any_notification_the_rows_are_read_at_intervals(
    client: Client, app: FakeApp, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalNotifications, "publish", lambda self, job_id: None)
    threading.Timer(0.1, app.work, [job]).start()
    assert [e.type for e in client.events(job.id)] == WHOLE_LIFE
    assert client.wait(job.id, 5).terminal


def test_a_dropped_stream_is_resumed(app: FakeApp, client: Client, job: Job) -> None:
    app.work(job)
    asked: list[str | None] = []

    def half(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id"))
        whole = client._http.get(request.url.path, headers=dict(request.headers))
        if len(asked) == 1:
            return httpx.Response(200, stream=Torn(whole.content[: len(whole.content) // 2]))
        return httpx.Response(whole.status_code, content=whole.content)

    with Client("http://127.0.0.1", transport=httpx.MockTransport(half)) as torn:
        assert [e.seq for e in torn.events(job.id)] == [1, 2, 3, 4, 5, 6, 7]
    assert asked[0] is None
    assert asked[1] not in (None, "7")


class Torn(httpx.SyncByteStream):
    """A body whose connection breaks before its end."""

    def __init__(self, data: bytes):
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self.data
        raise httpx.RemoteProtocolError("peer closed connection")
