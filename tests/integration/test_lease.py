"""Keeping a lease, and every reason to stop, on a real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prover.errors import StoreUnavailable
from prover.jobs.bus import LocalNotifications
from prover.jobs.lease import LeaseKeeper, StopReason, holding
from prover.records.job import JobKind, JobState, Lease
from prover.store import Store
from prover.testing import model_record


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'zkml.db'}") as opened:
        opened.add_model(model_record())
        yield opened


def claimed(store: Store, ttl_s: float) -> Lease:
    job = store.create_job(JobKind.PROOF, model_record().id, "c", {}, None)
    lease = store.claim(job.id, "worker-1", ttl_s)
    assert lease is not None
    return lease


def until(condition: Callable[[], bool], within_s: float = 300.0) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.005)


def test_a_held_lease_outlives_its_first_term(store: Store) -> None:
    lease = claimed(store, ttl_s=1.5)
    with holding(store, lease, ttl_s=1.5) as held:
        for _ in range(10):
            time.sleep(0.2)
            assert store.claim(lease.job_id, "worker-2", 0.2) is None
        assert not held.should_stop()
    assert threading.active_count() == 1


def test_a_cancellation_with_a_notification_stops_the_work_and_ends_the_job(store: Store) -> None:
    notifications = LocalNotifications()
    lease = claimed(store, ttl_s=60)
    with holding(store, lease, ttl_s=60, notifications=notifications) as held:
        store.request_cancel(lease.job_id)
        notifications.publish(lease.job_id)
        until(held.should_stop)
        assert held.reason is StopReason.CANCELED
        job = held.settle()
    assert job is not None
    assert job.state is JobState.CANCELED


def test_a_cancellation_whose_notification_was_lost_is_seen_all_the_same(store: Store) -> None:
    lease = claimed(store, ttl_s=60)
    with holding(store, lease, ttl_s=60) as held:
        store.request_cancel(lease.job_id)
        until(held.should_stop)
        assert held.cancel_requested


def test_a_stopping_worker_gives_the_job_back(store: Store) -> None:
    stopping = threading.Event()
    lease = claimed(store, ttl_s=60)
    with holding(store, lease, ttl_s=60, stopping=stopping.is_set) as held:
        assert held.reason is None
        stopping.set()
        assert held.reason is StopReason.STOPPING
        job = held.settle()
    assert job is not None
    assert job.state is JobState.QUEUED


def test_a_lease_that_went_to_another_is_known_to_be_lost(store: Store) -> None:
    lease = claimed(store, ttl_s=0.0)  # expired at once: somebody else may have it
    successor = store.claim(lease.job_id, "worker-2", 60)
    assert successor is not None
    with holding(store, lease, ttl_s=0.2) as held:
        until(held.should_stop)
        assert held.reason is StopReason.LOST
        assert held.settle() is None
    assert store.succeed(successor, {}).state is JobState.SUCCEEDED


def test_a_lease_survives_a_lost_database_unless_another_worker_claims(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = claimed(store, ttl_s=0.1)
    tries = []

    def away(*_: object) -> bool:
        tries.append(1)
        raise StoreUnavailable

    with holding(store, lease, ttl_s=0.1) as held:
        with monkeypatch.context() as outage:
            outage.setattr(store, "cancel_requested", away)
            outage.setattr(store, "renew", away)
            until(lambda: len(tries) > 10)
            assert not held.should_stop()
            time.sleep(0.1)
            assert store.claim(lease.job_id, "worker-2", 60) is not None
        until(held.should_stop)
        assert held.lost


def test_a_database_that_comes_back_in_time_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = claimed(store, ttl_s=2)
    refused = threading.Event()
    renew = store.renew

    def away_once(lease: Lease, ttl_s: float) -> Lease:
        if not refused.is_set():
            refused.set()
            raise StoreUnavailable
        return renew(lease, ttl_s)

    monkeypatch.setattr(store, "renew", away_once)
    held: LeaseKeeper
    with holding(store, lease, ttl_s=2) as held:
        until(refused.is_set)
        time.sleep(2.5)
        assert held.reason is None
    assert store.claim(lease.job_id, "worker-2", 60) is None
