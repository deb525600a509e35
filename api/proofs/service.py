"""Proofs: ask, watch, fetch."""

from __future__ import annotations

from api.jobs.schemas import JobPage, job_out
from api.port import AppLike
from api.proofs.schemas import ProofIn
from api.queue import JobSender
from circuits.profile import Profile
from prover.errors import JobNotFound
from prover.jobs import Job, JobKind
from prover.store.filters import Filter


def create(app: AppLike, sender: JobSender, body: ProofIn) -> Job:
    """A job for one input, checked, committed, and announced to the workers."""
    job = app.request_proof(
        model_id=body.model,
        circuit_id=body.circuit,
        payload=body.payload(),
        profile=body.profile.profile() if body.profile else Profile(),
        context=body.context.context() if body.context else None,
        isolate=body.isolate,
        metadata=body.metadata,
    )
    sender.announce(job)
    return job


def get(app: AppLike, job_id: str) -> Job:
    """One proof's job; raises ``JobNotFound`` for anything that is not a proof."""
    job = app.store.job(job_id)
    if job.kind is not JobKind.PROOF:
        raise JobNotFound(f"There is no proof {job_id!r}.")
    return job


def page(app: AppLike, limit: int, cursor: str | None, where: Filter) -> JobPage:
    """A page of proofs, newest first."""
    found = app.store.jobs(limit, cursor, kind=JobKind.PROOF, where=where)
    return JobPage(items=[job_out(j) for j in found.items], next_cursor=found.next_cursor)


def cancel(app: AppLike, job_id: str) -> Job:
    """Ends a queued proof, or asks the worker to end a running one."""
    return app.request_cancel(get(app, job_id).id)


def receipt(app: AppLike, job_id: str) -> bytes:
    return app.receipt(get(app, job_id))


def proof(app: AppLike, job_id: str) -> bytes:
    return app.proof(get(app, job_id))


def bundle(app: AppLike, job_id: str) -> bytes:
    return app.bundle(get(app, job_id))
