"""A small synchronous client of the HTTP API.

    with Client("http://127.0.0.1:8000") as zkml:
        model = zkml.upload_model(Path("digits.onnx"))
        job = zkml.create_proof(model=model.id, inputs={"image": image})
        for event in zkml.events(job.id):
            print(event.type, event.data)
        zkml.wait(job.id)
        Path("out.zkml").write_bytes(zkml.bundle(job.id))

        batch = zkml.create_batch(Path("rows.jsonl"), model=model.id)
        if zkml.wait_batch(batch.id).progress.done:
            zkml.save_batch_bundle(batch.id, Path("batch.zkml"))

Imports neither the server nor the engine.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from api.batches.schemas import BatchOut, BatchPage, ItemOut, ItemPage
from api.circuits.schemas import CircuitOut, CircuitPage
from api.health.schemas import Readiness
from api.jobs.schemas import Event, JobOut, JobPage
from api.models.schemas import ModelOut, ModelPage
from api.transport import (
    BROKEN,
    ServerProblem,
    Transport,
    UnexpectedAnswer,
    event_data,
    given,
    read,
)
from api.verifications.schemas import VerificationOut

__all__ = ["Client", "ServerProblem", "UnexpectedAnswer"]

#: Seconds asked for in one `Prefer: wait`; ``wait`` asks again until its own time is over.
_WAIT_S = 30
#: Between two looks at a batch that is waited for.
_LOOK_S = 1.0
_CHUNK = 1 << 20


class Client(Transport):
    """The service at ``base_url``. Every method may raise ``ServerProblem``,
    ``UnexpectedAnswer`` or ``httpx.TransportError``."""

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
        return self._ask(ModelPage, "GET", "/v1/models", params=given(limit=limit, cursor=cursor))

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
            json=given(model=model, profile=profile, calibration=calibration),
            wait_s=wait_s,
        )

    def circuit(self, circuit_id: str) -> CircuitOut:
        return self._ask(CircuitOut, "GET", f"/v1/circuits/{circuit_id}")

    def circuits(self, *, limit: int = 50, cursor: str | None = None) -> CircuitPage:
        params = given(limit=limit, cursor=cursor)
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
        isolate: bool | None = None,
        wait_s: int = 0,
    ) -> JobOut:
        """Has one input proved; answers at once, or after at most ``wait_s`` (60) seconds.

        ``isolate``: by a proof of its own, also where the service has jobs share one.
        """
        body = given(
            model=model,
            circuit=circuit,
            inputs=inputs,
            input_data=input_data,
            profile=profile,
            context=context,
            isolate=isolate,
        )
        return self._ask(JobOut, "POST", "/v1/proofs", json=body, wait_s=wait_s)

    def proof(self, job_id: str, *, wait_s: int = 0) -> JobOut:
        return self._ask(JobOut, "GET", f"/v1/proofs/{job_id}", wait_s=wait_s)

    def proofs(
        self, *, limit: int = 50, cursor: str | None = None, state: str | None = None
    ) -> JobPage:
        params = given(limit=limit, cursor=cursor, state=state)
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

    # --- batches -----------------------------------------------------------------------------

    def create_batch(
        self,
        rows: Path | Iterable[Mapping[str, Any]],
        *,
        model: str | None = None,
        circuit: str | None = None,
        isolate: bool | None = None,
        lanes: int | None = None,
        deadline_s: float | None = None,
        profile: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> BatchOut:
        """Has many inputs proved; answers when all rows have been read.

        ``rows`` is a file (JSON lines, ``.csv`` or ``.npz``) or rows one by one, each
        ``{"id": …, "inputs": {name: nested list or array}}``; neither is held in memory.
        """
        query = given(
            model=model, circuit=circuit, isolate=isolate, lanes=lanes, deadline_s=deadline_s
        )
        media = "application/octet-stream" if isinstance(rows, Path) else "application/x-ndjson"
        return self._ask(
            BatchOut,
            "POST",
            "/v1/batches",
            params={**query, **(profile or {}), **(context or {})},
            content=_file(rows) if isinstance(rows, Path) else map(_line, rows),
            headers={"Content-Type": media},
            # The answer comes once the last row was read, and not while they are sent.
            timeout=httpx.Timeout(self._timeout_s, read=None),
        )

    def batch(self, batch_id: str) -> BatchOut:
        return self._ask(BatchOut, "GET", f"/v1/batches/{batch_id}")

    def batches(self, *, limit: int = 50, cursor: str | None = None) -> BatchPage:
        params = given(limit=limit, cursor=cursor)
        return self._ask(BatchPage, "GET", "/v1/batches", params=params)

    def wait_batch(self, batch_id: str, timeout_s: float = 3600.0) -> BatchOut:
        """The batch once it has ended, whichever way. Raises ``TimeoutError``."""
        until = time.monotonic() + timeout_s
        while not (found := self.batch(batch_id)).terminal:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"batch {batch_id} is {found.state} after {timeout_s} s")
            time.sleep(min(left, _LOOK_S))
        return found

    def batch_events(self, batch_id: str) -> Iterator[BatchOut]:
        """The batch as it stands, again after each change, up to its end."""
        path = f"/v1/batches/{batch_id}/events"
        while True:
            try:
                with self._stream(path) as answer:
                    for data in event_data(answer.iter_lines()):
                        found = BatchOut.model_validate_json(data)
                        yield found
                        if found.terminal:
                            return
            except BROKEN:
                time.sleep(0.2)

    def cancel_batch(self, batch_id: str) -> BatchOut:
        """What is proved stays; everything else is given up."""
        return self._ask(BatchOut, "POST", f"/v1/batches/{batch_id}/cancel")

    def batch_items(self, batch_id: str, *, state: str | None = None) -> Iterator[ItemOut]:
        """The rows in the order of the file, all or those in one state."""
        after: int | None = 0
        while after is not None:
            params = given(after=after, limit=200, state=state)
            page = self._ask(ItemPage, "GET", f"/v1/batches/{batch_id}/items", params=params)
            yield from page.items
            after = page.next_after

    def batch_results(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """The lines of ``results.jsonl``, as far as the batch is now."""
        with self._stream(f"/v1/batches/{batch_id}/results") as answer:
            for line in answer.iter_lines():
                yield json.loads(line)

    def save_batch_bundle(self, batch_id: str, path: Path) -> None:
        """Writes the bundle of all proved items, once the batch has ended. Raises ``OSError``."""
        with self._stream(f"/v1/batches/{batch_id}/bundle") as answer, path.open("wb") as out:
            for chunk in answer.iter_bytes(_CHUNK):
                out.write(chunk)

    def item_bundle(self, batch_id: str, number: int) -> bytes:
        return self._fetch("GET", f"/v1/batches/{batch_id}/items/{number}/bundle").content

    def item_receipt(self, batch_id: str, number: int) -> bytes:
        return self._fetch("GET", f"/v1/batches/{batch_id}/items/{number}/receipt").content

    # --- verification, health ----------------------------------------------------------------

    def verify(
        self,
        bundle: bytes,
        policy: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 300.0,
    ) -> VerificationOut:
        """The checklist of a bundle, whether it holds or not.

        A service that allows so many verifications a minute is asked again when it says, for at
        most ``timeout_s``; then its refusal is raised.
        """
        fields = {} if policy is None else {"policy": json.dumps(policy)}
        return self._ask_patiently(
            timeout_s,
            VerificationOut,
            "POST",
            "/v1/verifications",
            files={"bundle": ("bundle.zkml", bundle, "application/zip")},
            data=fields,
        )

    def ready(self) -> Readiness:
        """What the service says of its parts, ready or not."""
        answer = self._http.get("/readyz")
        return read(Readiness, answer)


def _file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            yield chunk


def _line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON; arrays as nested lists."""
    return json.dumps(row, default=lambda value: value.tolist()).encode() + b"\n"
