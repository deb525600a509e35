"""Metrics for operators, from rows; and a warning about a queue that may drop messages."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from api.metrics import render
from prover.errors import QueueUnavailable
from prover.host.redis_server import RedisServer
from prover.jobs.redis_notifications import RedisNotifications
from prover.records.job import CircuitRecord, Job, JobKind
from prover.records.webhook import SignatureScheme
from prover.store import Store
from prover.testing import START, ManualClock, model_record

PROBLEM = {"code": "engine_killed", "detail": "", "fault": "internal", "retryable": True}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Store:
    opened = Store.open(f"sqlite:///{tmp_path / 'zkml.db'}", clock=clock)
    opened.add_model(model_record())
    return opened


def told(store: Store) -> dict[str, float]:
    lines = [line for line in render(store).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (n.rpartition(" ") for n in lines)}


def test_an_empty_store_has_only_zero_metrics(store: Store) -> None:
    values = told(store)
    assert values.pop('zkml_build_info{version="0.1.0"}') == 1
    assert set(values.values()) == {0}
    store.close()


def test_counts_ages_and_spreads_are_those_of_the_rows(store: Store, clock: ManualClock) -> None:
    def new() -> Job:
        return store.create_job(JobKind.PROOF, model_record().id, "c", {}, None)

    for seconds in (1.0, 2.0, 3.0):
        lease = store.claim(new().id, "w", 30)
        assert lease is not None
        store.succeed(lease, {}, {"prove": seconds}, int(seconds * 1000))
    failed = store.claim(new().id, "w", 30)
    assert failed is not None
    store.fail(failed, PROBLEM)
    lost = new()
    assert store.claim(lost.id, "w", 30)
    new()
    clock.advance(60)
    again = store.claim(lost.id, "x", 30)
    assert again is not None
    store.requeue(again, PROBLEM)

    values = told(store)
    assert values['zkml_queue_jobs{class="compile",state="queued"}'] == 2
    assert values['zkml_recent_circuits{how="found"}'] == 3
    assert values['zkml_jobs{kind="proof",state="queued"}'] == 2
    assert values['zkml_jobs_ended{kind="proof",outcome="succeeded"}'] == 3
    assert values['zkml_jobs_ended{kind="proof",outcome="engine_killed"}'] == 1
    assert values['zkml_queue_oldest_seconds{kind="proof"}'] == 60
    assert values['zkml_attempts_lost{reason="worker"}'] == 1
    assert values['zkml_attempts_lost{reason="other"}'] == 1
    assert values['zkml_recent_stage_seconds{quantile="0.5",stage="prove"}'] == 2
    assert values['zkml_recent_peak_memory_bytes{quantile="1"}'] == 3000
    store.close()


def test_memory_is_reported_with_its_prediction(store: Store) -> None:
    measured = {"prove_s": 1.0, "peak_rss_bytes": 1000}
    store.add_circuit(
        CircuitRecord(
            id="c",
            model_id=model_record().id,
            profile={},
            manifest={"measured": measured},
            created_at=START,
        )
    )
    for took in ({"prove": 1.0}, {"prove": 1.0, "compile": 5.0}):
        lease = store.claim(
            store.create_job(JobKind.PROOF, model_record().id, "c", {}, None).id, "w", 30
        )
        assert lease is not None
        store.succeed(lease, {}, took, 1500)
    values = told(store)
    assert values['zkml_recent_predicted_memory_bytes{quantile="1"}'] == 1500  # corrected
    assert values['zkml_recent_memory_over_predicted{quantile="1"}'] == 1.5
    assert values['zkml_recent_circuits{how="built"}'] == 1
    store.close()


def test_disabled_endpoints_and_late_deliveries_are_reported(
    store: Store, clock: ManualClock
) -> None:
    def hook(tenant: str) -> str:
        made = store.for_tenant(tenant).create_webhook_endpoint(
            "https://a.example/",
            events=None,
            description="",
            scheme=SignatureScheme.HMAC,
            secret="whsec_c2VjcmV0",
        )
        return made.id

    off = hook("default")
    hook("other")
    store.change_webhook_endpoint(off, enabled=False)  # the other tenant hears nothing of it
    store.request_cancel(store.create_job(JobKind.PROOF, model_record().id, "c", {}, None).id)
    late = hook("default")
    store.test_webhook(late)
    clock.advance(90)

    values = told(store)
    assert values['zkml_webhook_endpoints{state="enabled"}'] == 2
    assert values['zkml_webhook_endpoints{state="disabled"}'] == 1
    assert values['zkml_webhook_deliveries{state="missed"}'] == 1
    assert values['zkml_webhook_deliveries{state="pending"}'] == 1
    assert values["zkml_webhook_late_seconds"] == 90
    store.close()


def test_a_redis_that_may_drop_messages_is_not_ready(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path) as server, RedisNotifications(server.url) as notifications:
        notifications.ping()
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(QueueUnavailable, match="allkeys-lru") as caught:
            notifications.ping()
        assert "noeviction" in caught.value.advice
