"""A job as JSON, shared by circuits and proofs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import Response
from pydantic import BaseModel, Field

from api.problem import Problem, problem_of_job
from prover.records.idempotency import KeptResponse
from prover.records.job import Job, JobEvent, JobKind, JobState, Stage


class JobOut(BaseModel):
    """A job: one circuit to build, one input to prove, or inputs of a batch that share a proof."""

    id: str
    client_id: str | None = Field(None, description="The client's id, from `PUT`.")
    kind: JobKind
    state: JobState
    terminal: bool = Field(description="Whether the state is final.")
    stage: Stage | None = Field(description="The current step, while it runs.")
    progress: float = Field(description="0 to 1.")
    attempt: int = Field(description="The number of attempts, including the current one.")
    cancel_requested: bool
    model: str
    circuit: str
    profile: dict[str, Any] | None = Field(description="What the circuit is built for.")
    context: dict[str, Any] | None = Field(description="What the proof is bound to.")
    unused_inputs: list[str] = Field(description="Ignored inputs: not inputs of the model.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline: datetime | None = Field(None, description="An unfinished job expires then.")
    timings: dict[str, float] = Field(description="Seconds of each step.")
    peak_rss_bytes: int | None = Field(description="The engine's largest resident set.")
    result: dict[str, Any] | None = Field(
        description="Once succeeded: `outputs` by name, the measured `error` (`inexact`: it misses"
        " the profile), and the digests of receipt, proof, bundle. Of a batch's proof: the digests"
        " of its `files`."
    )
    problem: Problem | None = Field(description="Why it failed, once failed.")
    metadata: dict[str, str] = Field(description="As it was sent.")
    links: dict[str, str] = Field(description="Addresses of the job's resources.")


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobOut]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: the last page.")


class Event(BaseModel):
    """An event of a job: the ``data`` of one server-sent event."""

    job: str
    seq: int = Field(description="Counts from 1 within the job, without gaps; the event's `id`.")
    at: datetime
    type: str = Field(description="`state`, `stage` or `progress`; the event's name.")
    data: dict[str, Any]


Problem.model_rebuild()


def job_out(job: Job) -> JobOut:
    """The JSON of a job row."""
    return JobOut(
        id=job.id,
        client_id=job.request.get("client_id"),
        kind=job.kind,
        state=job.state,
        terminal=job.state.terminal,
        stage=job.stage,
        progress=job.progress,
        attempt=job.attempt,
        cancel_requested=job.cancel_requested,
        model=job.model_id,
        circuit=job.circuit_id,
        profile=job.request.get("profile"),
        context=job.request.get("context"),
        unused_inputs=job.request.get("unused_inputs", []),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        deadline=job.deadline,
        timings=job.timings,
        peak_rss_bytes=job.peak_rss_bytes,
        result=job.result,
        problem=problem_of_job(job.problem) if job.problem else None,
        metadata=job.metadata,
        links=_links(job),
    )


def job_response(job: Job, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The job as a response, serialized once and without validation."""
    body = job_out(job).model_dump_json()
    return Response(body, status, headers, media_type="application/json")


def kept_response(job: Job) -> KeptResponse:
    """The immediate response to the job's request, stored with its idempotency key."""
    # A job that has already ended comes from an earlier request: `deduplicate`.
    status = 200 if job.state.terminal else 202
    body = job_out(job).model_dump_json()
    return KeptResponse(status=status, headers={"Location": address(job)}, body=body)


def address(job: Job) -> str:
    """A job's address: that of its proof, or of the circuit it builds."""
    if job.kind is JobKind.CIRCUIT:
        return f"/v1/circuits/{job.circuit_id}"
    return f"/v1/proofs/{job.id}"


def _links(job: Job) -> dict[str, str]:
    own = address(job)
    links = {"self": own, "events": f"{own}/events", "model": f"/v1/models/{job.model_id}"}
    if job.kind is JobKind.CIRCUIT:
        return links
    links["circuit"] = f"/v1/circuits/{job.circuit_id}"
    if job.kind is JobKind.PACK:
        links["batch"] = f"/v1/batches/{job.request['batch']}"
        return links | ({"proof": f"{own}/proof"} if "files" in (job.result or {}) else {})
    if not job.state.terminal:
        links["cancel"] = f"{own}/cancel"
    if job.state is JobState.SUCCEEDED:
        links |= {part: f"{own}/{part}" for part in ("receipt", "proof", "bundle")}
    return links


def event_out(event: JobEvent) -> Event:
    """The JSON of an event row."""
    data = event.data
    if "problem" in data:
        problem = problem_of_job(data["problem"])
        data = data | {"problem": problem.model_dump(mode="json", exclude_none=True)}
    return Event(job=event.job_id, seq=event.seq, at=event.at, type=event.type, data=data)
