"""Circuits: built once for a model and a profile."""

from __future__ import annotations

from api.circuits.schemas import CircuitIn, CircuitOut, CircuitPage, circuit_of_job, circuit_out
from api.queue import JobSender
from prover.app import App
from prover.errors import CircuitNotFound
from prover.records.idempotency import fingerprint
from prover.records.job import Job, JobOptions
from prover.store.filters import Filter


def create(app: App, sender: JobSender, body: CircuitIn, job_id: str | None) -> Job:
    """Creates and queues a job that builds the circuit. Idempotent with a ``job_id``."""
    options = JobOptions(
        id=job_id,
        body=fingerprint(body.model_dump_json()) if job_id else None,
        deadline=body.deadline_at(),
        urgency=body.urgency,
        metadata=body.metadata,
    )
    job = app.request_circuit(
        body.model,
        body.profile.profile(),
        body.calibration_file(),
        options,
    )
    sender.announce(job)
    return job


def get(app: App, circuit_id: str) -> CircuitOut:
    """A circuit, or the job that builds it; raises ``CircuitNotFound`` without either."""
    record = app.store.find_circuit(circuit_id)
    return circuit_out(record) if record else circuit_of_job(build_job(app, circuit_id))


def build_job(app: App, circuit_id: str) -> Job:
    """The latest job that builds a circuit; raises ``CircuitNotFound`` if there was none."""
    job = app.circuit_job(circuit_id)
    if job is None:
        raise CircuitNotFound(f"There is no circuit {circuit_id!r}.", circuit=circuit_id)
    return job


def page(app: App, limit: int, cursor: str | None, where: Filter) -> CircuitPage:
    """A page of ready circuits, newest first."""
    found = app.store.circuits(limit=limit, cursor=cursor, where=where)
    return CircuitPage(items=[circuit_out(c) for c in found.items], next_cursor=found.next_cursor)


def file(app: App, circuit_id: str, name: str) -> bytes:
    """One of the manifest's ``files``; raises ``CircuitNotFound`` until the circuit is ready."""
    record = app.store.circuit(circuit_id)
    return app.artifacts.get(record.manifest["files"][name])
