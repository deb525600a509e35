"""What one key, and one tenant, may ask and keep."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.key_rate import KeyRate
from api.problem import RateLimited
from prover.errors import QuotaExceeded, StorageQuotaExceeded
from prover.host.redis_server import RedisServer
from prover.records.job import JobKind, JobState
from prover.testing import START, ManualClock, model_record
from tests.cases.api_keys import made
from tests.unit.fake_app import SIGNATURE, FakeApp, http_client, serving

_PROOF = JobKind.PROOF
INPUT = {"inputs": {"x": [[1.0, 2.0, 3.0]]}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FakeApp]:
    opened = FakeApp(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def http(app: FakeApp) -> Iterator[httpx.Client]:
    with serving(app) as base, http_client(base) as client:
        yield client


def ask(http: httpx.Client, app: FakeApp, headers: dict[str, str], tenant: str) -> httpx.Response:
    model = replace(model_record(), signature=SIGNATURE)
    app.store.for_tenant(tenant).add_model(model)
    return http.post("/v1/proofs", json={"model": model.id, **INPUT}, headers=headers)


def test_each_key_has_its_own_minute(app: FakeApp, http: httpx.Client) -> None:
    _, first = made(app.store, requests_per_minute=3)
    _, second = made(app.store, requests_per_minute=3)
    _, free = made(app.store, requests_per_minute=0)

    answers = [http.get("/v1/models", headers=first) for _ in range(4)]

    # The clock's minute may turn in between; then the fourth is the first of the next.
    if [a.status_code for a in answers] == [200, 200, 200, 429]:
        assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=60'
        assert answers[0].headers["ratelimit"].startswith('"key";r=2;t=')
        refused = answers[3]
        assert refused.json()["code"] == "rate_limited"
        assert refused.json()["retryable"] is True
        assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    else:
        assert answers[3].headers["ratelimit"].startswith('"key";r=')
    assert http.get("/v1/models", headers=second).status_code == 200
    unlimited = http.get("/v1/models", headers=free)
    assert "ratelimit" not in unlimited.headers


async def _take(rate: KeyRate, times: int) -> list[int | str]:
    seen: list[int | str] = []
    for _ in range(times):
        try:
            counted = await rate.take("key", None)
            seen.append(counted.remaining if counted else -1)
        except RateLimited as refused:
            seen.append(refused.headers["RateLimit"])
    return seen


@pytest.mark.anyio
async def test_a_minute_ends_with_the_clock() -> None:
    clock = ManualClock(START)
    rate = KeyRate(2, None, lambda: clock().timestamp())
    clock.advance(20)
    assert await _take(rate, 3) == [1, 0, '"key";r=0;t=40']
    clock.advance(40)
    assert await _take(rate, 1) == [1]


@pytest.mark.anyio
async def test_concurrent_requests_respect_the_limit() -> None:
    """Numbers are reserved some at a time, and none is given out twice or lost."""
    rate = KeyRate(1000, None, START.timestamp)

    async def take() -> list[int | str]:
        return await _take(rate, 60)

    seen = [n for found in await asyncio.gather(*(take() for _ in range(20))) for n in found]
    assert sorted(n for n in seen if isinstance(n, int)) == list(range(1000))
    assert len([n for n in seen if isinstance(n, str)]) == 200


@pytest.mark.slow
@pytest.mark.anyio
async def test_processes_count_together_and_alone_without_redis(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with RedisServer.start(tmp_path) as server:
        one, other = (KeyRate(3, server.url, lambda: clock().timestamp()) for _ in range(2))
        assert await _take(one, 2) == [2, 1]
        assert await _take(other, 2) == [0, '"key";r=0;t=60']
    assert await _take(one, 1) == [2]
    for rate in (one, other):
        await rate.close()


def test_a_full_queue_says_when_to_come_again(app: FakeApp, http: httpx.Client) -> None:
    _, acme = made(app.store)
    _, other = made(app.store, tenant="other")
    app.store.set_quota("acme", {"queued": 2})
    answers = [ask(http, app, acme, "acme") for _ in range(3)]

    assert [a.status_code for a in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "quota_exceeded"
    assert answers[2].json()["context"]["quota"] == "queued"
    assert int(answers[2].headers["retry-after"]) > 0
    assert ask(http, app, other, "other").status_code == 202
    store = app.store.for_tenant("acme")
    assert store.count_jobs()[JobState.QUEUED] == 2
    store.request_cancel(answers[0].json()["id"])
    assert ask(http, app, acme, "acme").status_code == 202


def test_the_days_seconds_are_counted_from_midnight(app: FakeApp) -> None:
    clock = ManualClock(START)  # midnight
    store = app.store.for_tenant("acme")
    store._now = clock
    store.add_model(model_record())
    store.set_quota("acme", {"proving_s_per_day": 100})

    def prove(seconds: float) -> None:
        job = store.create_job(_PROOF, model_record().id, "c", {}, None)
        lease = store.claim(job.id, "w", 1e6)
        assert lease is not None
        store.succeed(lease, {}, {"prove": seconds})

    clock.advance(101)
    prove(60)
    store.check_quota()
    prove(41)
    with pytest.raises(QuotaExceeded) as refused:
        store.check_quota()
    assert refused.value.context["retry_after_s"] == 86_400 - 101
    assert store.used("acme").proving_s_today == 101
    clock.advance(86_400 - 101)
    store.check_quota()


def test_a_quota_refuses_no_request_whose_job_is_there(app: FakeApp, http: httpx.Client) -> None:
    model = replace(model_record(), signature=SIGNATURE)
    app.store.add_model(model)
    app.store.set_quota("default", {"queued": 2})
    body = {"model": model.id, **INPUT, "deduplicate": True}
    key = {"Idempotency-Key": "k"}
    keyed = http.post("/v1/proofs", json=body, headers=key)
    named = http.put("/v1/proofs/mine", json={"model": model.id, **INPUT})
    assert (keyed.status_code, named.status_code) == (202, 202)

    assert http.post("/v1/proofs", json={"model": model.id, **INPUT}).status_code == 429
    again = http.post("/v1/proofs", json=body, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, keyed.json()["id"])
    assert http.put("/v1/proofs/mine", json={"model": model.id, **INPUT}).status_code == 202
    assert http.post("/v1/proofs", json=body).json()["id"] == keyed.json()["id"]


def test_what_a_tenant_stores_has_an_end(app: FakeApp) -> None:
    store = app.store.for_tenant("acme")
    store.set_quota("acme", {"stored_bytes": 1000})
    store.check_room(1000)
    store.add_stored(600)
    store.add_stored(300)
    store.check_room(100)
    with pytest.raises(StorageQuotaExceeded):
        store.check_room(101)
    store.add_stored(100)
    with pytest.raises(StorageQuotaExceeded):
        store.check_quota()
    app.store.for_tenant("other").check_quota()
    assert store.used("acme").stored_bytes == 1000


def test_lists_are_filtered(app: FakeApp, http: httpx.Client) -> None:
    store = app.store
    clock = ManualClock(START)
    store._now = clock
    models = [model_record(name) for name in ("a", "b")]
    for n, record in enumerate(models):
        store.add_model(replace(record, metadata={"team": f"t{n}", "x.y": "1"}))
    made_jobs = []
    for n in range(4):
        clock.advance(60)
        job = store.create_job(
            _PROOF,
            models[n % 2].id,
            f"c{n}",
            {},
            None,
            id=f"job-{n}",
            metadata={"order": str(n // 2), "kind": 'a "quoted" one'},
        )
        made_jobs.append(job.id)
    store.request_cancel("job-3")

    def proofs(**params: Any) -> list[str]:
        answer = http.get("/v1/proofs", params=params)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["items"]]

    assert proofs() == ["job-3", "job-2", "job-1", "job-0"]
    assert proofs(state="canceled") == ["job-3"]
    assert proofs(model=models[0].id) == ["job-2", "job-0"]
    assert proofs(circuit="c1") == ["job-1"]
    assert proofs(created_since="2026-01-01T00:02:00Z") == ["job-3", "job-2", "job-1"]
    assert proofs(created_before="2026-01-01T01:02:00+01:00") == ["job-0"]
    assert proofs(metadata="order:1") == ["job-3", "job-2"]
    assert proofs(metadata=["order:1", 'kind:a "quoted" one'], state="queued") == ["job-2"]
    assert proofs(metadata="nobody:1") == []
    assert proofs(metadata=["order:1"], limit=1) == ["job-3"]
    listed = http.get("/v1/models", params={"metadata": ["team:t1", "x.y:1"]}).json()["items"]
    assert [m["name"] for m in listed] == ["b"]
    assert listed[0]["metadata"] == {"team": "t1", "x.y": "1"}


def test_circuits_are_found_by_the_words_they_were_asked_for_with(
    app: FakeApp, http: httpx.Client
) -> None:
    model = replace(model_record(), signature=SIGNATURE)
    app.store.add_model(model)
    body = {"model": model.id, "metadata": {"team": "a"}}
    asked = http.post("/v1/circuits", json=body).json()
    app.work(app.store.job(asked["job"]["id"]))
    for words, found in (("team:a", [asked["id"]]), ("team:b", []), ("nobody:1", [])):
        listed = http.get("/v1/circuits", params={"metadata": words}).json()["items"]
        assert [circuit["id"] for circuit in listed] == found


def test_what_no_list_knows_is_refused(http: httpx.Client) -> None:
    for path, wrong in (
        ("/v1/proofs", "stat=failed"),
        ("/v1/proofs", "created_since=2026-01-01T00:00:00"),
        ("/v1/proofs", "metadata=order"),
        ("/v1/proofs", "metadata=a%20b:1"),
        ("/v1/proofs", "&".join(f"metadata=k{n}:1" for n in range(17))),
        ("/v1/models", "state=failed"),
        ("/v1/batches", "model=%00"),
        ("/v1/batches/x/items", "statee=failed"),
    ):
        answer = http.get(f"{path}?{wrong}")
        assert answer.status_code == 422, (path, wrong)
        assert answer.json()["fault"] == "input"
    assert http.get("/healthz?t=1").status_code == 200


def test_metadata_comes_back_and_has_bounds(app: FakeApp, http: httpx.Client) -> None:
    model = replace(model_record(), signature=SIGNATURE)
    app.store.add_model(model)
    words = {"order": "4711", "a-b_c.d": "ü" * 256}
    sent = http.post("/v1/proofs", json={"model": model.id, "metadata": words, **INPUT})
    assert sent.json()["metadata"] == words
    assert http.get(sent.json()["links"]["self"]).json()["metadata"] == words
    for wrong in (
        {str(n): "" for n in range(17)},
        {"a b": ""},
        {"": ""},
        {"k" * 65: ""},
        {"k": "v" * 257},
        {"k": "a\0b"},
        {"k": 1},
        ["k"],
    ):
        answer = http.post("/v1/proofs", json={"model": model.id, "metadata": wrong, **INPUT})
        assert answer.status_code == 422, wrong
