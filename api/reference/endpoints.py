"""`/docs` and `/problems`: the service's own reference."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from api.errors import responses
from api.problem import RouteNotFound, catalogue, status_of, title_of
from api.reference.page import docs_page
from circuits.errors import Fault

router = APIRouter(tags=["reference"])


class ProblemType(BaseModel):
    """A kind of problem: the target of a problem document's `type`."""

    type: str
    code: str
    title: str
    status: int
    fault: Fault
    retryable: bool
    advice: str | None = Field(description="What usually helps.")


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """The OpenAPI document as a page."""
    return HTMLResponse(docs_page(request.app.openapi()))


@router.get("/problems", summary="List the kinds of problems")
def list_problem_types() -> list[ProblemType]:
    """Every error of this service, by code."""
    return [_problem_type(code) for code in sorted(catalogue())]


@router.get("/problems/{code}", summary="Look up a problem", responses=responses(404))
def get_problem_type(code: str) -> ProblemType:
    """What an error code means."""
    if code not in catalogue():
        raise RouteNotFound(f"There is no problem {code!r}.", advice="See /problems for all.")
    return _problem_type(code)


def _problem_type(code: str) -> ProblemType:
    cls = catalogue()[code]
    return ProblemType(
        type=f"/problems/{code}",
        code=code,
        title=title_of(cls),
        status=status_of(cls),
        fault=cls.fault,
        retryable=cls.retryable,
        advice=cls.default_advice or None,
    )
