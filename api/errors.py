"""The mapping of errors to HTTP.

``install(app)`` turns domain errors, validation errors, unknown routes and unexpected exceptions
into ``application/problem+json``. A problem contains no stack trace and no content of the request's
body, except the culprit in a domain error's ``context``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import anyio
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from api.problem import (
    STATUS,
    FieldError,
    HttpError,
    MethodNotAllowed,
    RateLimited,
    RequestInvalid,
    RouteNotFound,
    problem_of,
)
from circuits.errors import Fault, ZkmlError

MEDIA_TYPE = "application/problem+json"

#: Retry-After of a busy service, in seconds.
RETRY_AFTER_S = 5

#: How long a client may continue to send after "too large", because many clients read the response
#: only after their last byte; then the connection is closed.
LINGER_S = 2.0
LINGER_BYTES = 64 << 20

#: The most invalid fields that a problem lists.
MAX_FIELD_ERRORS = 20

log = structlog.get_logger("zkml.api")


class ProblemResponse(JSONResponse):
    """The response with a problem document."""

    media_type = MEDIA_TYPE


class TooLargeResponse(ProblemResponse):
    """A response that closes the connection, so that the rest of the body is not read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Connection"] = "close"
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        left = LINGER_BYTES
        with anyio.move_on_after(LINGER_S):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    break
                left -= len(message.get("body", b""))
        await send({"type": "http.response.body", "body": b""})


def render(
    error: ZkmlError, request: Request, errors: list[FieldError] | None = None
) -> JSONResponse:
    """The response for ``error``."""
    problem = problem_of(error)
    problem = problem.model_copy(
        update={
            "instance": request.url.path,
            "request_id": structlog.contextvars.get_contextvars().get("request_id"),
            "errors": errors,
            "error": problem.detail if request.url.path.startswith("/v2") else None,
        }
    )
    headers = {"Cache-Control": "no-store"}
    waits = problem.status in (STATUS[Fault.BUSY], RateLimited.status)
    if waits or "retry_after_s" in error.context:
        headers["Retry-After"] = str(error.context.get("retry_after_s", RETRY_AFTER_S))
    shape = TooLargeResponse if problem.status == STATUS[Fault.TOO_LARGE] else ProblemResponse
    return shape(
        problem.model_dump(mode="json", exclude_none=True),
        status_code=problem.status,
        headers=headers,
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of a route's error statuses, including 500 and 503."""
    return {
        status: {
            "description": f"A problem: {HTTPStatus(status).phrase}. `GET /problems` lists them.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in (*statuses, 500, 503)
    }


# --- handlers --------------------------------------------------------------------------------


async def _on_domain(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ZkmlError)
    if exc.fault in (Fault.INTERNAL, Fault.BUSY):
        log.error("request_failed", code=exc.code, detail=exc.detail)
    return render(exc, request)


async def _on_validation(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    found = [_field_error(e) for e in exc.errors()[:MAX_FIELD_ERRORS]]
    first = f"{found[0].field}: {found[0].message}" if found else None
    return render(RequestInvalid(first), request, errors=found)


def _field_error(error: dict[str, Any]) -> FieldError:
    # Names come from the body and may be long.
    where = ".".join(str(part) for part in error["loc"])[:200]
    return FieldError(field=where, message=error["msg"].removeprefix("Value error, "))


async def _on_http(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    error: ZkmlError
    match exc.status_code:
        case 404:
            error = RouteNotFound()
        case 405:
            error = MethodNotAllowed(f"{request.method} is not allowed here.")
        case _:
            error = HttpError(str(exc.detail))
    response = render(error, request)
    if exc.headers:
        response.headers.update(exc.headers)
    return response


def install(app: FastAPI) -> None:
    """Maps every error that a handler may raise. (``api.requests.RequestContext`` catches all
    others and logs them without their message.)"""
    app.add_exception_handler(ZkmlError, _on_domain)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
