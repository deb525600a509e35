"""`/v1/batches`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.background import BackgroundTask

from api.artifacts import file_body, file_response
from api.batches import service
from api.batches.schemas import BatchIn, BatchOut, BatchPage, ItemPage, batch_out
from api.errors import responses
from api.filters import BatchFilter
from api.idempotency import Idempotency, replayed
from api.ids import Id
from api.jobs.events import HEARTBEAT_S
from api.openapi import also, event_stream
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.prefer import Wait
from api.services import Application, Services, Use
from api.uploads import body_on_disk
from circuits.format.digests import sha256_file
from prover.records.batch import Batch, ItemState
from prover.records.idempotency import Replay

router = APIRouter(prefix="/v1/batches", tags=["batches"])

_LINE = "\n"
_ENDED = "ended"
_MAX_NUMBER = (1 << 31) - 1
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}}
            for media in service.MEDIA_TYPES
        },
    }
}
Number = Annotated[int, InPath(ge=1, le=_MAX_NUMBER, description="The item's number.")]


@router.post(
    "",
    status_code=202,
    response_model=BatchOut,
    summary="Prove many inputs",
    openapi_extra=_BODY,
    responses=also(200, BatchOut, "The batch ended within the time of `Prefer: wait`.")
    | responses(404, 409, 413, 415, 422),
)
async def create_batch(
    request: Request,
    response: Response,
    services: Use,
    wait: Wait,
    once: Idempotency,
    query: Annotated[BatchIn, Query()],
) -> BatchOut | Response:
    """The body is a file of inputs: JSON lines of `{"id", "inputs"}`, a table, or an `.npz`. It is
    read row by row. Rows that cannot be proved become failed items; the others are proved."""
    app = services.app
    limit = app.settings.max_batch_bytes
    async with body_on_disk(request, app.settings.home, limit, service.MEDIA_TYPES) as path:
        digest = await services.run(lambda: sha256_file(path)) if once.key else ""
        asked = ("POST /v1/batches", query, digest)
        async with once.request(*asked) as attempt:
            if attempt.replay is not None:
                return await _replay(services, attempt.replay, wait)
            batch = await services.run_heavy(
                lambda: service.create(app, services.sender, query, path, attempt.resource_id)
            )
            location = {"Location": f"/v1/batches/{batch.id}"}
            await attempt.made(batch_out(batch), 202, location)
    response.headers.update(location)
    if wait and not batch.state.terminal:
        response.headers["Preference-Applied"] = f"wait={wait:.0f}"
        batch = await _ended(services, batch.id, wait)
    if batch.state.terminal:
        response.status_code = 200
    return batch_out(batch)


async def _ended(services: Services, batch_id: str, wait: float) -> Batch:
    """The batch once it has ended, or its state after ``wait`` seconds."""
    batch = await services.run(lambda: service.get(services.app, batch_id))
    if wait and not batch.state.terminal:
        await services.watch.batch_ended(batch_id, wait)
        batch = await services.run(lambda: service.get(services.app, batch_id))
    return batch


async def _replay(services: Services, replay: Replay, wait: float) -> Response:
    """Repeats the first response; with the final batch, once it has ended."""
    known = BatchOut.model_validate_json(replay.response.body)
    batch = await _ended(services, known.id, wait)
    if known.terminal or not batch.state.terminal:
        return replayed(replay)
    now = replace(replay.response, status=200, body=batch_out(batch).model_dump_json())
    return replayed(replace(replay, response=now))


@router.get("", summary="List batches", responses=responses(422))
def list_batches(
    app: Application, where: BatchFilter, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> BatchPage:
    """Batches, newest first, filtered by all given conditions."""
    return service.page(app, limit, cursor, where)


@router.get("/{batch_id}", summary="Look at a batch", responses=responses(404, 422))
async def get_batch(services: Use, batch_id: Id, wait: Wait) -> BatchOut:
    """State, progress, rate and remaining time; with `Prefer: wait`, once it has ended or the time
    is over."""
    return batch_out(await _ended(services, batch_id, wait))


@router.get("/{batch_id}/items", summary="List a batch's items", responses=responses(404, 422))
def list_items(
    app: Application,
    batch_id: Id,
    after: Annotated[int, Query(ge=0, le=_MAX_NUMBER, description="`next_after`.")] = 0,
    limit: Limit = DEFAULT_LIMIT,
    state: ItemState | None = None,
) -> ItemPage:
    """Items in the order of the file; proved ones have outputs and a receipt."""
    return service.items(app, batch_id, after, limit, state)


@router.post("/{batch_id}/cancel", summary="Cancel a batch", responses=responses(404, 422))
def cancel_batch(app: Application, batch_id: Id) -> BatchOut:
    """Proved items stay; all others are canceled at once."""
    return batch_out(app.batches.cancel(batch_id))


@router.get(
    "/{batch_id}/events",
    summary="Follow a batch",
    response_class=EventSourceResponse,
    responses={
        200: event_stream(
            "Events `progress`, each a batch as JSON; the last one has the final state."
        ),
        204: {"description": "The batch has ended, and the client has seen its last event."},
        **responses(404, 422),
    },
)
async def batch_events(
    batch_id: Id, services: Use, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """Server-sent events: the batch now and after each change, up to its end."""
    batch = await services.run(lambda: services.app.store.batch(batch_id))
    if batch.state.terminal and last_event_id == _ENDED:
        return Response(status_code=204)
    return EventSourceResponse(
        _lines(services, batch_id),
        ping=HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent(comment="heartbeat", sep=_LINE),
        sep=_LINE,
    )


async def _lines(services: Services, batch_id: str) -> AsyncIterator[ServerSentEvent]:
    async for batch in services.watch.batch(batch_id):
        yield ServerSentEvent(
            id=_ENDED if batch.state.terminal else str(batch.done + batch.failed),
            event="progress",
            data=batch_out(batch).model_dump_json(),
            sep=_LINE,
        )


@router.get(
    "/{batch_id}/results",
    summary="The results",
    response_class=Response,
    responses=file_body("application/x-ndjson", "One line for each row.") | responses(404, 422),
)
def batch_results(app: Application, batch_id: Id) -> Response:
    """One line for each ended row, in the order of the file."""
    return StreamingResponse(service.results(app, batch_id), media_type="application/x-ndjson")


@router.get(
    "/{batch_id}/bundle",
    summary="All bundles in one file",
    response_class=Response,
    responses=file_body("application/zip", "A batch bundle.") | responses(404, 409, 422),
)
async def batch_bundle(batch_id: Id, services: Use) -> Response:
    """The receipts and inputs of all proved items, each proof once: `zkml verify` checks all."""
    folder = services.app.settings.home / "tmp"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"bundle-{secrets.token_hex(8)}.zkml"
    try:
        await services.run_heavy(lambda: service.bundle(services.app, batch_id, path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FileResponse(
        path,
        media_type="application/zip",
        filename=f"{batch_id}.zkml",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


@router.get(
    "/{batch_id}/items/{number}/receipt",
    summary="An item's receipt",
    response_class=Response,
    responses=file_body("application/json", "A DSSE envelope.") | responses(404, 409, 422),
)
def item_receipt(request: Request, app: Application, batch_id: Id, number: Number) -> Response:
    """The signed statement about this item's lane."""
    data = service.receipt(app, batch_id, number)
    name = f"{batch_id}.{number}.receipt.dsse.json"
    return file_response(request, data, media_type="application/json", filename=name)


@router.get(
    "/{batch_id}/items/{number}/bundle",
    summary="An item's bundle",
    response_class=Response,
    responses=file_body("application/zip", "A .zkml file.") | responses(404, 409, 422),
)
def item_bundle(request: Request, app: Application, batch_id: Id, number: Number) -> Response:
    """Everything that verifying this item needs, in one file."""
    data = app.batches.item_bundle(batch_id, number)
    name = f"{batch_id}.{number}.zkml"
    return file_response(request, data, media_type="application/zip", filename=name)
