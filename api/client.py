"""A small synchronous client of the HTTP API.

    with Client("http://127.0.0.1:8000") as zkml:
        model = zkml.upload_model(Path("digits.onnx"))
        job = zkml.create_proof(model=model.id, inputs={"image": image})
        for event in zkml.events(job.id):
            print(event.type, event.data)
        zkml.wait(job.id)
        Path("out.zkml").write_bytes(zkml.bundle(job.id))

Imports neither the server nor the engine.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from api.circuits.schemas import CircuitOut, CircuitPage
from api.health.schemas import Readiness
from api.jobs.schemas import Event, JobOut, JobPage
from api.models.schemas import ModelOut, ModelPage
from api.problem import Problem
from api.verifications.schemas import VerificationOut

T = TypeVar("T", bound=BaseModel)

#: Seconds asked for in one `Prefer: wait`; ``wait`` asks again until its own time is over.
_WAIT_S = 30


class ServerProblem(Exception):
    """The service answered with a problem document."""

    def __init__(self, problem: Problem):
        self.problem = problem
        super().__init__(f"{problem.code}: {problem.detail}")


class UnexpectedAnswer(Exception):
    """Something answered that is not this service: a proxy's error page, a wrong address."""


class Client:
    """The service at ``base_url``. Every method may raise ``ServerProblem``,
    ``UnexpectedAnswer`` or ``httpx.TransportError``."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout_s, transport=transport)
        self._timeout_s = timeout_s

    # --- models and circuits -----------------------------------------------------------------

    def upload_model(self, model: Path | bytes, name: str | None = None) -> ModelOut:
        """Uploads an ONNX file; the same bytes give the same model."""
        data = model.read_bytes() if isinstance(model, Path) else model
        if name is None and isinstance(model, Path):
            name = model.name
        return self._ask(
            ModelOut,
            "POST",
            "/v1/models",
            content=data,
            params={"name": name} if name else {},
            headers={"Content-Type": "application/octet-stream"},
        )

    def model(self, model_id: str) -> ModelOut:
        return self._ask(ModelOut, "GET", f"/v1/models/{model_id}")

    def models(self, *, limit: int = 50, cursor: str | None = None) -> ModelPage:
        return self._ask(ModelPage, "GET", "/v1/models", params=_given(limit=limit, cursor=cursor))

    def create_circuit(
        self,
        model: str,
        *,
        profile: Mapping[str, Any] | None = None,
        calibration: Mapping[str, Any] | None = None,
        wait_s: int = 0,
    ) -> CircuitOut:
        """Has a circuit built; answers at once, or after at most ``wait_s`` (60) seconds."""
        return self._ask(
            CircuitOut,
            "POST",
            "/v1/circuits",
            json=_given(model=model, profile=profile, calibration=calibration),
            wait_s=wait_s,
        )

    def circuit(self, circuit_id: str) -> CircuitOut:
        return self._ask(CircuitOut, "GET", f"/v1/circuits/{circuit_id}")

    def circuits(self, *, limit: int = 50, cursor: str | None = None) -> CircuitPage:
        params = _given(limit=limit, cursor=cursor)
        return self._ask(CircuitPage, "GET", "/v1/circuits", params=params)

    def circuit_file(self, circuit_id: str, name: str) -> bytes:
        """``settings``, ``vk`` or ``plan``."""
        return self._fetch("GET", f"/v1/circuits/{circuit_id}/{name}").content

    # --- proofs ------------------------------------------------------------------------------

    def create_proof(
        self,
        *,
        model: str | None = None,
        circuit: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        input_data: list[Any] | None = None,
        profile: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        wait_s: int = 0,
    ) -> JobOut:
        """Has one input proved; answers at once, or after at most ``wait_s`` (60) seconds."""
        body = _given(
            model=model,
            circuit=circuit,
            inputs=inputs,
            input_data=input_data,
            profile=profile,
            context=context,
        )
        return self._ask(JobOut, "POST", "/v1/proofs", json=body, wait_s=wait_s)

    def proof(self, job_id: str, *, wait_s: int = 0) -> JobOut:
        return self._ask(JobOut, "GET", f"/v1/proofs/{job_id}", wait_s=wait_s)

    def proofs(
        self, *, limit: int = 50, cursor: str | None = None, state: str | None = None
    ) -> JobPage:
        params = _given(limit=limit, cursor=cursor, state=state)
        return self._ask(JobPage, "GET", "/v1/proofs", params=params)

    def wait(self, job_id: str, timeout_s: float = 600.0) -> JobOut:
        """The proof's job once it has ended, whichever way. Raises ``TimeoutError``."""
        until = time.monotonic() + timeout_s
        while True:
            left = until - time.monotonic()
            job = self.proof(job_id, wait_s=min(_WAIT_S, math.ceil(max(left, 0))))
            if job.terminal:
                return job
            if left <= 0:
                raise TimeoutError(f"proof {job_id} is {job.state} after {timeout_s} s")

    def events(self, job_id: str, after: int = 0) -> Iterator[Event]:
        """The proof's events as they come, up to the one that ends it. A stream that breaks is
        taken up again where it was."""
        return self._events(f"/v1/proofs/{job_id}/events", after)

    def circuit_events(self, circuit_id: str, after: int = 0) -> Iterator[Event]:
        """The same for the circuit's build."""
        return self._events(f"/v1/circuits/{circuit_id}/events", after)

    def cancel(self, job_id: str) -> JobOut:
        return self._ask(JobOut, "POST", f"/v1/proofs/{job_id}/cancel")

    def receipt(self, job_id: str) -> bytes:
        return self._fetch("GET", f"/v1/proofs/{job_id}/receipt").content

    def proof_file(self, job_id: str) -> bytes:
        return self._fetch("GET", f"/v1/proofs/{job_id}/proof").content

    def bundle(self, job_id: str) -> bytes:
        return self._fetch("GET", f"/v1/proofs/{job_id}/bundle").content

    # --- verification, health ----------------------------------------------------------------

    def verify(self, bundle: bytes, policy: Mapping[str, Any] | None = None) -> VerificationOut:
        """The checklist of a bundle, whether it holds or not."""
        fields = {} if policy is None else {"policy": json.dumps(policy)}
        return self._ask(
            VerificationOut,
            "POST",
            "/v1/verifications",
            files={"bundle": ("bundle.zkml", bundle, "application/zip")},
            data=fields,
        )

    def ready(self) -> Readiness:
        """What the service says of its parts, ready or not."""
        answer = self._http.get("/readyz")
        return _read(Readiness, answer)

    # --- transport ---------------------------------------------------------------------------

    def _ask(self, shape: type[T], method: str, path: str, *, wait_s: int = 0, **options: Any) -> T:
        if wait_s:
            options["headers"] = {**options.get("headers", {}), "Prefer": f"wait={wait_s}"}
            options["timeout"] = self._timeout_s + wait_s
        return _read(shape, self._fetch(method, path, **options))

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
                    for event in _parse_events(answer.iter_lines()):
                        after = event.seq
                        yield event
            except (httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError):
                time.sleep(0.2)

    @contextmanager
    def _stream(self, path: str, after: int) -> Iterator[httpx.Response]:
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


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _read(shape: type[T], answer: httpx.Response) -> T:
    try:
        return shape.model_validate_json(answer.content)
    except ValueError as exc:
        raise UnexpectedAnswer(f"HTTP {answer.status_code} from {answer.url}") from exc


def _refuse_problem(answer: httpx.Response) -> None:
    if answer.is_error:
        raise ServerProblem(_read(Problem, answer))


def _parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream. Ours carry everything in `data`, on one line. An event counts once
    the empty line after it has come (WHATWG HTML, 9.2.6): a torn one is not half-read."""
    data = None
    for line in lines:
        if line.startswith("data:"):
            data = line.removeprefix("data:")
        elif not line and data is not None:
            yield Event.model_validate_json(data)
            data = None
