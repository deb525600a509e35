"""Batches: receive a file, watch, fetch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from api.batches.schemas import BatchIn, BatchPage, ItemPage, batch_out, item_out
from api.problem import RequestInvalid
from api.queue import JobSender
from circuits.format.manifest import CircuitManifest
from prover.app import App
from prover.batch.ingest import ingest
from prover.batch.results import jsonl, write_bundle_file
from prover.records.batch import Batch, ItemState
from prover.records.batch_errors import BatchNotDone, CircuitForBatches, ItemNotDone
from prover.store.filters import Filter

MEDIA_TYPES = (
    "application/x-ndjson",
    "application/jsonl",
    "text/csv",
    "application/zip",
    "application/octet-stream",
)


def create(app: App, sender: JobSender, query: BatchIn, path: Path, batch_id: str | None) -> Batch:
    """Creates a batch from a file's rows, checks them and queues its planning. Idempotent with a
    ``batch_id``."""
    options = query.options()
    if query.circuit is not None:
        record = app.store.circuit(query.circuit)
        manifest = CircuitManifest.from_json(record.manifest)
        if manifest.lanes != 1:
            raise CircuitForBatches(
                "The circuit is a batched one; name the single-lane circuit.",
                circuit=query.circuit,
                advice="Its id is `narrow` in the circuit's plan.",
            )
        model, profile = app.store.model(record.model_id), manifest.profile
    else:
        assert query.model is not None
        model, profile = app.store.model(query.model), query.profile()
    batch = ingest(
        app.batches.services,
        model,
        path,
        profile,
        None,
        options,
        circuit_id=query.circuit,
        source="http",
        batch_id=batch_id,
    )
    if not batch.state.terminal:
        sender.announce(app.store.job(batch.job_id))
    return batch


def get(app: App, batch_id: str) -> Batch:
    """One batch; raises ``BatchNotFound``."""
    return app.batches.batch(batch_id)


def page(app: App, limit: int, cursor: str | None, where: Filter) -> BatchPage:
    """A page of batches, newest first."""
    found = app.store.batches(limit, cursor, where=where)
    return BatchPage(items=[batch_out(b) for b in found.items], next_cursor=found.next_cursor)


def items(app: App, batch_id: str, after: int, limit: int, state: ItemState | None) -> ItemPage:
    """A page of a batch's items, in the order of the file."""
    app.store.batch(batch_id)
    found = app.store.items(batch_id, after=after, limit=limit, state=state)
    more = len(found) == limit
    return ItemPage(
        items=[item_out(item) for item in found], next_after=found[-1].number if more else None
    )


def receipt(app: App, batch_id: str, number: int) -> bytes:
    """The signed receipt of one item; raises ``ItemNotFound``, ``ItemNotDone``."""
    item = app.store.item(batch_id, number)
    if item.result is None:
        raise ItemNotDone(f"item {number} is {item.state.value}: it has no receipt")
    return app.artifacts.get(item.result["receipt"])


def results(app: App, batch_id: str) -> Iterator[bytes]:
    """The current ``results.jsonl``, line by line; raises ``BatchNotFound`` at once."""
    app.store.batch(batch_id)
    return jsonl(app.store, batch_id)


def bundle(app: App, batch_id: str, path: Path) -> None:
    """Writes the bundle of all proved items; raises ``BatchNotDone`` before the batch has ended."""
    batch = app.store.batch(batch_id)
    if not batch.state.terminal:
        raise BatchNotDone(f"The batch is {batch.state.value}.")
    if not batch.done:
        raise RequestInvalid("No item of the batch was proved.", advice="See its items.")
    write_bundle_file(app.batches, batch_id, path)
