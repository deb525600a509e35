"""A worker's side: jobs are claimed, run under a lease, and ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prover.admission import Place
from prover.app.parts import Parts
from prover.jobs.forgetting import forget_input
from prover.jobs.housekeeping import keep_house
from prover.jobs.lease import holding
from prover.jobs.pipeline import Pipeline
from prover.logs import log_context
from prover.records.job import Job, JobKind, Lease
from prover.tracing import job_span

if TYPE_CHECKING:
    from prover.batch.coalescing import Coalescing

_OF_BATCHES = (JobKind.BATCH, JobKind.PACK)


class Work(Parts):
    """Jobs as they are worked on, of any tenant."""

    def run(
        self,
        job_id: str,
        owner: str,
        stopping: Callable[[], bool] = lambda: False,
        *,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        """Claims a job of any tenant and works on it; returns at once if it is taken or has ended.

        Raises nothing for a failed job: its row has the problem. ``on_progress`` receives the
        compiler's progress messages.
        """
        self.expire_due(job_id)
        lease = self.store.claim(job_id, owner, self.settings.lease_s)
        self._claimed(job_id, lease, stopping, on_progress)

    def run_turn(
        self, job_id: str, owner: str, stopping: Callable[[], bool] = lambda: False
    ) -> str | None:
        """As ``run``, for the next job in order (``Store.claim_turn``). ``job_id`` is the job that
        the message named. Returns the id of the job, None if there was nothing to do."""
        self.expire_due()
        place = Place.of(self.settings, owner)
        lease = self.store.claim_turn(job_id, owner, self.settings.lease_s, place)
        self._claimed(job_id if lease is None else lease.job_id, lease, stopping, None)
        return None if lease is None else lease.job_id

    def waiting(self, owner: str) -> str | None:
        """A job that this worker could take now (``Store.waiting_turn``)."""
        return self.store.every_tenant().waiting_turn(Place.of(self.settings, owner))

    def _claimed(
        self,
        job_id: str,
        lease: Lease | None,
        stopping: Callable[[], bool],
        on_progress: Callable[[str], None] | None,
    ) -> None:
        job = self.store.every_tenant().job(job_id)
        view = self._view(job.tenant)
        if lease is None:
            # A claim may have ended the job: its last worker was lost, it was to be canceled, or
            # its deadline has passed.
            if job.state.terminal:
                view._ended_alone(job)
            return
        try:
            view._run(job, lease, stopping, on_progress)
        finally:
            view.artifacts.release()
            view.store.add_stored(view.artifacts.stored.take())

    def _run(
        self,
        job: Job,
        lease: Lease,
        stopping: Callable[[], bool],
        on_progress: Callable[[str], None] | None,
    ) -> None:
        named = job.request.get("request_id")
        request = {} if named is None else {"request_id": named}
        with (
            log_context(job=job.id, circuit=job.circuit_id, tenant=job.tenant, **request),
            holding(
                self.store,
                lease,
                self.settings.lease_s,
                notifications=self.notifications,
                stopping=stopping,
            ) as held,
        ):
            self.notifications.publish(job.id)
            with job_span(job):
                if job.kind in _OF_BATCHES:
                    self.batches.run(job, held, on_progress)
                elif (shared := self._coalescing(job, lease.owner, stopping)) is not None:
                    shared.run(job, held)
                else:
                    self._pipeline().run(job, held, on_progress)

    def expire_due(self, job_id: str | None = None) -> None:
        """Ends overdue jobs of any tenant (all, or the one) that no worker holds, and overdue
        batches."""
        every = self.store.every_tenant()
        for job in every.expire_due(job_id):
            self.for_tenant(job.tenant)._ended_alone(job)
        if job_id is None:
            for batch_id, tenant in every.overdue_batches():
                self.for_tenant(tenant).batches.batch(batch_id)  # reading it ends it

    def keep_house(self) -> None:
        """One round of housekeeping (``prover.jobs.housekeeping``), for all tenants. Ends batches
        whose last worker died before it could."""
        every = self.store.every_tenant()
        for batch_id, tenant in every.open_batches():
            self.for_tenant(tenant).batches.batch(batch_id)
        keep_house(self.settings, every, self.artifacts)

    def _ended_alone(self, job: Job) -> None:
        """Does what a worker would do at the end of a job, for a job that ended without one."""
        forget_input(self.artifacts, job)
        self.notifications.publish(job.id)
        if job.kind in _OF_BATCHES:
            self.batches.lost(job)

    def _pipeline(self) -> Pipeline:
        return Pipeline(
            settings=self.settings,
            store=self.store,
            artifacts=self.artifacts,
            notifications=self.notifications,
            engine=self.engine,
            registry=self.registry,
            keys=self.keys,
        )

    def _coalescing(self, job: Job, owner: str, stopping: Callable[[], bool]) -> Coalescing | None:
        """What proves the job together with others; None where it may not share a proof."""
        if not self.settings.coalesce_ms:
            return None
        from prover.batch.coalescing import Coalescing, may_share

        if not may_share(job):
            return None
        return Coalescing(
            services=self.batches.services,
            single=self._pipeline().run,
            owner=owner,
            stopping=stopping,
        )
