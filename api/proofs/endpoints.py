"""`/v1/proofs`."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse

from api.artifacts import file_body, file_response
from api.errors import responses
from api.filters import JobFilter
from api.idempotency import Idempotency, replayed
from api.ids import ClientId, Id
from api.jobs.events import EVENTS_BODY, After, event_response
from api.jobs.schemas import JobOut, JobPage, address, job_out, job_response, kept_response
from api.openapi import also
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.prefer import Wait
from api.proofs import service
from api.proofs.schemas import ProofIn
from api.requests import JsonRoute
from api.services import Application, Services, Use, services_of
from prover.records.idempotency import Replay
from prover.records.job import Job

#: A job's own id, as this service makes them.
_PLAIN = re.compile(r"[0-9a-f]{32}")


class LookRoute(JsonRoute):
    """A look at a proof. Clients poll it, and FastAPI takes longer to read its parameters than
    everything else takes: a request without any, by a job's own id, is answered directly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def look(request: Request) -> Response:
            job_id = request.path_params["job_id"]
            wishes = request.scope["query_string"] or "prefer" in request.headers
            if wishes or not _PLAIN.fullmatch(job_id):
                return await handle(request)
            return job_response(await service.find(services_of(request), job_id))

        return look


router = APIRouter(prefix="/v1/proofs", tags=["proofs"], route_class=JsonRoute)

_ENDED = also(200, JobOut, "The job has ended, perhaps within the time of `Prefer: wait`.")


@router.post(
    "",
    status_code=202,
    response_model=JobOut,
    summary="Have an input proved",
    responses=_ENDED | responses(400, 404, 409, 413, 415, 422),
)
async def create_proof(body: ProofIn, services: Use, wait: Wait, once: Idempotency) -> Response:
    """The input is checked against the model's signature, and the job is stored before the
    response. If there is no circuit for the model and profile, it is built."""
    made = await once.job(
        lambda keyed: service.create(services.app, services.sender, body, keyed),
        kept_response,
        "POST /v1/proofs",
        body,
    )
    if isinstance(made, Replay):
        return await _replay(services, made, wait)
    return await _answer(services, made, wait)


@router.put(
    "/{client_id}",
    status_code=202,
    response_model=JobOut,
    summary="Prove an input, under your own id",
    responses=_ENDED | responses(400, 404, 409, 413, 415, 422),
)
async def put_proof(client_id: ClientId, body: ProofIn, services: Use, wait: Wait) -> Response:
    """As `POST`, but idempotent: repeated requests return the same job. The client's id works in
    all addresses below `/v1/proofs/` instead of the job's id."""
    job = await services.run(lambda: service.put(services.app, services.sender, client_id, body))
    return await _answer(services, job, wait)


async def _answer(services: Services, job: Job, wait: float) -> Response:
    """The job, once it has ended or the time is over: 200 or 202."""
    headers = {"Location": address(job)}
    if wait and not job.state.terminal:
        headers["Preference-Applied"] = f"wait={wait:.0f}"
        job = await services.watch.ended(job.id, wait)
    return job_response(job, 200 if job.state.terminal else 202, headers)


async def _replay(services: Services, replay: Replay, wait: float) -> Response:
    """Repeats the first response; with the final job, once it has ended. A failed job is not
    repeated for the same key."""
    job = await service.find(services, replay.resource_id)
    if wait and not job.state.terminal:
        job = await services.watch.ended(job.id, wait)
    if replay.response.status == 200 or not job.state.terminal:
        return replayed(replay)
    now = replace(replay.response, status=200, body=job_out(job).model_dump_json())
    return replayed(replace(replay, response=now))


@router.get("", summary="List proofs", responses=responses(422))
def list_proofs(
    app: Application, where: JobFilter, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> JobPage:
    """Proof jobs, newest first, filtered by all given conditions."""
    return service.page(app, limit, cursor, where)


async def get_proof(job_id: Id, services: Use, wait: Wait) -> Response:
    """The current job; with `Prefer: wait`, once it has ended or the time is over."""
    job = await service.find(services, job_id)
    if wait and not job.state.terminal:
        await services.watch.ended(job.id, wait)
        job = await service.find(services, job.id)
    return job_response(job)


router.add_api_route(
    "/{job_id}",
    get_proof,
    methods=["GET"],
    response_model=JobOut,
    summary="Look at a proof",
    responses=responses(404, 422),
    route_class_override=LookRoute,
)


@router.post("/{job_id}/cancel", summary="Cancel a proof", responses=responses(404, 409, 422))
def cancel_proof(app: Application, job_id: Id) -> JobOut:
    """A queued job ends at once, a running one when its worker has stopped the engine."""
    return job_out(service.cancel(app, job_id))


@router.get(
    "/{job_id}/events",
    summary="Follow a proof",
    response_class=EventSourceResponse,
    responses=EVENTS_BODY | responses(404, 422),
)
async def proof_events(job_id: Id, services: Use, after: After) -> Response:
    """Server-sent events from the first, or after `Last-Event-ID`, to the last."""
    job = await service.find(services, job_id)
    return await event_response(services, job, after)


@router.get(
    "/{job_id}/receipt",
    summary="The signed receipt",
    response_class=Response,
    responses=file_body("application/json", "A DSSE envelope.") | responses(404, 409, 422),
)
def proof_receipt(request: Request, app: Application, job_id: Id) -> Response:
    """The signed statement about the proof (docs/receipt.md)."""
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
    """The proof in EZKL's format. Without the receipt it establishes less."""
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
