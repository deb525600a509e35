"""Waiting for jobs without a thread for each client.

A nudge says "read the row again"; where none comes (no Redis, or it is down) the row is read at
intervals. The rows are the truth in both cases.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator

import anyio

from prover.batch.records import Batch
from prover.events import Nudges
from prover.jobs import Job, JobEvent
from prover.store import Store

#: How often a waiting client's job is read when no nudge comes.
POLL_S = 1.0

_BATCH = 200


class Watch:
    """Follows jobs in the store."""

    def __init__(self, store: Store, nudges: Nudges, *, poll_s: float = POLL_S) -> None:
        self._store = store
        self._nudges = nudges
        self._poll_s = poll_s

    async def ended(self, job_id: str, timeout_s: float) -> Job:
        """The job once it has ended, or as it stands after ``timeout_s``."""
        until = time.monotonic() + timeout_s
        async with self._nudges.subscribe_async(job_id) as subscription:
            while True:
                job = await anyio.to_thread.run_sync(self._store.job, job_id)
                left = until - time.monotonic()
                if job.state.terminal or left <= 0:
                    return job
                await subscription.wait(min(left, self._poll_s))

    async def batch_ended(self, batch_id: str, timeout_s: float) -> None:
        """Returns when the batch has ended, or after ``timeout_s``."""
        with anyio.move_on_after(timeout_s):
            async with contextlib.aclosing(self.batch(batch_id)) as changes:
                async for _ in changes:
                    pass

    async def batch(self, batch_id: str) -> AsyncGenerator[Batch]:
        """The batch as it stands, and again after each change, up to the one that ends it."""
        told: Batch | None = None
        async with self._nudges.subscribe_async(batch_id) as subscription:
            while True:
                batch = await anyio.to_thread.run_sync(self._store.batch, batch_id)
                if batch != told:
                    told = batch
                    yield batch
                if batch.state.terminal:
                    return
                await subscription.wait(self._poll_s)

    async def events(self, job_id: str, after: int) -> AsyncIterator[JobEvent]:
        """The job's events after number ``after`` as they come, up to the one that ends it."""
        async with self._nudges.subscribe_async(job_id) as subscription:
            while True:
                # The job first: an event that ended it is then surely among those read next.
                job = await anyio.to_thread.run_sync(self._store.job, job_id)
                batch = await anyio.to_thread.run_sync(self._store.events, job_id, after, _BATCH)
                for event in batch:
                    after = event.seq
                    yield event
                if len(batch) == _BATCH:
                    continue
                if job.state.terminal:
                    return
                await subscription.wait(self._poll_s)
