"""A job's way through the store: leases, attempts, cancellation, retries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from prover.errors import (
    JobAlreadyDone,
    LeaseLost,
)
from prover.records.job import JobState, Lease, Stage
from prover.store import Store
from prover.testing import START, ManualClock
from tests.cases.jobs import PROBLEM, TTL_S, claimed, new_job, story


def test_a_job_goes_its_way_and_every_step_is_an_event(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    lease = claimed(store, job)
    store.set_stage(lease, Stage.WITNESS, 0.1, {"queue": 0.5})
    store.set_stage(lease, Stage.PROVE, 0.2)
    store.set_stage(lease, Stage.PROVE, 0.7, {"witness": 1.0})
    clock.advance(2)
    done = store.succeed(lease, {"receipt": "sha256:…"}, {"prove": 2.0}, peak_rss=123)

    assert done == store.job(job.id)
    assert done.state is JobState.SUCCEEDED
    assert (done.progress, done.stage, done.attempt) == (1.0, None, 1)
    assert done.timings == {"queue": 0.5, "witness": 1.0, "prove": 2.0}
    assert done.finished_at == START + timedelta(seconds=2)
    assert story(store, job) == ["queued", "running", "witness", "prove", "prove", "succeeded"]
    assert [e.type for e in store.events(job.id, after_seq=3)] == ["stage", "progress", "state"]


def test_a_held_job_cannot_be_claimed(store: Store) -> None:
    job = new_job(store)
    claimed(store, job)

    assert store.claim(job.id, "worker-2", TTL_S) is None
    assert story(store, job) == ["queued", "running"]


def test_an_expired_lease_is_taken_over_and_its_late_holder_is_refused(
    store: Store, clock: ManualClock
) -> None:
    job = new_job(store)
    stale = claimed(store, job, "worker-1")
    clock.advance(TTL_S)
    fresh = claimed(store, job, "worker-2")

    assert fresh.token > stale.token
    for write in every_write(store, stale):
        with pytest.raises(LeaseLost):
            write()
    assert story(store, job) == ["queued", "running", "running"]
    assert store.succeed(fresh, {"by": 2}).result == {"by": 2}
    for write in every_write(store, fresh):  # nor may a job that has ended be written to
        with pytest.raises(LeaseLost):
            write()


def every_write(store: Store, lease: Lease) -> list[Callable[[], object]]:
    return [
        lambda: store.renew(lease, TTL_S),
        lambda: store.set_stage(lease, Stage.PROVE),
        lambda: store.succeed(lease, {}),
        lambda: store.fail(lease, PROBLEM),
        lambda: store.canceled(lease),
        lambda: store.requeue(lease),
    ]


def test_a_renewed_lease_is_not_taken_over(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    lease = claimed(store, job)
    clock.advance(TTL_S - 1)
    lease = store.renew(lease, TTL_S)
    clock.advance(TTL_S - 1)

    assert store.claim(job.id, "worker-2", TTL_S) is None
    assert store.fail(lease, PROBLEM).problem == PROBLEM


def test_a_job_that_kills_its_workers_is_set_aside_with_its_evidence(
    store: Store, clock: ManualClock
) -> None:
    job = new_job(store)
    for number in (1, 2):
        lease = store.claim(job.id, f"worker-{number}", TTL_S)
        assert lease is not None
        store.set_stage(lease, Stage.PROVE)
        clock.advance(TTL_S)

    assert store.claim(job.id, "worker-3", TTL_S) is None
    failed = store.job(job.id)
    assert failed.state is JobState.FAILED
    assert failed.problem is not None
    assert failed.problem["code"] == "job_quarantined"
    assert not failed.problem["retryable"]
    losses = failed.problem["context"]["losses"]
    assert [(n["owner"], n["attempt"], n["stage"]) for n in losses] == [
        ("worker-1", 1, "prove"),
        ("worker-2", 2, "prove"),
    ]


def test_one_death_beside_other_losses_uses_up_the_attempts(
    store: Store, clock: ManualClock
) -> None:
    job = new_job(store)
    store.requeue(claimed(store, job), PROBLEM)
    claimed(store, job)
    clock.advance(TTL_S)

    assert store.claim(job.id, "worker-3", TTL_S) is None
    failed = store.job(job.id)
    assert failed.problem is not None
    assert failed.problem["code"] == "worker_lost"
    assert [loss.get("code") for loss in failed.problem["context"]["losses"]] == [
        "engine_killed",
        None,
    ]


def test_a_job_given_back_by_a_stopping_worker_has_not_lost_an_attempt(store: Store) -> None:
    job = new_job(store)
    for _ in range(5):
        assert store.requeue(claimed(store, job)).state is JobState.QUEUED

    assert claimed(store, job).token == 6


def test_a_failure_that_may_pass_is_tried_again_until_the_attempts_are_used(store: Store) -> None:
    job = new_job(store)
    assert store.requeue(claimed(store, job), PROBLEM).state is JobState.QUEUED

    ended = store.requeue(claimed(store, job), PROBLEM)

    assert ended.state is JobState.FAILED
    assert ended.problem == PROBLEM


def test_a_failure_that_may_pass_waits_before_it_is_tried_again(
    store: Store, clock: ManualClock
) -> None:
    job, other = new_job(store), new_job(store, id="other")
    store.requeue(claimed(store, job), PROBLEM, after_s=60)
    store.mark_sent(job.id)
    clock.advance(59)

    assert store.claim(job.id, "early", TTL_S) is None
    assert store.runnable(grace_s=10) == [other.id]
    clock.advance(1)
    assert store.runnable(grace_s=10, queued=[]) == [job.id]  # however long the queue is
    store.mark_sent(job.id)
    assert store.runnable(grace_s=10, queued=[]) == []
    assert claimed(store, job).token == 2


def test_a_queued_job_is_canceled_at_once(store: Store) -> None:
    job = new_job(store)

    assert store.request_cancel(job.id).state is JobState.CANCELED
    assert store.request_cancel(job.id).state is JobState.CANCELED
    assert store.claim(job.id, "worker", TTL_S) is None
    assert story(store, job) == ["queued", "canceled"]


def test_a_running_job_is_canceled_by_its_worker(store: Store) -> None:
    job = new_job(store)
    lease = claimed(store, job)

    asked = store.request_cancel(job.id)

    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    assert store.cancel_requested(job.id)
    assert store.canceled(lease).state is JobState.CANCELED
    assert story(store, job) == ["queued", "running", "running", "canceled"]


def test_a_canceled_job_does_not_need_its_dead_worker(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    lease = claimed(store, job)
    store.request_cancel(job.id)
    clock.advance(TTL_S)

    assert store.claim(job.id, "worker-2", TTL_S) is None
    assert store.job(job.id).state is JobState.CANCELED
    with pytest.raises(LeaseLost):
        store.succeed(lease, {})


def test_what_has_ended_cannot_be_canceled(store: Store) -> None:
    job = new_job(store)
    store.succeed(claimed(store, job), {})

    with pytest.raises(JobAlreadyDone):
        store.request_cancel(job.id)
