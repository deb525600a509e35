"""Problem documents (RFC 9457): the HTTP form of errors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from circuits.errors import Fault, ZkmlError
from prover.errors import QuotaExceeded, ResultRemoved, Unauthenticated

STATUS = {
    Fault.INPUT: 422,
    Fault.NOT_FOUND: 404,
    Fault.CONFLICT: 409,
    Fault.TOO_LARGE: 413,
    Fault.INTERNAL: 500,
    Fault.BUSY: 503,
}
#: Domain errors with a specific HTTP status.
OWN_STATUS: dict[type[ZkmlError], int] = {
    Unauthenticated: 401,
    QuotaExceeded: 429,
    ResultRemoved: 410,
}


# --- errors of HTTP requests -----------------------------------------------------------------


class HttpError(ZkmlError):
    """The HTTP request cannot be served."""

    code = "http_error"
    fault = Fault.INPUT
    status: ClassVar[int] = 400


class JsonInvalid(HttpError):
    """The body is not JSON."""

    code = "json_invalid"
    default_advice = (
        "Send RFC 8259 JSON: no NaN, no Infinity, no trailing comma, UTF-8 without BOM."
    )


class MultipartInvalid(HttpError):
    """The multipart body cannot be read."""

    code = "multipart_invalid"


class MediaTypeUnsupported(HttpError):
    """This route does not accept the body's Content-Type."""

    code = "media_type_unsupported"
    status = 415


class RequestInvalid(HttpError):
    """The request does not fit this route's schema."""

    code = "request_invalid"
    status = 422
    default_advice = "See `errors` for each field, and /docs for the schema."


class ContentRangeInvalid(HttpError):
    """The Content-Range does not fit the upload."""

    code = "content_range_invalid"
    default_advice = "Send Content-Range: bytes FIRST-LAST/SIZE, with SIZE as announced."


class UploadCut(HttpError):
    """The body ended early."""

    code = "upload_cut"
    retryable = True
    default_advice = "Send that part again."


class UploadTooSlow(HttpError):
    """The body arrived too slowly."""

    code = "upload_too_slow"
    status = 408
    retryable = True
    default_advice = "Send it again; send a large model in parts (/v1/uploads)."


class RouteNotFound(HttpError):
    """There is no such route."""

    code = "route_not_found"
    fault = Fault.NOT_FOUND
    status = 404
    default_advice = "See /docs for the routes."


class MethodNotAllowed(HttpError):
    """This route does not allow the method."""

    code = "method_not_allowed"
    status = 405
    default_advice = "See /docs for the routes."


class ScopeMissing(HttpError):
    """The API key does not allow this."""

    code = "scope_missing"
    status = 403
    default_advice = "Use a key that was made with this scope: zkml api-keys create --scopes …."


class HostNotLocal(HttpError):
    """Without an API key the service accepts only loopback host names."""

    code = "host_not_local"
    status = 403
    default_advice = (
        "Ask http://127.0.0.1 or http://localhost, or make a key: zkml api-keys create."
    )


class RateLimited(HttpError):
    """Too many requests from this client."""

    code = "rate_limited"
    headers: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed
    status = 429
    retryable = True
    default_advice = (
        "Wait as long as Retry-After says, or verify on your own machine: `zkml verify`."
    )


# --- the document ----------------------------------------------------------------------------


class FieldError(BaseModel):
    """One invalid field of a request. The value is never repeated."""

    field: str = Field(description="Where, e.g. `body.profile.max_error`.")
    message: str


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(description="Address of the problem type's description on this service.")
    title: str = Field(description="The kind of problem; the same for each occurrence.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong this time.")
    code: str = Field(description="Stable name to program against.")
    fault: Fault = Field(description="Who is at fault.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    advice: str | None = Field(default=None, description="What to do about it.")
    instance: str | None = Field(default=None, description="The path of the request.")
    request_id: str | None = Field(default=None, description="The X-Request-ID of the response.")
    context: dict[str, Any] | None = Field(
        default=None, description="The culprit: node, input, value …"
    )
    errors: list[FieldError] | None = Field(default=None, description="Field by field.")
    error: str | None = Field(
        default=None, description="On /v2: `detail`, where the Open Inference Protocol has it."
    )


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
    for base, status in OWN_STATUS.items():
        if issubclass(cls, base):
            return status
    return STATUS[cls.fault]


def problem_of(error: ZkmlError) -> Problem:
    """The document of a raised error."""
    return Problem(
        type=f"/problems/{error.code}",
        title=title_of(type(error)),
        status=status_of(type(error)),
        **error.problem(),
    )


def problem_of_job(stored: dict[str, Any]) -> Problem:
    """The document of an error stored in a job's row (``ZkmlError.problem``).

    The row has only the class's code, which this process may not know.
    """
    cls = catalogue().get(stored["code"])
    return Problem(
        type=f"/problems/{stored['code']}",
        title=title_of(cls) if cls else stored["code"].replace("_", " "),
        status=status_of(cls) if cls else STATUS[Fault(stored["fault"])],
        detail=stored["detail"],
        code=stored["code"],
        fault=Fault(stored["fault"]),
        retryable=stored["retryable"],
        advice=stored.get("advice"),
        context=stored.get("context"),
    )
