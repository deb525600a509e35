"""From upload to bundle over HTTP, with the worker's part played by hand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from api.__main__ import listen
from api.client import Client, ServerProblem
from circuits.errors import EngineKilled
from circuits.format.digests import sha256
from prover.records.job import JobKind
from tests.unit.fake_app import MODEL, FakeApp, http_client, serving

X = {"x": [[1.0, 2.0, 3.0]]}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApp]:
    fake = FakeApp(tmp_path_factory.mktemp("home"))
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def url(app: FakeApp) -> Iterator[str]:
    with serving(app) as base:
        yield base


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    with Client(url) as zkml:
        yield zkml


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with http_client(url) as raw:
        yield raw


@pytest.fixture(scope="module")
def model(client: Client) -> str:
    return client.upload_model(MODEL, "m.onnx").id


def test_the_same_model_twice_is_one_model(http: httpx.Client) -> None:
    data = MODEL + b"twice"
    first = http.post("/v1/models", files={"file": ("../a\x00b/net.onnx", data)})
    second = http.post(
        "/v1/models", content=data, headers={"Content-Type": "application/octet-stream"}
    )
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.json()["id"] == sha256(data)
    assert first.json()["name"] == "net.onnx"
    assert http.get(first.headers["location"]).json() == first.json()


def test_lists_continue_from_their_cursor(client: Client) -> None:
    for i in range(5):
        client.upload_model(MODEL + bytes([i]))
    seen: list[str] = []
    cursor = None
    while True:
        page = client.models(limit=2, cursor=cursor)
        seen += [m.id for m in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) >= 5
    assert {sha256(MODEL + bytes([i])) for i in range(5)} <= set(seen)


def test_a_circuit_is_building_then_ready(client: Client, app: FakeApp, model: str) -> None:
    asked = client.create_circuit(model, profile={"max_error": 0.5})
    assert asked.state == "building"
    assert asked.job is not None
    assert asked.job.state == "queued"
    app.work(app.store.job(asked.job.id))

    ready = client.circuit(asked.id)
    assert ready.state == "ready"
    assert ready.manifest is not None
    assert client.circuit_file(asked.id, "vk") == b"vk"
    assert ready in client.circuits().items
    assert [e.data["state"] for e in client.circuit_events(asked.id) if e.type == "state"] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert client.create_circuit(model, profile={"max_error": 0.5}) == ready


def test_a_circuit_that_could_not_be_built_says_why(
    client: Client, app: FakeApp, model: str, http: httpx.Client
) -> None:
    asked = client.create_circuit(model, profile={"max_error": 0.25})
    assert asked.job is not None
    lease = app.store.claim(asked.job.id, "worker", 30)
    assert lease
    app.store.fail(lease, EngineKilled().problem())
    failed = client.circuit(asked.id)
    assert failed.state == "failed"
    assert failed.job is not None
    assert failed.job.problem is not None
    assert failed.job.problem.code == "engine_killed"
    assert http.get(f"/v1/circuits/{asked.id}/vk").status_code == 404


def test_a_proof_is_accepted_watched_and_fetched(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    accepted = http.post("/v1/proofs", json={"model": model, "inputs": X})
    assert accepted.status_code == 202
    job = accepted.json()
    assert accepted.headers["location"] == job["links"]["self"] == f"/v1/proofs/{job['id']}"
    assert (job["state"], job["terminal"]) == ("queued", False)
    assert http.get(f"/v1/proofs/{job['id']}/bundle").json()["code"] == "job_not_done"

    app.work(app.store.job(job["id"]))
    done = http.get(job["links"]["self"]).json()
    assert (done["state"], done["terminal"]) == ("succeeded", True)
    assert done["result"]["outputs"] == {"y": [[1.0, 2.0]]}
    assert done["timings"] == {"prove": 0.1}
    assert "cancel" not in done["links"]

    bundle = http.get(done["links"]["bundle"])
    assert bundle.headers["content-type"] == "application/zip"
    assert f'filename="{job["id"]}.zkml"' in bundle.headers["content-disposition"]
    assert bundle.headers["etag"] == f'"{sha256(bundle.content)}"'
    known = {"If-None-Match": bundle.headers["etag"]}
    again = http.get(done["links"]["bundle"], headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert http.get(done["links"]["receipt"]).json() == {"payload": "e30="}
    assert http.get(done["links"]["proof"]).json() == {"proof": []}


def test_ezkls_own_input_form_is_taken(client: Client, model: str) -> None:
    job = client.create_proof(model=model, input_data=[[1, 2, 3]], context={"nonce": "n"})
    assert job.context == {"nonce": "n"}


def test_a_failed_job_is_a_response_with_a_problem(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    job = http.post("/v1/proofs", json={"model": model, "inputs": X}).json()
    app.work(app.store.job(job["id"]), problem=EngineKilled("killed by signal 9").problem())
    answer = http.get(job["links"]["self"])
    assert answer.status_code == 200
    problem = answer.json()["problem"]
    assert problem["code"] == "engine_killed"
    assert problem["type"] == "/problems/engine_killed"
    assert problem["retryable"] is True
    assert problem["advice"]


def test_a_waiting_client_gets_a_response_when_the_job_ends(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    def work() -> None:
        while (
            not (queued := app.store.jobs(1, kind=JobKind.PROOF).items) or queued[0].state.terminal
        ):
            time.sleep(0.01)
        app.work(queued[0])

    before = {job.id for job in app.store.jobs(200, kind=JobKind.PROOF).items}
    worker = threading.Thread(target=work)
    worker.start()
    answer = http.post(
        "/v1/proofs", json={"model": model, "inputs": X}, headers={"Prefer": "wait=8"}
    )
    worker.join()
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=8"
    assert answer.json()["state"] == "succeeded"
    assert answer.json()["id"] not in before


def test_a_job_that_does_not_end_in_time_is_returned_in_its_current_state(
    http: httpx.Client, client: Client, model: str
) -> None:
    answer = http.post(
        "/v1/proofs",
        json={"model": model, "inputs": X},
        headers={"Prefer": "respond-async, wait=1"},
    )
    assert answer.status_code == 202
    assert answer.json()["state"] == "queued"
    with pytest.raises(TimeoutError):
        client.wait(answer.json()["id"], timeout_s=0)


def test_a_preference_that_is_not_understood_is_passed_over(http: httpx.Client, model: str) -> None:
    answer = http.post(
        "/v1/proofs", json={"model": model, "inputs": X}, headers={"Prefer": "wait=soon"}
    )
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


def test_many_waiting_clients_do_not_delay_the_others(
    http: httpx.Client, client: Client, model: str, app: FakeApp
) -> None:
    job = client.create_proof(model=model, inputs=X)
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(client.wait, job.id, 300) for _ in range(60)]
        time.sleep(0.3)
        for _ in range(5):
            assert client.create_proof(model=model, inputs=X).state == "queued"
        app.work(app.store.job(job.id))
        assert {w.result().state for w in waiting} == {"succeeded"}


def test_a_queued_job_is_canceled_at_once_and_a_finished_one_not_at_all(
    client: Client, app: FakeApp, model: str
) -> None:
    job = client.create_proof(model=model, inputs=X)
    assert client.cancel(job.id).state == "canceled"
    assert client.cancel(job.id).state == "canceled"
    done = client.create_proof(model=model, inputs=X)
    app.work(app.store.job(done.id))
    with pytest.raises(ServerProblem) as refused:
        client.cancel(done.id)
    assert refused.value.problem.code == "job_already_done"
    assert refused.value.problem.status == 409


def test_the_list_of_proofs_holds_proofs_only(client: Client, model: str) -> None:
    client.create_circuit(model)
    job = client.create_proof(model=model, inputs=X)
    page = client.proofs(state="queued", limit=200)
    assert job.id in {j.id for j in page.items}
    assert {(j.kind, j.state) for j in page.items} == {("proof", "queued")}


def test_a_circuit_job_is_no_proof(client: Client, model: str) -> None:
    circuit = client.create_circuit(model, profile={"max_error": 0.125})
    assert circuit.job is not None
    with pytest.raises(ServerProblem) as refused:
        client.proof(circuit.job.id)
    assert refused.value.problem.code == "job_not_found"


def test_verification_answers_with_the_checklist_either_way(
    client: Client, http: httpx.Client
) -> None:
    good = client.verify(b"PK bundle", {"strict": True})
    assert good.ok
    assert good.checks[0].detail == "{'strict': True}"
    bad = http.post(
        "/v1/verifications", content=b"junk", headers={"Content-Type": "application/zip"}
    )
    assert bad.status_code == 200
    assert bad.json()["ok"] is False
    assert bad.json()["checks"][0]["status"] == "fail"


def test_readiness_is_reported_part_by_part(
    client: Client, app: FakeApp, http: httpx.Client
) -> None:
    assert client.ready().ready
    app.broken = RuntimeError()
    try:
        answer = http.get("/readyz")
    finally:
        app.broken = None
    assert answer.status_code == 503
    assert answer.json()["parts"]["queue"] == {"ok": False, "detail": "redis"}
    assert http.get("/healthz").json() == {"status": "ok"}


def test_the_listening_socket_calls_itself_tcp() -> None:
    # Else asyncio leaves Nagle's algorithm on, and answers to POST come 40 ms late.
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_the_docs_page_needs_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs").text
    assert "/v1/proofs/{job_id}/events" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_openapi_describes_errors_as_problems(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert "HTTPValidationError" not in str(document)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status >= "400" and path != "/readyz" and not path.startswith("/v2"):
                    assert list(answer["content"]) == ["application/problem+json"]
