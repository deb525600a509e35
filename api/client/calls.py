"""Requests as values, for both clients: what all of them share. Each resource has a module."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar

import httpx
from pydantic import BaseModel

from api.client.failures import ServerProblem, UnexpectedAnswer
from api.client.models import Problem

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: Bytes of a file that are in memory at once.
CHUNK = 1 << 20
BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request. ``wait_s``: how long the service may delay the response. ``safe``: whether the
    request may be repeated. ``body`` makes the body for each attempt."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    body: Callable[[], bytes | Iterator[bytes]] | None = None
    files: Any = None
    form: Mapping[str, str] | None = None
    wait_s: float = 0
    untimed: bool = False
    safe: bool = True


def as_model(shape: type[M]) -> Callable[[httpx.Response], M]:
    """Parses a response as this model; raises ``ServerProblem``, ``UnexpectedAnswer``."""

    def read(answer: httpx.Response) -> M:
        refuse_problem(answer)
        return parsed(shape, answer)

    return read


def as_bytes(answer: httpx.Response) -> bytes:
    refuse_problem(answer)
    return answer.content


def as_json(answer: httpx.Response) -> dict[str, Any]:
    refuse_problem(answer)
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"HTTP {answer.status_code} from {answer.url}")
    return value


def refuse_problem(answer: httpx.Response) -> None:
    """Raises ``ServerProblem`` for an error whose body has been read."""
    if answer.is_error:
        raise ServerProblem(parsed(Problem, answer))


def parsed(shape: type[M], answer: httpx.Response) -> M:
    try:
        return shape.model_validate_json(answer.content)
    except ValueError as exc:
        raise UnexpectedAnswer(f"HTTP {answer.status_code} from {answer.url}") from exc


def given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def get(path: str, shape: type[M], wait_s: float = 0, **params: Any) -> Call[M]:
    return Call(
        method="GET", path=path, read=as_model(shape), params=given(**params), wait_s=wait_s
    )


def pairs(metadata: Mapping[str, str] | None) -> list[str] | None:
    """Metadata as query parameters."""
    return [f"{key}:{value}" for key, value in metadata.items()] if metadata else None


def moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def file_at(path: str) -> Call[bytes]:
    return Call(method="GET", path=path, read=as_bytes)


def idempotency(given: str | None) -> dict[str, str]:
    """The header that makes a repeated request harmless."""
    return {"Idempotency-Key": given or uuid.uuid4().hex}


# --- lists: all conditions that are given must hold; times are of creation ---------------------


class Paging(TypedDict, total=False):
    """``limit`` is 1 to 200, 50 if not given; ``cursor`` the ``next_cursor`` of the page before."""

    limit: int
    cursor: str | None


class Filters(Paging, total=False):
    """``created_since`` is included, ``created_before`` is not; both have a zone."""

    created_since: datetime | None
    created_before: datetime | None
    metadata: Mapping[str, str] | None


class ModelFilters(Filters, total=False):
    """``public``: all public models instead of your own."""

    public: bool | None


class CircuitFilters(Filters, total=False):
    """By model too."""

    model: str | None


class BatchFilters(CircuitFilters, total=False):
    """By state and circuit too."""

    state: str | None
    circuit: str | None


class ProofFilters(BatchFilters, total=False):
    """By batch too."""

    batch: str | None


def page(path: str, shape: type[M], where: Mapping[str, Any]) -> Call[M]:
    params = {"limit": 50, **where, "metadata": pairs(where.get("metadata"))}
    for name in ("created_since", "created_before"):
        params[name] = moment(where.get(name))
    return get(path, shape, **params)
