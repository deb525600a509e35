"""The synchronous client."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from api.client import batch_calls, model_calls, proof_calls, service_calls, webhook_calls
from api.client.calls import CHUNK, Call, refuse_problem
from api.client.connection import LOOK_S, WAIT_S, Connection, EventReader, Place
from api.client.model_calls import PART_BYTES, digest_of
from api.client.models import Batch, Event, Item, Job, Model
from api.client.retries import Retries

P = ParamSpec("P")
T = TypeVar("T")


def _method(call: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    @functools.wraps(call)
    def send(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(call(*args, **kwargs))

    return send


class Client(Connection):
    """The service at ``base_url``. Every method may raise ``ServerProblem``,
    ``UnexpectedAnswer`` or ``httpx.TransportError``."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._http = httpx.Client(**self._options, transport=transport)

    upload_model = _method(model_calls.upload_model)
    model = _method(model_calls.model)
    models = _method(model_calls.models)
    change_model = _method(model_calls.change_model)
    model_manifest = _method(model_calls.model_manifest)
    sign_model = _method(model_calls.sign_model)
    create_circuit = _method(model_calls.create_circuit)
    circuit = _method(model_calls.circuit)
    circuits = _method(model_calls.circuits)
    circuit_file = _method(model_calls.circuit_file)
    create_proof = _method(proof_calls.create_proof)
    proof = _method(proof_calls.proof)
    proofs = _method(proof_calls.proofs)
    cancel = _method(proof_calls.cancel)
    receipt = _method(proof_calls.receipt)
    proof_file = _method(proof_calls.proof_file)
    bundle = _method(proof_calls.bundle)
    create_batch = _method(batch_calls.create_batch)
    batch = _method(batch_calls.batch)
    batches = _method(batch_calls.batches)
    cancel_batch = _method(batch_calls.cancel_batch)
    item_bundle = _method(batch_calls.item_bundle)
    item_receipt = _method(batch_calls.item_receipt)
    create_webhook_endpoint = _method(webhook_calls.create_webhook_endpoint)
    webhook_endpoints = _method(webhook_calls.webhook_endpoints)
    enable_webhook_endpoint = _method(webhook_calls.enable_webhook_endpoint)
    delete_webhook_endpoint = _method(webhook_calls.delete_webhook_endpoint)
    replay_webhooks = _method(webhook_calls.replay_webhooks)
    verify = _method(service_calls.verify)
    usage = _method(service_calls.usage)
    keys = _method(service_calls.keys)
    ready = _method(service_calls.ready)

    # --- waiting -----------------------------------------------------------------------------

    def wait(self, job_id: str, timeout_s: float = 600.0) -> Job:
        """The proof's job once it has ended. Raises ``TimeoutError``."""
        until = time.monotonic() + timeout_s
        while True:
            left = until - time.monotonic()
            job = self.proof(job_id, wait_s=min(WAIT_S, math.ceil(max(left, 0))))
            if job.terminal:
                return job
            if left <= 0:
                raise TimeoutError(f"proof {job_id} is {job.state} after {timeout_s} s")

    def prove(
        self,
        *,
        inputs: Mapping[str, Any],
        model: str | None = None,
        circuit: str | None = None,
        context: Mapping[str, Any] | None = None,
        on_event: Callable[[Event], None] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Proves one input and waits for the end; ``on_event`` receives progress."""
        job = self.create_proof(
            model=model,
            circuit=circuit,
            inputs=inputs,
            context=context,
            idempotency_key=idempotency_key,
        )
        for event in self.events(job.id):
            if on_event is not None:
                on_event(event)
        return self.proof(job.id)

    def events(self, job_id: str, after: int = 0) -> Iterator[Event]:
        """The proof's events as they occur, up to its end. Resumes an interrupted stream."""
        return self._events(f"/v1/proofs/{job_id}/events", after)

    def circuit_events(self, circuit_id: str, after: int = 0) -> Iterator[Event]:
        """The same for the circuit's build."""
        return self._events(f"/v1/circuits/{circuit_id}/events", after)

    def wait_batch(self, batch_id: str, timeout_s: float = 3600.0) -> Batch:
        """The batch once it has ended. Raises ``TimeoutError``."""
        until = time.monotonic() + timeout_s
        while not (found := self.batch(batch_id)).terminal:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"batch {batch_id} is {found.state} after {timeout_s} s")
            time.sleep(min(left, LOOK_S))
        return found

    def batch_events(self, batch_id: str) -> Iterator[Batch]:
        """The batch now and after each change, up to its end."""
        for data in self._data(f"/v1/batches/{batch_id}/events", Place()):
            found = Batch.model_validate_json(data)
            yield found
            if found.terminal:
                return

    # --- large transfers -----------------------------------------------------------------------

    def upload_in_parts(
        self,
        path: Path,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        part_bytes: int = PART_BYTES,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Model:
        """Uploads a large ONNX file. After a failure call it again within a day: it resumes.
        ``on_progress`` receives the uploaded and the total bytes."""
        digest, size = digest_of(path)
        upload = self._send(model_calls.begin_upload(digest, size))
        with path.open("rb") as file:
            while (part := upload.next_part(part_bytes)) is not None:
                start, end = part
                file.seek(start)
                data = file.read(end - start)
                upload = self._send(model_calls.upload_part(upload, start, data))
                if on_progress is not None:
                    on_progress(sum(r.end - r.start for r in upload.received), size)
        return self._send(model_calls.finish_upload(digest, name or path.name, metadata))

    def batch_items(self, batch_id: str, *, state: str | None = None) -> Iterator[Item]:
        """The rows in the order of the file, all or those in one state."""
        after: int | None = 0
        while after is not None:
            page = self._send(batch_calls.items(batch_id, after, state))
            yield from page.items
            after = page.next_after

    def batch_results(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """The current lines of ``results.jsonl``."""
        with self._stream(f"/v1/batches/{batch_id}/results") as answer:
            for line in answer.iter_lines():
                yield json.loads(line)

    def save_batch_bundle(self, batch_id: str, path: Path) -> None:
        """Writes the bundle of all proved items, once the batch has ended. Raises ``OSError``."""
        with self._stream(f"/v1/batches/{batch_id}/bundle") as answer, path.open("wb") as out:
            for chunk in answer.iter_bytes(CHUNK):
                out.write(chunk)

    # --- transport -----------------------------------------------------------------------------

    def _send(self, call: Call[T]) -> T:
        attempt = 1
        while True:
            body = call.body() if call.body else None
            try:
                answer = self._http.request(**self._request(call), content=body)
                pause = self._retries.after_answer(answer, attempt, safe=call.safe)
            except httpx.TransportError as error:
                pause = self._retries.after_error(error, attempt, safe=call.safe)
                if pause is None:
                    raise
            else:
                if pause is None:
                    return call.read(answer)
            time.sleep(pause)
            attempt += 1

    def _events(self, path: str, after: int) -> Iterator[Event]:
        place = Place(after)
        for data in self._data(path, place):
            yield place.event(data)

    def _data(self, path: str, place: Place) -> Iterator[str]:
        while True:
            try:
                with self._stream(path, place) as answer:
                    if answer.status_code == 204:
                        return
                    reader = EventReader()
                    for line in answer.iter_lines():
                        if (data := reader.feed(line)) is not None:
                            place.attempt = 1
                            yield data
            except httpx.TransportError as error:
                pause = self._retries.after_error(error, place.attempt, safe=True)
                if pause is None:
                    raise
                place.attempt += 1
                time.sleep(pause)

    @contextmanager
    def _stream(self, path: str, place: Place | None = None) -> Iterator[httpx.Response]:
        headers = place.headers() if place else {}
        with self._http.stream("GET", path, headers=headers) as answer:
            if answer.is_error:
                answer.read()
            refuse_problem(answer)
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
