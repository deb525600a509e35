"""Jobs in a store, for the tests of what becomes of them."""

from __future__ import annotations

from prover.jobs import Job, JobKind, Lease
from prover.store import Store
from prover.testing import model_record

TTL_S = 30.0

PROBLEM = {"code": "engine_killed", "detail": "…", "fault": "internal", "retryable": True}


def new_job(store: Store, id: str | None = None) -> Job:
    return store.create_job(
        JobKind.PROOF, model_record().id, "circuit", {"n": 1}, "input-key", id=id
    )


def claimed(store: Store, job: Job, owner: str = "worker-1") -> Lease:
    lease = store.claim(job.id, owner, TTL_S)
    assert lease is not None
    return lease


def story(store: Store, job: Job) -> list[str]:
    """The job's events in short; their numbers must count from 1 without gaps."""
    events = store.events(job.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.data["stage" if event.type != "state" else "state"] for event in events]
