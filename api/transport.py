"""What the Python client stands on: requests, problems, and event streams that may break."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from api.jobs.schemas import Event
from api.problem import Problem

T = TypeVar("T", bound=BaseModel)

#: How a stream breaks that may be taken up again.
BROKEN = (httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError)


class ServerProblem(Exception):
    """The service answered with a problem document."""

    def __init__(self, problem: Problem):
        self.problem = problem
        super().__init__(f"{problem.code}: {problem.detail}")


class UnexpectedAnswer(Exception):
    """Something answered that is not this service: a proxy's error page, a wrong address."""


class Transport:
    """Requests to the service at ``base_url``, with an API key where it asks for one."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_s,
            transport=transport,
        )
        self._timeout_s = timeout_s

    def _ask(self, shape: type[T], method: str, path: str, *, wait_s: int = 0, **options: Any) -> T:
        if wait_s:
            options["headers"] = {**options.get("headers", {}), "Prefer": f"wait={wait_s}"}
            options["timeout"] = self._timeout_s + wait_s
        return read(shape, self._fetch(method, path, **options))

    def _ask_patiently(
        self, timeout_s: float, shape: type[T], method: str, path: str, **options: Any
    ) -> T:
        """As ``_ask``; what is refused for now (429, 503) is asked again after ``Retry-After``."""
        until = time.monotonic() + timeout_s
        while True:
            answer = self._http.request(method, path, **options)
            if answer.status_code not in (429, 503):
                break
            pause_s = _retry_after_s(answer)
            if pause_s is None or time.monotonic() + pause_s > until:
                break
            time.sleep(pause_s)
        _refuse_problem(answer)
        return read(shape, answer)

    def _fetch(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self._http.request(method, path, **options)
        _refuse_problem(answer)
        return answer

    def _events(self, path: str, after: int) -> Iterator[Event]:
        while True:
            try:
                with self._stream(path, after) as answer:
                    if answer.status_code == 204:
                        return
                    for data in event_data(answer.iter_lines()):
                        event = Event.model_validate_json(data)
                        after = event.seq
                        yield event
            except BROKEN:
                time.sleep(0.2)

    @contextmanager
    def _stream(self, path: str, after: int = 0) -> Iterator[httpx.Response]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        with self._http.stream("GET", path, headers=headers) as answer:
            if answer.is_error:
                answer.read()
            _refuse_problem(answer)
            yield answer

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds, as our service says it (RFC 9110 allows a date too, which it never sends)."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def read(shape: type[T], answer: httpx.Response) -> T:
    try:
        return shape.model_validate_json(answer.content)
    except ValueError as exc:
        raise UnexpectedAnswer(f"HTTP {answer.status_code} from {answer.url}") from exc


def _refuse_problem(answer: httpx.Response) -> None:
    if answer.is_error:
        raise ServerProblem(read(Problem, answer))


def event_data(lines: Iterator[str]) -> Iterator[str]:
    """The data of a stream's events. Ours carry everything in `data`, on one line.

    An event counts once the empty line after it has come (WHATWG HTML, 9.2.6): a torn one is not
    half-read.
    """
    data = None
    for line in lines:
        if line.startswith("data:"):
            data = line.removeprefix("data:")
        elif not line and data is not None:
            yield data
            data = None
