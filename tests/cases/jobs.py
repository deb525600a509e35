"""Jobs in a store, for tests of their life cycle."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from prover.records.job import Job, JobKind, Lease
from prover.store import Store
from prover.testing import model_record

TTL_S = 30.0

PROBLEM = {"code": "engine_killed", "detail": "…", "fault": "internal", "retryable": True}


def lay_out(url: str) -> None:
    """Puts an empty database of the newest schema where SQLite will look for one: migrating takes
    most of the time of a test that needs a store."""
    at = sa.make_url(url)
    if at.get_backend_name() == "sqlite" and at.database and not Path(at.database).exists():
        Path(at.database).write_bytes(_empty_database())


@cache
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zkml.db"
        Store.open(f"sqlite:///{path}").close()
        return path.read_bytes()


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
