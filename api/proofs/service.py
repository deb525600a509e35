"""Proofs: request, watch, fetch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from api.jobs.schemas import JobPage, job_out
from api.proofs.schemas import ProofIn
from api.queue import JobSender
from api.services import Services
from circuits.format.profile import Profile
from prover.app import App
from prover.errors import JobConflict, JobNotFound
from prover.records.batch_errors import ProofOfBatch
from prover.records.idempotency import KeyedRequest, fingerprint, job_id_of
from prover.records.job import Job, JobKind, JobOptions
from prover.store.filters import Filter


def create(app: App, sender: JobSender, body: ProofIn, keyed: KeyedRequest | None) -> Job:
    """Checks an input, creates its job and queues it."""
    return _request(app, sender, body, JobOptions(keyed=keyed))


def put(app: App, sender: JobSender, client_id: str, body: ProofIn) -> Job:
    """The job with the client's id ``client_id``, created now or existing, in any state. Raises
    ``JobConflict`` if it has another request."""
    job_id = _named(app, client_id)
    digest = fingerprint(body.model_dump_json())
    known = _find(app, job_id)
    if known is None:
        if _find(app, client_id) is not None:
            raise JobConflict(f"{client_id!r} is the id of another job.", job=client_id)
        options = JobOptions(id=job_id, client_id=client_id, body=digest)
        return _request(app, sender, body, options)
    if known.request.get("body") != digest:
        raise JobConflict(f"Proof {client_id!r} exists and asks for something else.")
    return get(app, job_id)


def _request(app: App, sender: JobSender, body: ProofIn, options: JobOptions) -> Job:
    job = app.request_proof(
        model_id=body.model,
        circuit_id=body.circuit,
        payload=body.payload(),
        profile=body.profile.profile() if body.profile else Profile(),
        context=body.context.context() if body.context else None,
        options=replace(
            options,
            deadline=body.deadline_at(),
            deduplicate=body.deduplicate,
            urgency=body.urgency,
            isolate=body.isolate,
            input_salt=body.input_salt,
            metadata=body.metadata,
        ),
    )
    sender.announce(job)
    return job


def get(app: App, job_id: str) -> Job:
    """A proof's job, also of a batch, by its id or the client's; raises ``JobNotFound`` for other
    jobs. An overdue unclaimed job expires now."""
    return _current(app, _proof(_find(app, job_id) or _find(app, _named(app, job_id)), job_id))


async def find(services: Services, job_id: str) -> Job:
    """The same, by a batched read with other requests."""
    found = await services.watch.find(job_id, _named(services.app, job_id))
    job = _proof(found, job_id)
    if job.is_overdue(datetime.now(UTC)):
        return await services.run(lambda: _current(services.app, job))
    return job


def _proof(job: Job | None, job_id: str) -> Job:
    if job is None or job.kind not in (JobKind.PROOF, JobKind.PACK):
        raise JobNotFound(f"There is no proof {job_id!r}.")
    return job


def _current(app: App, job: Job) -> Job:
    if job.is_overdue(datetime.now(UTC)):
        app.expire_due(job.id)
        return app.store.job(job.id)
    return job


def _named(app: App, client_id: str) -> str:
    """The id of the job with this client's id."""
    tenant = app.store.tenant
    assert tenant is not None, "a request belongs to one tenant"
    return job_id_of(tenant, client_id)


def _find(app: App, job_id: str) -> Job | None:
    try:
        return app.store.job(job_id)
    except JobNotFound:
        return None


def page(app: App, limit: int, cursor: str | None, where: Filter) -> JobPage:
    """A page of proofs, newest first: single ones, or those of one batch."""
    kind = JobKind.PROOF if where.batch_id is None else JobKind.PACK
    found = app.store.jobs(limit, cursor, kind=kind, where=where)
    return JobPage(items=[job_out(j) for j in found.items], next_cursor=found.next_cursor)


def cancel(app: App, job_id: str) -> Job:
    """Cancels a queued proof, or requests cancellation of a running one. Raises
    ``ProofOfBatch``."""
    job = get(app, job_id)
    if job.kind is JobKind.PACK:
        raise ProofOfBatch(batch=job.request["batch"])
    return app.request_cancel(job.id)


def receipt(app: App, job_id: str) -> bytes:
    return app.receipt(get(app, job_id))


def proof(app: App, job_id: str) -> bytes:
    return app.proof(get(app, job_id))


def bundle(app: App, job_id: str) -> bytes:
    return app.bundle(get(app, job_id))
