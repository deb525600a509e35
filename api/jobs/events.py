"""A job's events as a server-sent event stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.jobs.schemas import event_out
from api.openapi import event_stream
from api.problem import RequestInvalid
from api.services import Services
from prover.records.job import Job

#: Seconds between heartbeat comments: proxies close an idle connection after 30 to 60.
HEARTBEAT_S = 15

_LINE = "\n"
_MAX_SEQ = (1 << 63) - 1


async def _after(
    last_event_id: Annotated[
        str | None, Header(description="`id` of the last received event; browsers send it.")
    ] = None,
    after: Annotated[int | None, Query(ge=0, description="The same, for other clients.")] = None,
) -> int:
    if last_event_id is None:
        return min(after or 0, _MAX_SEQ)
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19):
        raise RequestInvalid("Last-Event-ID is not the id of an event.")
    return int(last_event_id)


After = Annotated[int, Depends(_after)]

EVENTS_BODY: dict[int | str, dict[str, Any]] = {
    200: event_stream("Events: `id` is `seq`, `event` the type, `data` an `Event` as JSON."),
    204: {"description": "The job has ended, and there is no later event."},
}


async def event_response(services: Services, job: Job, after: int) -> Response:
    """The stream of ``job``'s events after number ``after``.

    It ends with the job's last event. A client that has seen it gets 204, which stops a browser's
    EventSource from reconnecting.
    """
    if job.state.terminal:
        rest = await services.run(lambda: services.app.store.events(job.id, after, 1))
        if not rest:
            return Response(status_code=204)
    return EventSourceResponse(
        _lines(services, job.id, after),
        ping=HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent(comment="heartbeat", sep=_LINE),
        sep=_LINE,
    )


async def _lines(services: Services, job_id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    async for event in services.watch.events(job_id, after):
        yield ServerSentEvent(
            id=str(event.seq), event=event.type, data=event_out(event).model_dump_json(), sep=_LINE
        )
