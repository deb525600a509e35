"""Runs the jobs of a batch in this process, without queue and workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from prover.batch.service import BatchService
from prover.records.batch import Batch
from prover.store import Store

#: Seconds to wait for a job that another process holds, or held when it was killed.
_PAUSE_S = 0.2


class RunsJobs(Protocol):
    """The part of the application that is needed."""

    @property
    def store(self) -> Store: ...

    @property
    def batches(self) -> BatchService: ...

    def run(
        self,
        job_id: str,
        owner: str,
        stopping: Callable[[], bool] = ...,
        *,
        on_progress: Callable[[str], None] | None = None,
    ) -> None: ...


def work_through(
    app: RunsJobs,
    batch_id: str,
    owner: str,
    *,
    stopping: Callable[[], bool],
    on_progress: Callable[[str], None] | None = None,
) -> Batch:
    """Runs the batch's remaining jobs, until it has ended or ``stopping`` returns true."""
    store = app.store
    while not stopping():
        batch = app.batches.batch(batch_id)
        if batch.state.terminal:
            return batch
        planning = store.job(batch.job_id)
        job = store.next_pack(batch_id) if planning.state.terminal else planning
        if job is not None:
            app.run(job.id, owner, stopping, on_progress=on_progress)
        if job is None or not store.job(job.id).state.terminal:
            # Another process holds it until its lease expires, or it waits for a retry.
            time.sleep(_PAUSE_S)
    return store.batch(batch_id)
