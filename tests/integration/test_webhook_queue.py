"""Webhooks in the store: written with the job's end, delivered at least once, replayed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from prover.records.job import JobKind, JobState
from prover.records.webhook import (
    Attempt,
    DeliveryState,
    DisabledReason,
    Due,
    Endpoint,
    SignatureScheme,
)
from prover.records.webhook_errors import (
    WebhookEndpointDisabled,
    WebhookEndpointNotFound,
    WebhookReplayWindow,
)
from prover.store import Store, outbox
from prover.store.webhook_tables import webhook_deliveries, webhook_events
from prover.testing import START, ManualClock, model_record
from tests.cases.jobs import PROBLEM, claimed, new_job

LEASE_S = 60.0


def endpoint(store: Store, *events: str, url: str = "https://a.example/") -> Endpoint:
    return store.create_webhook_endpoint(
        url,
        events=events or None,
        description="",
        scheme=SignatureScheme.HMAC,
        secret="whsec_c2VjcmV0",
    )


def take(store: Store, limit: int = 100, per_endpoint: int = 100) -> list[Due]:
    every = store.every_tenant()
    return every.take_webhooks(limit, lease_s=LEASE_S, per_endpoint=per_endpoint)


def note(
    store: Store,
    due: Due,
    *,
    status: int = 200,
    again_s: float | None = 5,
    disabled: DisabledReason | None = None,
    pause: timedelta | None = None,
) -> DisabledReason | None:
    return store.every_tenant().note_webhook(
        due,
        Attempt(number=due.number, at=START, status=status, error=None, duration_s=0.1),
        delivered=status == 200,
        next_at=None if again_s is None else store._now() + timedelta(seconds=again_s),
        disabled=disabled,
        pause=pause,
    )


def state(store: Store, one: Endpoint) -> DeliveryState:
    (delivery,) = store.webhook_deliveries(one.id).items
    return delivery.state


def succeed(store: Store) -> str:
    job = new_job(store)
    store.succeed(claimed(store, job), {})
    return job.id


# --- what is written, and with what -----------------------------------------------------------


def test_each_kind_of_end_is_published_once(store: Store) -> None:
    endpoint(store)
    succeed(store)
    store.fail(claimed(store, new_job(store)), PROBLEM)
    store.request_cancel(new_job(store).id)
    canceled = new_job(store)
    lease = claimed(store, canceled)
    store.request_cancel(canceled.id)
    store.canceled(lease)

    sent = [due.payload for due in take(store)]

    assert sorted(p["type"] for p in sent) == [
        "proof.canceled",
        "proof.canceled",
        "proof.failed",
        "proof.succeeded",
    ]
    failed = next(p["data"] for p in sent if p["type"] == "proof.failed")
    assert failed["problem"] == {"code": "engine_killed", "retryable": True}


def test_stages_and_parts_of_batches_are_not_published(store: Store) -> None:
    endpoint(store)
    store.create_job(JobKind.PACK, model_record().id, "c", {}, None, id="pack")
    lease = store.claim("pack", "w", 30)
    assert lease is not None
    store.succeed(lease, {})
    assert take(store) == []


def test_a_job_whose_end_cannot_be_published_has_not_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is part of the job's transaction: without the one there is not the other."""
    endpoint(store)
    job = new_job(store)
    lease = claimed(store, job)
    with monkeypatch.context() as broken:
        broken.setattr("prover.store.outbox.secrets.token_hex", lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            store.succeed(lease, {})
    assert store.job(job.id).state is JobState.RUNNING
    assert take(store) == []
    store.succeed(lease, {})
    assert len(take(store)) == 1


def test_a_rolled_back_end_is_never_published(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint(store)
    lease = claimed(store, new_job(store))

    def told_and_then_cut_off(*told: Any) -> None:
        outbox.job_ended(*told)
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr("prover.store.leases.job_ended", told_and_then_cut_off)
        with pytest.raises(ZeroDivisionError):
            store.succeed(lease, {})
    assert take(store) == []


def test_only_subscribed_endpoints_of_the_jobs_tenant_are_notified(store: Store) -> None:
    mine = endpoint(store, "proof.succeeded")
    grouped = endpoint(store, "proof.*")
    endpoint(store, "proof.failed", "batch.*")
    theirs = store.for_tenant("other")
    endpoint(theirs)

    succeed(store)

    assert {due.endpoint.id for due in take(store)} == {mine.id, grouped.id}
    for call in (
        lambda: theirs.webhook_endpoint(mine.id),
        lambda: theirs.delete_webhook_endpoint(mine.id),
        lambda: theirs.webhook_deliveries(mine.id),
        lambda: theirs.change_webhook_endpoint(mine.id, enabled=False),
        lambda: theirs.rotate_webhook_secret(mine.id, "s", timedelta()),
        lambda: theirs.test_webhook(mine.id),
        lambda: theirs.replay_webhooks(mine.id, START, None, delivered=False),
    ):
        with pytest.raises(WebhookEndpointNotFound):
            call()


def test_without_an_endpoint_nothing_is_kept(store: Store) -> None:
    succeed(store)
    with store._db.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(webhook_events)) == 0


# --- the queue ----------------------------------------------------------------------------------


def test_two_processes_never_take_the_same_delivery_at_once(store: Store) -> None:
    endpoint(store)
    for _ in range(12):
        succeed(store)
    together = Barrier(4)

    def worker() -> list[str]:
        together.wait()
        return [due.event_id for due in take(store)]

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(worker) for _ in range(4)]
        taken = [event for future in futures for event in future.result()]
    assert len(taken) == len(set(taken)) == 12


def test_what_a_process_took_and_never_noted_is_sent_again_with_the_same_id(
    store: Store,
    clock: ManualClock,
) -> None:
    endpoint(store)
    succeed(store)
    (first,) = take(store)
    assert take(store) == []
    clock.advance(LEASE_S)
    (second,) = take(store)
    assert (second.event_id, second.payload) == (first.event_id, first.payload)
    assert second.number == 2
    # The first one wakes up: what it has to say is logged and decides nothing.
    note(store, first, status=500, again_s=None)
    assert state(store, first.endpoint) is DeliveryState.PENDING
    note(store, second)
    assert state(store, first.endpoint) is DeliveryState.DELIVERED


def test_a_failure_is_tried_again_when_its_time_has_come(
    store: Store,
    clock: ManualClock,
) -> None:
    endpoint(store)
    succeed(store)
    (due,) = take(store)
    note(store, due, status=500, again_s=5)
    assert take(store) == []
    clock.advance(5)
    (again,) = take(store)
    assert (again.number, again.tries) == (2, 2)
    note(store, again)
    (delivery,) = store.webhook_deliveries(due.endpoint.id).items
    assert [a.status for a in delivery.attempts] == [500, 200]


def test_one_receivers_thousands_do_not_delay_others(store: Store) -> None:
    endpoint(store, "proof.succeeded")
    for _ in range(20):
        succeed(store)
    other = endpoint(store, "proof.failed")
    store.fail(claimed(store, new_job(store)), PROBLEM)
    taken = take(store, limit=8, per_endpoint=2)
    assert len(taken) == 3
    assert other.id in {due.endpoint.id for due in taken}


def test_an_endpoint_that_asks_for_a_pause_gets_nothing_until_it_is_over(
    store: Store,
    clock: ManualClock,
) -> None:
    endpoint(store)
    succeed(store)
    succeed(store)
    (due,) = take(store, limit=1)
    note(store, due, status=503, again_s=600, pause=timedelta(seconds=600))
    assert take(store) == []
    clock.advance(600)
    assert len(take(store)) == 2


# --- ends of endpoints --------------------------------------------------------------------------


def test_410_disables_the_endpoint_and_notifies_the_tenants_others(store: Store) -> None:
    gone, other = endpoint(store, "proof.*"), endpoint(store, "endpoint.disabled")
    succeed(store)
    succeed(store)
    due, _ = take(store)
    assert note(store, due, status=410, again_s=None, disabled=DisabledReason.GONE) is (
        DisabledReason.GONE
    )
    found = store.webhook_endpoint(gone.id)
    assert found.disabled is DisabledReason.GONE
    assert found.disabled_at is not None
    (told,) = take(store)
    assert told.endpoint.id == other.id
    assert told.payload["data"] | {"links": {}} == {"id": gone.id, "reason": "gone", "links": {}}
    counts = store.count_webhooks()
    assert (counts.enabled, counts.disabled, counts.missed) == (1, 1, 1)


def test_an_endpoint_without_any_success_before_a_final_failure_is_disabled(
    store: Store,
    clock: ManualClock,
) -> None:
    endpoint(store)
    succeed(store)
    (due,) = take(store)
    assert note(store, due, status=500, again_s=None) is DisabledReason.FAILING
    assert store.webhook_endpoint(due.endpoint.id).disabled is DisabledReason.FAILING


def test_one_event_that_a_receiver_cannot_digest_does_not_disable_it(
    store: Store,
    clock: ManualClock,
) -> None:
    endpoint(store)
    succeed(store)
    (poison,) = take(store)
    clock.advance(1)
    succeed(store)
    (fine,) = take(store)
    note(store, fine)
    assert note(store, poison, status=500, again_s=None) is None
    assert store.webhook_endpoint(poison.endpoint.id).disabled is None
    assert store.count_webhooks().failed == 1


def test_everything_missed_since_a_moment_is_sent_again_and_nothing_else(
    store: Store,
    clock: ManualClock,
) -> None:
    one = endpoint(store)
    before = succeed(store)  # older than the replay
    take(store)
    clock.advance(10)
    since = clock.now
    delivered = succeed(store)
    note(store, take(store)[-1])
    store.change_webhook_endpoint(one.id, enabled=False)
    missed = [succeed(store), succeed(store)]
    assert take(store) == []
    with pytest.raises(WebhookEndpointDisabled):
        store.replay_webhooks(one.id, since, None, delivered=False)
    store.change_webhook_endpoint(one.id, enabled=True)
    clock.advance(LEASE_S)
    assert take(store) == []

    assert store.replay_webhooks(one.id, since, None, delivered=False) == 2
    sent = {due.payload["data"]["id"] for due in take(store)}
    assert sent == set(missed)

    clock.advance(LEASE_S)
    assert store.replay_webhooks(one.id, since, None, delivered=True) == 1
    assert {due.payload["data"]["id"] for due in take(store)} == {*missed, delivered}
    assert before not in sent


def test_a_replay_reaches_back_as_far_as_events_are_kept(
    store: Store,
    clock: ManualClock,
) -> None:
    one = endpoint(store)
    with pytest.raises(WebhookReplayWindow):
        store.replay_webhooks(one.id, START - timedelta(days=7, seconds=1), None, delivered=False)
    succeed(store)
    (due,) = take(store)
    note(store, due)
    clock.advance(8 * 86_400)
    succeed(store)
    store.every_tenant().purge_webhooks(clock.now - timedelta(days=7))
    kept = store.webhook_deliveries(one.id).items
    assert [d.state for d in kept] == [DeliveryState.PENDING]
    assert due.event_id not in {d.event_id for d in kept}


def test_a_deleted_endpoint_takes_its_log_with_it(store: Store) -> None:
    one = endpoint(store)
    succeed(store)
    (due,) = take(store)
    store.delete_webhook_endpoint(one.id)
    assert note(store, due) is None
    with store._db.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(webhook_deliveries)) == 0


def test_the_log_is_paged_newest_first(store: Store, clock: ManualClock) -> None:
    one = endpoint(store)
    for _ in range(5):
        clock.advance(1)
        succeed(store)
    seen, cursor = [], None
    while True:
        page = store.webhook_deliveries(one.id, 2, cursor)
        seen += [d.event_at for d in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
