"""Whose turn it is, and many claims at once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from prover.errors import (
    JobNotFound,
)
from prover.records.job import Job, Lease, Stage
from prover.store import Store
from prover.store.jobs import insert_jobs
from prover.testing import ManualClock, model_record
from tests.cases.jobs import TTL_S, claimed, new_job, story


def test_runnable_lists_exactly_the_unclaimed_jobs(store: Store, clock: ManualClock) -> None:
    forgotten, lost, held, done = (new_job(store, id=name) for name in "abcd")
    claimed(store, lost)
    clock.advance(TTL_S)
    claimed(store, held)
    store.succeed(claimed(store, done), {})
    new_job(store, id="just sent")

    assert store.runnable(grace_s=10) == [forgotten.id, lost.id]
    assert store.runnable(grace_s=10, queued=[]) == [lost.id]
    store.mark_sent(forgotten.id)
    assert store.runnable(grace_s=10) == [lost.id]


def test_of_many_claims_at_once_one_wins(store: Store) -> None:
    jobs = [new_job(store) for _ in range(10)]
    with ThreadPoolExecutor(8) as pool:
        for job in jobs:
            start = Barrier(8)

            def race(number: int, job: Job = job, start: Barrier = start) -> Lease | None:
                start.wait()
                return store.claim(job.id, f"worker-{number}", TTL_S)

            leases = [lease for lease in pool.map(race, range(8)) if lease is not None]
            assert len(leases) == 1
            assert story(store, job) == ["queued", "running"]


def test_events_have_no_gaps_when_many_write_at_once(store: Store) -> None:
    job = new_job(store)
    lease = claimed(store, job)
    with ThreadPoolExecutor(8) as pool:
        steps = [pool.submit(store.set_stage, lease, Stage.PROVE, i / 40) for i in range(40)]
        asked = pool.submit(store.request_cancel, job.id)
    for step in steps:
        step.result()
    asked.result()

    assert len(story(store, job)) == 2 + 40 + 1


@pytest.mark.long
@pytest.mark.slow
def test_processes_open_and_claim_at_once_and_each_job_is_claimed_once(url: str) -> None:
    """Also the first opening of a new database, by all of them together."""
    program = (
        "import sys\n"
        "from prover.store import Store\n"
        "from prover.testing import model_record\n"
        "from prover.records.job import JobKind\n"
        "store = Store.open(sys.argv[1])\n"
        "store.add_model(model_record())\n"
        "for n in range(20):\n"
        "    store.create_job(JobKind.PROOF, model_record().id, 'c', {}, None, id=f'job-{n}')\n"
        "    if store.claim(f'job-{n}', sys.argv[2], 60) is not None:\n"
        "        print(n)\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, url, f"worker-{number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    printed = [worker.communicate(timeout=300)[0] for worker in workers]

    assert [worker.returncode for worker in workers] == [0] * 4
    assert sorted(int(n) for text in printed for n in text.split()) == list(range(20))


def many_jobs(store: Store, count: int) -> None:
    """Queued jobs, written as those of a batch are."""
    with store._db.write() as conn:
        rows: list[dict[str, Any]] = [
            {
                "id": f"{store.tenant}-{n:05}",
                "tenant": store.tenant,
                "kind": "proof",
                "model_id": model_record().id,
                "circuit_id": "c",
                "request": {},
                "input_key": None,
            }
            for n in range(count)
        ]
        insert_jobs(conn, store._now(), rows)


def test_ten_thousand_jobs_of_one_tenant_do_not_delay_others(
    store: Store, clock: ManualClock
) -> None:
    """Two workers are at it when another tenant's first job comes: the next that is free has it."""
    many_jobs(store, 10_000)
    busy = [store.claim_turn("default-00000", f"w{n}", 1e6) for n in (1, 2)]
    clock.advance(1)
    late = store.for_tenant("late")
    many_jobs(late, 3)

    taken = []
    for _ in range(8):
        clock.advance(1)
        done = busy.pop(0)
        assert done is not None
        store.succeed(done, {})
        lease = store.claim_turn("default-09999", "w", 1e6)
        assert lease is not None
        taken.append(lease.job_id)
        busy.append(lease)

    # The newcomer's first at once; then in turn; each tenant's own in the order of their coming.
    assert taken == [
        "late-00000",
        "default-00002",
        "late-00001",
        "default-00003",
        "late-00002",
        "default-00004",
        "default-00005",
        "default-00006",
    ]


def test_a_quota_of_running_jobs_lets_the_others_pass(store: Store, clock: ManualClock) -> None:
    store.set_quota("default", {"running": 1})
    many_jobs(store, 3)
    first = store.claim_turn("default-00000", "w", TTL_S)
    assert first is not None
    assert store.claim_turn("default-00001", "w", TTL_S) is None
    assert store.next_of("default") == "default-00001"
    assert store.next_of("other") is None
    many_jobs(store.for_tenant("other"), 1)
    other = store.claim_turn("default-00001", "w", TTL_S)
    assert other is not None
    assert other.job_id == "other-00000"

    store.succeed(first, {})
    second = store.claim_turn("other-00000", "w", TTL_S)

    assert second is not None
    assert second.job_id == "default-00001"
    assert store.own_quotas()["default"].running == 1
    assert store.set_quota("default", {"running": None}) == store.default_quota


def test_a_message_resumes_the_job_of_an_unresponsive_worker(
    store: Store, clock: ManualClock
) -> None:
    many_jobs(store, 3)
    lost = store.claim_turn("default-00002", "w", TTL_S)
    assert lost is not None
    assert lost.job_id == "default-00000"
    clock.advance(TTL_S + 1)

    again = store.claim_turn("default-00000", "w2", TTL_S)

    assert again is not None
    assert (again.job_id, again.token) == ("default-00000", 2)
    for _ in range(2):
        assert store.claim_turn("no such job", "w", TTL_S) is not None
    with pytest.raises(JobNotFound):
        store.claim_turn("no such job", "w", TTL_S)
