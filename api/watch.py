"""Waiting for jobs without a thread per client.

A notification says "read the row again". Without notifications (no Redis, or it is down) rows are
polled. The rows are the source of truth in both cases.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection

import anyio

from api.batched_reads import BatchedReads
from prover.errors import JobNotFound
from prover.jobs.notifications import Notifications
from prover.records.batch import Batch
from prover.records.job import Job, JobEvent
from prover.store import Store

#: How often a waiting client's job is read without a notification.
POLL_S = 1.0

_BATCH = 200


class Reads:
    """Batched reads of jobs and events for all requests of a process."""

    def __init__(self, store: Store) -> None:
        """``store`` is any tenant's view; reads name their tenant."""
        self._at_hand = store.at_hand()
        self._store = self._at_hand or store
        waits = self._at_hand is None
        self._jobs = BatchedReads(self._read_jobs, in_thread=waits)
        self._events = BatchedReads(self._read_events, in_thread=waits)

    def close(self) -> None:
        """Closes only its own connection."""
        if self._at_hand is not None:
            self._at_hand.close()

    async def job(self, tenant: str, *ids: str) -> Job | None:
        """The tenant's job of the first of these ids that exists."""
        found = await self._jobs.get(*((tenant, job_id) for job_id in ids))
        return next((job for job in found if job is not None), None)

    async def events(self, tenant: str, job_id: str, after: int) -> list[JobEvent]:
        """The next events of the tenant's job after number ``after``, at most ``_BATCH``."""
        [found] = await self._events.get((tenant, job_id, after))
        return found or []

    def _read_jobs(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Job]:
        ids: dict[str, list[str]] = {}
        for tenant, job_id in keys:
            ids.setdefault(tenant, []).append(job_id)
        return {
            (tenant, job_id): job
            for tenant, theirs in ids.items()
            for job_id, job in self._store.for_tenant(tenant).find_jobs(theirs).items()
        }

    def _read_events(
        self, keys: Collection[tuple[str, str, int]]
    ) -> dict[tuple[str, str, int], list[JobEvent]]:
        return {
            (tenant, job_id, after): self._store.for_tenant(tenant).events(job_id, after, _BATCH)
            for tenant, job_id, after in keys
        }


class Watch:
    """Follows one tenant's jobs."""

    def __init__(
        self, store: Store, notifications: Notifications, reads: Reads, *, poll_s: float = POLL_S
    ) -> None:
        self._store = store
        self._notifications = notifications
        self._reads = reads
        self._poll_s = poll_s

    def of(self, store: Store) -> Watch:
        """The same for the tenant of the view ``store``."""
        return Watch(store, self._notifications, self._reads, poll_s=self._poll_s)

    async def find(self, *ids: str) -> Job | None:
        """The job of the first of these ids that exists."""
        assert self._store.tenant is not None
        return await self._reads.job(self._store.tenant, *ids)

    async def job(self, job_id: str) -> Job:
        """Raises ``JobNotFound``."""
        job = await self.find(job_id)
        if job is None:
            raise JobNotFound(f"There is no job {job_id!r}.", job=job_id)
        return job

    async def ended(self, job_id: str, timeout_s: float) -> Job:
        """The job once it has ended, or its state after ``timeout_s``."""
        until = time.monotonic() + timeout_s
        async with self._notifications.subscribe_async(job_id) as subscription:
            while True:
                job = await self.job(job_id)
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
        """The batch now and after each change, up to its end."""
        last: Batch | None = None
        async with self._notifications.subscribe_async(batch_id) as subscription:
            while True:
                batch = await anyio.to_thread.run_sync(self._store.batch, batch_id)
                if batch != last:
                    last = batch
                    yield batch
                if batch.state.terminal:
                    return
                await subscription.wait(self._poll_s)

    async def events(self, job_id: str, after: int) -> AsyncIterator[JobEvent]:
        """The job's events after number ``after`` as they occur, up to its last."""
        tenant = self._store.tenant
        assert tenant is not None
        async with self._notifications.subscribe_async(job_id) as subscription:
            while True:
                # The job is read first, so that its last event is among the events read next.
                job = await self.job(job_id)
                while after < job.last_seq:
                    for event in await self._reads.events(tenant, job_id, after):
                        after = event.seq
                        yield event
                if job.state.terminal:
                    return
                await subscription.wait(self._poll_s)
