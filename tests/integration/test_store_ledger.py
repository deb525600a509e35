"""The ledger of usage: one entry for each proof, with its cost."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from prover.errors import (
    LeaseLost,
)
from prover.records.job import JobState
from prover.records.usage import Grouping
from prover.store import Store
from prover.testing import START, ManualClock
from tests.cases.jobs import PROBLEM, TTL_S, claimed, new_job

TOOK = {"compile": 4.0, "witness": 0.25, "prove": 1.5, "verify": 0.25, "sign": 9.0}


def ledger(store: Store) -> list[tuple[int, int, float, float, int | None]]:
    found = store.usage(list(Grouping))
    return [(u.jobs, u.proofs, u.proving_s, u.building_s, u.peak_bytes) for u in found]


def test_a_proof_is_recorded_once_with_its_cost(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    store.succeed(claimed(store, job), {}, TOOK, 7 << 20)
    assert ledger(store) == [(1, 1, 2.0, 4.0, 7 << 20)]
    (used,) = store.usage(list(Grouping))
    assert (used.model, used.circuit, used.day) == (job.model_id, "circuit", START.date())
    assert (used.caller, used.owner) == ("default", "default")
    clock.advance(86_400)
    shared = new_job(store)
    store.succeed(claimed(store, shared), {"shared_by": 4, "circuit": "wide"}, TOOK, 1 << 20)
    newest = store.usage([Grouping.DAY, Grouping.CIRCUIT])[0]
    assert (newest.day, newest.circuit) == (clock.now.date(), "wide")
    assert newest.proving_s == 0.5
    assert store.usage([Grouping.DAY], until=START + timedelta(hours=1))[0].proofs == 1
    assert store.usage([], since=START)[0].proofs == 2


def test_a_worker_that_came_too_late_enters_nothing(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    late = claimed(store, job)
    clock.advance(TTL_S + 1)
    again = claimed(store, job, "worker-2")
    with pytest.raises(LeaseLost):
        store.succeed(late, {}, TOOK, 1)
    assert ledger(store) == []
    store.succeed(again, {}, TOOK, 1)
    assert [entry[:2] for entry in ledger(store)] == [(1, 1)]


def test_what_is_rolled_back_with_its_job_was_never_entered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash of a worker between the two writes: neither is there, or both."""
    job = new_job(store)
    lease = claimed(store, job)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("prover.store.leases.tell", crash)
        with pytest.raises(KeyboardInterrupt):
            store.succeed(lease, {}, TOOK, 1)
    assert (store.job(job.id).state, ledger(store)) == (JobState.RUNNING, [])
    store.succeed(lease, {}, TOOK, 1)
    assert (store.job(job.id).state, len(ledger(store))) == (JobState.SUCCEEDED, 1)


def test_a_proof_that_failed_is_entered_with_its_seconds_and_no_receipt(store: Store) -> None:
    store.fail(claimed(store, new_job(store)), PROBLEM, TOOK, 3)
    assert ledger(store) == [(1, 0, 2.0, 4.0, 3)]


def test_an_entry_cannot_be_changed_or_deleted(store: Store) -> None:
    store.succeed(claimed(store, new_job(store)), {}, TOOK, 1)
    for statement in ("UPDATE usage SET proofs = 0", "DELETE FROM usage"):
        with (
            pytest.raises(sa.exc.DBAPIError, match="only added to"),
            store._db._engine.begin() as c,
        ):
            c.execute(sa.text(statement))
    assert len(ledger(store)) == 1
