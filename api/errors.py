"""Every error as an RFC 9457 problem document: the one place where errors meet HTTP.

``install(app)`` turns domain errors, validation errors, unknown routes and unexpected exceptions
into ``application/problem+json``. A problem never carries a stack trace, nor what the request's
body held, except where a domain error names a culprit in its ``context``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from circuits.errors import Fault, ZkmlError

MEDIA_TYPE = "application/problem+json"

#: Seconds a client should wait before it repeats a request that met a busy service.
RETRY_AFTER_S = 5

_STATUS = {
    Fault.INPUT: 422,
    Fault.NOT_FOUND: 404,
    Fault.CONFLICT: 409,
    Fault.TOO_LARGE: 413,
    Fault.OURS: 500,
    Fault.BUSY: 503,
}

log = structlog.get_logger("zkml.api")


# --- errors that only HTTP can meet ----------------------------------------------------------


class HttpError(ZkmlError):
    """The HTTP request cannot be served."""

    code = "http_error"
    fault = Fault.INPUT
    status: ClassVar[int] = 400


class JsonInvalid(HttpError):
    """The body is not JSON."""

    code = "json_invalid"
    default_hint = "Send RFC 8259 JSON: no NaN, no Infinity, no trailing comma, UTF-8 without BOM."


class MultipartInvalid(HttpError):
    """The multipart body cannot be read."""

    code = "multipart_invalid"


class MediaTypeUnsupported(HttpError):
    """The body's Content-Type is not one that this route takes."""

    code = "media_type_unsupported"
    status = 415


class RequestInvalid(HttpError):
    """The request does not fit this route's schema."""

    code = "request_invalid"
    status = 422
    default_hint = "See `errors` for each field, and /docs for the schema."


class RouteNotFound(HttpError):
    """There is nothing at this address."""

    code = "route_not_found"
    fault = Fault.NOT_FOUND
    status = 404
    default_hint = "See /docs for the routes."


class MethodNotAllowed(HttpError):
    """This address does not answer that method."""

    code = "method_not_allowed"
    status = 405
    default_hint = "See /docs for the routes."


# --- the document ----------------------------------------------------------------------------


class FieldError(BaseModel):
    """One field of a request that was wrong. The value itself is never repeated."""

    field: str = Field(description="Where, e.g. `body.profile.max_error`.")
    message: str


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="Address of the problem type's description on this service.")
    title: str = Field(description="What kind of problem it is; the same for each occurrence.")
    status: int = Field(description="The HTTP status that goes with it.")
    detail: str = Field(description="What was wrong this time.")
    code: str = Field(description="Stable name to program against.")
    fault: Fault = Field(description="Whose mistake it is.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    hint: str | None = Field(default=None, description="What to do about it.")
    instance: str | None = Field(default=None, description="The path that was asked.")
    request_id: str | None = Field(default=None, description="The X-Request-ID of the answer.")
    context: dict[str, Any] | None = Field(default=None, description="What names the culprit.")
    errors: list[FieldError] | None = Field(default=None, description="Field by field.")


def catalogue() -> dict[str, type[ZkmlError]]:
    """All error classes known to this process, by code."""

    def walk(cls: type[ZkmlError]) -> Iterator[type[ZkmlError]]:
        yield cls
        for sub in cls.__subclasses__():
            yield from walk(sub)

    known: dict[str, type[ZkmlError]] = {}
    for cls in walk(ZkmlError):
        known.setdefault(cls.code, cls)
    return known


def title_of(cls: type[ZkmlError]) -> str:
    """The first sentence of the error's docstring, without its full stop."""
    doc = inspect.getdoc(cls) or cls.code
    return doc.splitlines()[0].rstrip(".")


def status_of(cls: type[ZkmlError]) -> int:
    """The HTTP status of an error class."""
    if issubclass(cls, HttpError):
        return cls.status
    return _STATUS[cls.fault]


def problem_of(error: ZkmlError) -> Problem:
    """The document of an error that was just raised."""
    return Problem(
        type=f"/problems/{error.code}",
        title=title_of(type(error)),
        status=status_of(type(error)),
        **error.problem(),
    )


def problem_of_job(stored: dict[str, Any]) -> Problem:
    """The document of an error kept in a job row (``ZkmlError.problem``).

    Only its code is left of the class, which a worker may know and this process may not.
    """
    cls = catalogue().get(stored["code"])
    return Problem(
        type=f"/problems/{stored['code']}",
        title=title_of(cls) if cls else stored["code"].replace("_", " "),
        status=status_of(cls) if cls else _STATUS[Fault(stored["fault"])],
        detail=stored["detail"],
        code=stored["code"],
        fault=Fault(stored["fault"]),
        retryable=stored["retryable"],
        hint=stored.get("hint"),
        context=stored.get("context"),
    )


def render(
    error: ZkmlError, request: Request, errors: list[FieldError] | None = None
) -> JSONResponse:
    """The response to a request that met ``error``."""
    problem = problem_of(error).model_copy(
        update={
            "instance": request.url.path,
            "request_id": structlog.contextvars.get_contextvars().get("request_id"),
            "errors": errors,
        }
    )
    headers = {"Cache-Control": "no-store"}
    if problem.status == _STATUS[Fault.BUSY]:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(
        problem.model_dump(mode="json", exclude_none=True),
        status_code=problem.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


#: What OpenAPI says of errors, for ``responses=`` of a route.
def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of the error statuses that a route answers with, 500 and 503 included."""
    codes: dict[int, list[str]] = {}
    for code, cls in sorted(catalogue().items()):
        codes.setdefault(status_of(cls), []).append(code)
    return {
        status: {
            "description": "Problem: " + ", ".join(f"`{c}`" for c in codes.get(status, [])),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in (*statuses, 500, 503)
    }


# --- handlers --------------------------------------------------------------------------------


async def _on_domain(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ZkmlError)
    if exc.fault in (Fault.OURS, Fault.BUSY):
        log.error("request_failed", code=exc.code, detail=exc.detail)
    return render(exc, request)


async def _on_validation(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    found = [
        FieldError(field=".".join(str(part) for part in e["loc"]), message=e["msg"])
        for e in exc.errors()
    ]
    first = f"{found[0].field}: {found[0].message}" if found else None
    return render(RequestInvalid(first), request, errors=found[:20])


async def _on_http(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    error: ZkmlError
    match exc.status_code:
        case 404:
            error = RouteNotFound()
        case 405:
            error = MethodNotAllowed(f"{request.method} is not answered here.")
        case _:
            error = HttpError(str(exc.detail))
    response = render(error, request)
    if exc.headers:
        response.headers.update(exc.headers)
    return response


def install(app: FastAPI) -> None:
    """Maps every error that a handler may raise. (What none of these takes is caught by
    ``api.requests.RequestContext``, which logs it without its message.)"""
    app.add_exception_handler(ZkmlError, _on_domain)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
