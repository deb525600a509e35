"""Deadlines: what is not done by then has expired, what is done stays."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from prover.errors import LeaseLost
from prover.jobs.lease import StopReason, holding
from prover.records.job import Job, JobKind, JobState, Stage
from prover.store import Store
from prover.testing import ManualClock, model_record
from tests.cases.jobs import PROBLEM, claimed, story


def due_in(store: Store, seconds: float, id: str | None = None) -> Job:
    return store.create_job(
        JobKind.PROOF,
        model_record().id,
        "circuit",
        {},
        None,
        id=id,
        deadline=store._now() + timedelta(seconds=seconds),
    )


def test_a_queued_job_expires_by_itself_and_says_why(store: Store, clock: ManualClock) -> None:
    late, later = due_in(store, 10), due_in(store, 20)
    assert store.expire_due() == []
    clock.advance(10)
    (ended,) = store.expire_due()
    assert (ended.id, ended.state) == (late.id, JobState.EXPIRED)
    assert ended.problem is not None
    assert ended.problem["code"] == "deadline_passed"
    assert ended.finished_at == clock.now
    assert story(store, late) == ["queued", "expired"]
    assert store.job(later.id).state is JobState.QUEUED


def test_a_worker_that_comes_too_late_gets_no_lease(store: Store, clock: ManualClock) -> None:
    job = due_in(store, 10)
    clock.advance(10)
    assert store.claim(job.id, "worker", 30) is None
    assert [ended.id for ended in store.expire_due()] == [job.id]


def test_a_job_that_a_worker_holds_is_left_to_it(store: Store, clock: ManualClock) -> None:
    job = due_in(store, 10)
    lease = claimed(store, job)
    clock.advance(11)
    assert store.expire_due() == []
    assert store.expired(lease).state is JobState.EXPIRED


def test_a_job_of_an_unresponsive_worker_expires_and_its_late_holder_is_refused(
    store: Store, clock: ManualClock
) -> None:
    job = due_in(store, 10)
    lease = claimed(store, job)
    clock.advance(31)  # the lease has run out too
    assert [ended.id for ended in store.expire_due()] == [job.id]
    with pytest.raises(LeaseLost):
        store.succeed(lease, {})


def test_what_is_done_stays_done_also_when_it_was_noted_after_the_deadline(
    store: Store, clock: ManualClock
) -> None:
    """The deadline passed between proving and writing it down: the proof is there, and serves."""
    job = due_in(store, 10)
    lease = claimed(store, job)
    clock.advance(15)
    store.succeed(lease, {"proof": "p"})
    clock.advance(1000)
    assert store.expire_due() == []
    assert store.job(job.id).state is JobState.SUCCEEDED


def test_what_was_to_be_tried_again_after_its_deadline_has_expired(
    store: Store, clock: ManualClock
) -> None:
    job = due_in(store, 10)
    lease = claimed(store, job)
    clock.advance(10)
    given_back = store.requeue(lease, PROBLEM)
    assert given_back.state is JobState.EXPIRED
    assert given_back.problem is not None
    assert given_back.problem["code"] == "deadline_passed"


def test_work_is_told_to_stop_at_the_deadline(tmp_path: Path) -> None:
    """By a clock that counts on when the machine's own is set back."""
    with Store.open(f"sqlite:///{tmp_path / 'zkml.db'}") as store:
        store.add_model(model_record())
        job = store.create_job(
            JobKind.PROOF,
            model_record().id,
            "c",
            {},
            None,
            deadline=datetime.now(UTC) + timedelta(seconds=0.5),
        )
        lease = claimed(store, job)
        with holding(store, lease, 30) as held:
            store.set_stage(lease, Stage.PROVE)
            assert not held.should_stop()
            started = time.monotonic()
            while not held.should_stop() and time.monotonic() < started + 60:
                time.sleep(0.01)
            assert held.reason is StopReason.EXPIRED
            settled = held.settle()
        assert settled is not None
        assert settled.state is JobState.EXPIRED
