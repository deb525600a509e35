"""The asynchronous client, with the methods of ``sync``."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from api.client import batch_calls, model_calls, proof_calls, service_calls, webhook_calls
from api.client.calls import CHUNK, Call, refuse_problem
from api.client.connection import LOOK_S, WAIT_S, Connection, EventReader, Place, sent_slowly
from api.client.model_calls import PART_BYTES, digest_of
from api.client.models import Batch, Event, Item, Job, Model
from api.client.retries import Retries

P = ParamSpec("P")
T = TypeVar("T")


def _method(call: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    @functools.wraps(call)
    async def send(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(call(*args, **kwargs))

    return send


class AsyncClient(Connection):
    """The service at ``base_url``. Every method may raise ``ServerProblem``,
    ``UnexpectedAnswer`` or ``httpx.TransportError``."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._http = httpx.AsyncClient(**self._options, transport=transport)

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

    async def wait(self, job_id: str, timeout_s: float = 600.0) -> Job:
        """The proof's job once it has ended. Raises ``TimeoutError``."""
        until = time.monotonic() + timeout_s
        while True:
            left = until - time.monotonic()
            job = await self.proof(job_id, wait_s=min(WAIT_S, math.ceil(max(left, 0))))
            if job.terminal:
                return job
            if left <= 0:
                raise TimeoutError(f"proof {job_id} is {job.state} after {timeout_s} s")

    async def prove(
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
        job = await self.create_proof(
            model=model,
            circuit=circuit,
            inputs=inputs,
            context=context,
            idempotency_key=idempotency_key,
        )
        async for event in self.events(job.id):
            if on_event is not None:
                on_event(event)
        return await self.proof(job.id)

    def events(self, job_id: str, after: int = 0) -> AsyncIterator[Event]:
        """The proof's events as they occur, up to its end. Resumes an interrupted stream."""
        return self._events(f"/v1/proofs/{job_id}/events", after)

    def circuit_events(self, circuit_id: str, after: int = 0) -> AsyncIterator[Event]:
        """The same for the circuit's build."""
        return self._events(f"/v1/circuits/{circuit_id}/events", after)

    async def wait_batch(self, batch_id: str, timeout_s: float = 3600.0) -> Batch:
        """The batch once it has ended. Raises ``TimeoutError``."""
        until = time.monotonic() + timeout_s
        while not (found := await self.batch(batch_id)).terminal:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"batch {batch_id} is {found.state} after {timeout_s} s")
            await asyncio.sleep(min(left, LOOK_S))
        return found

    async def batch_events(self, batch_id: str) -> AsyncIterator[Batch]:
        """The batch now and after each change, up to its end."""
        async for data in self._data(f"/v1/batches/{batch_id}/events", Place()):
            found = Batch.model_validate_json(data)
            yield found
            if found.terminal:
                return

    # --- large transfers -----------------------------------------------------------------------

    async def upload_in_parts(
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
        digest, size = await asyncio.to_thread(digest_of, path)
        upload = await self._send(model_calls.begin_upload(digest, size))
        with path.open("rb") as file:
            while (part := upload.next_part(part_bytes)) is not None:
                start, end = part
                file.seek(start)
                data = await asyncio.to_thread(file.read, end - start)
                upload = await self._send(model_calls.upload_part(upload, start, data))
                if on_progress is not None:
                    on_progress(sum(r.end - r.start for r in upload.received), size)
        return await self._send(model_calls.finish_upload(digest, name or path.name, metadata))

    async def batch_items(self, batch_id: str, *, state: str | None = None) -> AsyncIterator[Item]:
        """The rows in the order of the file, all or those in one state."""
        after: int | None = 0
        while after is not None:
            page = await self._send(batch_calls.items(batch_id, after, state))
            for item in page.items:
                yield item
            after = page.next_after

    async def batch_results(self, batch_id: str) -> AsyncIterator[dict[str, Any]]:
        """The current lines of ``results.jsonl``."""
        async with self._stream(f"/v1/batches/{batch_id}/results") as answer:
            async for line in answer.aiter_lines():
                yield json.loads(line)

    async def save_batch_bundle(self, batch_id: str, path: Path) -> None:
        """Writes the bundle of all proved items, once the batch has ended. Raises ``OSError``."""
        async with self._stream(f"/v1/batches/{batch_id}/bundle") as answer:
            with path.open("wb") as out:
                async for chunk in answer.aiter_bytes(CHUNK):
                    await asyncio.to_thread(out.write, chunk)

    # --- transport -----------------------------------------------------------------------------

    async def _send(self, call: Call[T]) -> T:
        attempt = 1
        while True:
            made = call.body() if call.body else None
            body = made if made is None or isinstance(made, bytes) else sent_slowly(made)
            try:
                answer = await self._http.request(**self._request(call), content=body)
                pause = self._retries.after_answer(answer, attempt, safe=call.safe)
            except httpx.TransportError as error:
                pause = self._retries.after_error(error, attempt, safe=call.safe)
                if pause is None:
                    raise
            else:
                if pause is None:
                    return call.read(answer)
            await asyncio.sleep(pause)
            attempt += 1

    async def _events(self, path: str, after: int) -> AsyncIterator[Event]:
        place = Place(after)
        async for data in self._data(path, place):
            yield place.event(data)

    async def _data(self, path: str, place: Place) -> AsyncIterator[str]:
        while True:
            try:
                async with self._stream(path, place) as answer:
                    if answer.status_code == 204:
                        return
                    reader = EventReader()
                    async for line in answer.aiter_lines():
                        if (data := reader.feed(line)) is not None:
                            place.attempt = 1
                            yield data
            except httpx.TransportError as error:
                pause = self._retries.after_error(error, place.attempt, safe=True)
                if pause is None:
                    raise
                place.attempt += 1
                await asyncio.sleep(pause)

    @asynccontextmanager
    async def _stream(self, path: str, place: Place | None = None) -> AsyncIterator[httpx.Response]:
        headers = place.headers() if place else {}
        async with self._http.stream("GET", path, headers=headers) as answer:
            if answer.is_error:
                await answer.aread()
            refuse_problem(answer)
            yield answer

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
