"""Requests that are sent again: by key, under the client's own id, and for what exists already."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from circuits.errors import EngineKilled
from circuits.format.profile import Profile
from prover.errors import StoreUnavailable
from prover.records.idempotency import LOCK_S, job_id_of
from prover.records.job import Job, JobKind, JobOptions, JobState
from tests.unit.fake_app import MODEL, FakeApp, http_client, serving

X = {"x": [[1.0, 2.0, 3.0]]}
REPLAYED = "idempotent-replayed"


@pytest.fixture
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApp]:
    fake = FakeApp(tmp_path_factory.mktemp("home"), webhooks_allow_private=True)
    yield fake
    fake.close()


@pytest.fixture
def http(app: FakeApp) -> Iterator[httpx.Client]:
    with serving(app) as base, http_client(base) as raw:
        yield raw


@pytest.fixture
def model(http: httpx.Client) -> str:
    answer = http.post("/v1/models", content=MODEL, headers={"Content-Type": "application/onnx"})
    return str(answer.json()["id"])


def post(http: httpx.Client, body: dict[str, Any], key: str, **headers: str) -> httpx.Response:
    return http.post("/v1/proofs", json=body, headers={"Idempotency-Key": key, **headers})


def all_jobs(app: FakeApp) -> list[Job]:
    return app.store.jobs(200, kind=JobKind.PROOF).items


# --- Idempotency-Key ----------------------------------------------------------------------------


def test_the_same_key_and_body_get_the_first_response_and_one_job(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X}
    first, second = post(http, body, "k"), post(http, body, '"k"')
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.content == second.content
    assert second.headers["location"] == first.headers["location"]
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert len(all_jobs(app)) == 1


def test_another_body_or_another_route_with_the_same_key_is_refused(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    post(http, {"model": model, "inputs": X}, "k")
    other = post(http, {"model": model, "inputs": {"x": [[1.0, 2.0, 4.0]]}}, "k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    route = http.post("/v1/circuits", json={"model": model}, headers={"Idempotency-Key": "k"})
    assert (route.status_code, route.json()["code"]) == (422, "idempotency_key_reused")
    assert len(all_jobs(app)) == 1


def test_a_first_request_still_under_way_is_a_409_with_retry_after(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X}
    entered, go_on = threading.Event(), threading.Event()
    genuine = app.request_proof

    def slow(**asked: Any) -> Job:
        entered.set()
        go_on.wait(10)
        return genuine(**asked)

    app.request_proof = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, http, body, "k")
        assert entered.wait(10)
        second = post(http, body, "k")
        go_on.set()
        assert first.result().status_code == 202
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_progress")
    assert second.json()["retryable"] is True
    assert int(second.headers["retry-after"]) >= 1
    assert post(http, body, "k").headers[REPLAYED] == "true"


@pytest.mark.parametrize("error", [StoreUnavailable(), RuntimeError("a defect of ours")])
def test_a_key_whose_first_try_ended_in_a_5xx_may_be_used_again(
    http: httpx.Client, app: FakeApp, model: str, error: Exception
) -> None:
    body = {"model": model, "inputs": X}
    app.broken = error
    assert post(http, body, "k").status_code in (500, 503)
    app.broken = None
    again = post(http, body, "k")
    assert again.status_code == 202
    assert REPLAYED not in again.headers
    assert len(all_jobs(app)) == 1


def test_a_key_whose_first_request_was_refused_may_be_used_with_another_body(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    assert post(http, {"model": model, "inputs": {"y": 1}}, "k").status_code == 422
    assert post(http, {"model": model, "inputs": X}, "k").status_code == 202


def test_a_try_cut_off_after_its_job_was_committed_is_not_done_twice(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    """The answer was lost, and so was the note of it: the second try finds the first one's job."""
    body = {"model": model, "inputs": X}
    genuine = app.request_proof

    def cut_off(**asked: Any) -> Job:
        genuine(**asked)
        raise StoreUnavailable

    app.request_proof = cut_off  # type: ignore[method-assign]
    assert post(http, body, "k").status_code == 503
    app.request_proof = genuine  # type: ignore[method-assign]
    (made,) = all_jobs(app)
    assert post(http, body, "k").json()["id"] == made.id
    assert len(all_jobs(app)) == 1


def test_a_try_whose_process_died_is_taken_over_when_its_lock_has_run_out(
    app: FakeApp, http: httpx.Client, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = app.store.begin_request("k", "print")
    assert post(http, {"model": model, "inputs": X}, "k").status_code == 422
    later = datetime.now(UTC) + timedelta(seconds=LOCK_S + 1)
    store = app.store
    monkeypatch.setattr(store, "_now", lambda: later)
    again = store.begin_request("k", "print")
    assert again.resource_id == claim.resource_id
    # The one that was thought dead can no longer write about the key.
    store.free_request(claim)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="still in progress"):
        store.begin_request("k", "print")


def test_a_failed_job_is_returned_and_not_repeated(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X}
    job = post(http, body, "k").json()
    app.work(app.store.job(job["id"]), problem=EngineKilled().problem())
    again = post(http, body, "k")
    assert again.status_code == 200
    assert again.headers[REPLAYED] == "true"
    assert (again.json()["id"], again.json()["state"]) == (job["id"], "failed")
    assert len(all_jobs(app)) == 1


def test_a_repeated_request_may_wait_for_the_first_ones_job(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X}
    job = app.store.job(post(http, body, "k").json()["id"])
    worker = threading.Timer(0.3, app.work, [job])
    worker.start()
    again = post(http, body, "k", Prefer="wait=10")
    worker.join()
    assert (again.status_code, again.json()["state"]) == (200, "succeeded")
    assert again.headers[REPLAYED] == "true"


def test_twenty_at_once_with_one_key_make_one_job_and_no_5xx(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X}
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(http, body, "k"), range(20)))
    assert {a.status_code for a in answers} <= {202, 409}
    assert len({a.json()["id"] for a in answers if a.status_code == 202}) == 1
    assert len(all_jobs(app)) == 1


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(http: httpx.Client, model: str, key: str) -> None:
    answer = post(http, {"model": model, "inputs": X}, key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_invalid")


@pytest.mark.parametrize(
    "send",
    [
        lambda http, model, headers: http.post(
            "/v1/models", files={"file": ("n.onnx", MODEL + b"2")}, headers=headers
        ),
        lambda http, model, headers: http.post(
            "/v1/circuits", json={"model": model}, headers=headers
        ),
        lambda http, model, headers: http.post(
            "/v1/webhook-endpoints", json={"url": "http://127.0.0.1/"}, headers=headers
        ),
    ],
    ids=["models", "circuits", "webhook-endpoints"],
)
def test_every_post_that_makes_something_takes_a_key(
    http: httpx.Client, model: str, send: Callable[..., httpx.Response]
) -> None:
    """A multipart body differs each time in its boundary: what counts is the file."""
    first, second = (send(http, model, {"Idempotency-Key": "k"}) for _ in range(2))
    assert first.status_code in (201, 202)
    assert second.headers[REPLAYED] == "true"
    assert second.content == first.content
    assert second.status_code == first.status_code


def test_keys_of_tenants_do_not_meet(app: FakeApp) -> None:
    mine = app.store.begin_request("k", "print")
    theirs = app.store.for_tenant("other").begin_request("k", "another")
    assert mine.resource_id != theirs.resource_id


# --- PUT ----------------------------------------------------------------------------------------


def put(http: httpx.Client, client_id: str, body: dict[str, Any]) -> httpx.Response:
    return http.put(f"/v1/proofs/{client_id}", json=body)


def test_put_twice_is_one_job_under_the_clients_id(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X}
    first, second = put(http, "order-4711", body), put(http, "order-4711", body)
    assert (first.status_code, second.status_code) == (202, 202)
    job = first.json()
    assert job == second.json()
    assert job["client_id"] == "order-4711"
    assert job["id"] == job_id_of("default", "order-4711")
    assert http.get("/v1/proofs/order-4711").json() == job
    assert http.get(job["links"]["self"]).json() == job

    app.work(app.store.job(job["id"]))
    assert http.get("/v1/proofs/order-4711/bundle").status_code == 200
    done = put(http, "order-4711", body)
    assert (done.status_code, done.json()["state"]) == (200, "succeeded")
    assert len(all_jobs(app)) == 1


def test_many_at_once_make_one_job_and_never_a_5xx(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    for attempt in range(5):
        body = {"model": model, "inputs": X, "context": {"nonce": str(attempt)}}
        together = threading.Barrier(8)

        def send(client_id: str, body: dict[str, Any], together: threading.Barrier) -> Any:
            together.wait()
            return put(http, client_id, body)

        with ThreadPoolExecutor(8) as pool:
            sent = [pool.submit(send, f"mine-{attempt}", body, together) for _ in range(8)]
            answers = [future.result() for future in sent]
        assert [a.status_code for a in answers] == [202] * 8
        assert len({a.json()["id"] for a in answers}) == 1
    assert len(all_jobs(app)) == 5


def test_another_body_under_the_same_id_is_a_conflict(http: httpx.Client, model: str) -> None:
    put(http, "mine", {"model": model, "inputs": X})
    for body in (
        {"model": model, "inputs": {"x": [[1.0, 2.0, 4.0]]}},
        {"model": model, "inputs": X, "context": {"nonce": "n"}},
    ):
        answer = put(http, "mine", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "job_conflict")


def test_the_id_of_another_job_cannot_be_taken(http: httpx.Client, model: str) -> None:
    body = {"model": model, "inputs": X}
    made = http.post("/v1/proofs", json=body).json()["id"]
    assert put(http, made, body).json()["code"] == "job_conflict"


@pytest.mark.parametrize("client_id", ["%2e", "%2e%2e", "a%20b", "a%0d%0ab", "x" * 81, "%C3%A9"])
def test_an_id_that_is_none_is_refused(http: httpx.Client, model: str, client_id: str) -> None:
    answer = put(http, client_id, {"model": model, "inputs": X})
    assert answer.status_code in (404, 405, 422)


def test_a_failed_job_keeps_its_id(http: httpx.Client, app: FakeApp, model: str) -> None:
    body = {"model": model, "inputs": X}
    job = put(http, "mine", body).json()
    app.work(app.store.job(job["id"]), problem=EngineKilled().problem())
    again = put(http, "mine", body)
    assert (again.status_code, again.json()["state"]) == (200, "failed")
    assert len(all_jobs(app)) == 1


# --- deadlines ----------------------------------------------------------------------------------


def test_an_unclaimed_overdue_job_expires_when_it_is_read(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X, "deadline_s": 0.3}
    job = http.post("/v1/proofs", json=body).json()
    assert job["state"] == "queued"
    assert job["deadline"] > job["created_at"]
    time.sleep(0.4)
    ended = http.get(job["links"]["self"]).json()
    assert (ended["state"], ended["terminal"]) == ("expired", True)
    assert ended["problem"]["code"] == "deadline_passed"
    assert app.store.claim(job["id"], "late", 30) is None


def test_a_finished_proof_is_returned_after_its_deadline(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X, "deadline_s": 0.5}
    job = put(http, "mine", body).json()
    app.work(app.store.job(job["id"]))
    time.sleep(0.6)
    for answer in (http.get("/v1/proofs/mine"), put(http, "mine", body)):
        assert (answer.status_code, answer.json()["state"]) == (200, "succeeded")
    app.expire_due()
    assert app.store.job(job["id"]).state is JobState.SUCCEEDED
    assert http.get("/v1/proofs/mine/bundle").status_code == 200


def test_a_deadline_is_a_moment_to_come_in_one_of_two_forms(http: httpx.Client, model: str) -> None:
    body = {"model": model, "inputs": X}
    soon = datetime.now(UTC) + timedelta(hours=1)
    for good in (soon.isoformat(), int(soon.timestamp())):
        answer = http.post("/v1/proofs", json={**body, "deadline": good})
        assert answer.status_code == 202, answer.text
        assert answer.json()["deadline"][:16] == soon.isoformat()[:16]
    past = datetime.now(UTC) - timedelta(seconds=1)
    bad: tuple[dict[str, Any], ...] = (
        {"deadline": past.isoformat()},
        {"deadline": 1},
        {"deadline": "soon"},
        {"deadline": soon.replace(tzinfo=None).isoformat()},
        {"deadline": "9999-12-31T23:59:59-23:59"},
        {"deadline": 10**20},
        {"deadline": True},
        {"deadline": soon.isoformat(), "deadline_s": 5},
        {"deadline_s": 0},
        {"deadline_s": -1},
        {"deadline_s": "5"},
        {"deadline_s": 1e300},
    )
    for fields in bad:
        answer = http.post("/v1/proofs", json={**body, **fields})
        assert answer.status_code == 422, fields
        assert answer.json()["code"] in ("deadline_invalid", "request_invalid")


# --- de-duplication -----------------------------------------------------------------------------


def test_what_was_proved_is_the_answer_when_it_is_asked_for(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X, "context": {"nonce": "n"}}
    first = http.post("/v1/proofs", json=body).json()
    under_way = http.post("/v1/proofs", json={**body, "deduplicate": True})
    assert (under_way.status_code, under_way.json()["id"]) == (202, first["id"])
    app.work(app.store.job(first["id"]))
    done = http.post("/v1/proofs", json={**body, "deduplicate": True})
    assert (done.status_code, done.json()["id"]) == (200, first["id"])
    assert http.post("/v1/proofs", json=body).json()["id"] != first["id"]


def test_another_context_another_tenant_or_a_failure_is_not_the_same(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    body = {"model": model, "inputs": X, "deduplicate": True}
    first = http.post("/v1/proofs", json=body).json()["id"]
    other = http.post("/v1/proofs", json={**body, "context": {"nonce": "n"}}).json()["id"]
    app.work(app.store.job(first), problem=EngineKilled().problem())
    third = http.post("/v1/proofs", json=body).json()["id"]
    assert len({first, other, third}) == 3

    theirs = app.for_tenant("other")
    theirs.add_model(MODEL, "theirs")
    made = theirs.request_proof(
        model_id=model,
        circuit_id=None,
        payload={"inputs": X},
        profile=Profile(),
        context=None,
        options=JobOptions(deduplicate=True),
    )
    assert made.id not in (first, other, third)
