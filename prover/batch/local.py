"""Working through a batch in this process, without a queue: the jobs that workers would run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from prover.batch.service import BatchService
from prover.records.batch import Batch
from prover.store import Store

#: How long to wait for a job that another process works on, or worked on when it was killed.
_PAUSE_S = 0.2


class RunsJobs(Protocol):
    """What is asked of the application."""

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
    """Runs what the batch still needs, until it has ended or ``stopping`` is true.

    What was done before, by whomever, is not done again.
    """
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
            # Somebody else's, until its lease runs out, or waiting to be tried again.
            time.sleep(_PAUSE_S)
    return store.batch(batch_id)
