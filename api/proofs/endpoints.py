"""`/v1/proofs`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse

from api.artifacts import file_body, file_response
from api.errors import responses
from api.filters import JobFilter
from api.ids import Id
from api.jobs.events import EVENTS_BODY, After, event_response
from api.jobs.schemas import JobOut, JobPage, address, job_out
from api.openapi import also
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.prefer import Wait
from api.proofs import service
from api.proofs.schemas import ProofIn
from api.requests import JsonRoute
from api.services import Application, Use

router = APIRouter(prefix="/v1/proofs", tags=["proofs"], route_class=JsonRoute)


@router.post(
    "",
    status_code=202,
    summary="Have an input proved",
    responses=also(200, JobOut, "Done within the time of `Prefer: wait`.")
    | responses(400, 404, 413, 415, 422),
)
async def create_proof(body: ProofIn, response: Response, services: Use, wait: Wait) -> JobOut:
    """The input is checked against the model's signature and the job is on disk before the
    answer. A circuit for the model and profile is built when there is none."""
    job = await services.run(lambda: service.create(services.app, services.sender, body))
    response.headers["Location"] = address(job)
    if wait:
        response.headers["Preference-Applied"] = f"wait={wait:.0f}"
        job = await services.watch.ended(job.id, wait)
        if job.state.terminal:
            response.status_code = 200
    return job_out(job)


@router.get("", summary="List proofs", responses=responses(422))
def list_proofs(
    app: Application, where: JobFilter, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> JobPage:
    """Proof jobs, newest first: all, or those that meet each condition."""
    return service.page(app, limit, cursor, where)


@router.get("/{job_id}", summary="Look at a proof", responses=responses(404, 422))
async def get_proof(job_id: Id, services: Use, wait: Wait) -> JobOut:
    """The job as it stands; with `Prefer: wait`, once it has ended or the time is over."""
    job = await services.run(lambda: service.get(services.app, job_id))
    if wait and not job.state.terminal:
        job = await services.watch.ended(job.id, wait)
    return job_out(job)


@router.post("/{job_id}/cancel", summary="Cancel a proof", responses=responses(404, 409, 422))
def cancel_proof(app: Application, job_id: Id) -> JobOut:
    """A queued job ends at once; a running one as soon as its worker has stopped the engine."""
    return job_out(service.cancel(app, job_id))


@router.get(
    "/{job_id}/events",
    summary="Follow a proof",
    response_class=EventSourceResponse,
    responses=EVENTS_BODY | responses(404, 422),
)
async def proof_events(job_id: Id, services: Use, after: After) -> Response:
    """Server-sent events from the first, or from the one after `Last-Event-ID`, to the last."""
    job = await services.run(lambda: service.get(services.app, job_id))
    return await event_response(services, job, after)


@router.get(
    "/{job_id}/receipt",
    summary="The signed receipt",
    response_class=Response,
    responses=file_body("application/json", "A DSSE envelope.") | responses(404, 409, 422),
)
def proof_receipt(request: Request, app: Application, job_id: Id) -> Response:
    """The statement about the proof, signed (docs/receipt.md)."""
    data = service.receipt(app, job_id)
    return file_response(
        request, data, media_type="application/json", filename=f"{job_id}.receipt.dsse.json"
    )


@router.get(
    "/{job_id}/proof",
    summary="The bare proof",
    response_class=Response,
    responses=file_body("application/json", "EZKL's proof file.") | responses(404, 409, 422),
)
def proof_file(request: Request, app: Application, job_id: Id) -> Response:
    """The proof as `ezkl verify` reads it. On its own it says less than the receipt."""
    data = service.proof(app, job_id)
    return file_response(
        request, data, media_type="application/json", filename=f"{job_id}.proof.json"
    )


@router.get(
    "/{job_id}/bundle",
    summary="The bundle",
    response_class=Response,
    responses=file_body("application/zip", "A .zkml file.") | responses(404, 409, 422),
)
def proof_bundle(request: Request, app: Application, job_id: Id) -> Response:
    """Everything that verification needs, in one file: `zkml verify` checks it offline."""
    data = service.bundle(app, job_id)
    return file_response(request, data, media_type="application/zip", filename=f"{job_id}.zkml")
