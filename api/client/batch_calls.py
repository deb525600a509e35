"""Batches and their items."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from api.client.calls import (
    CHUNK,
    BatchFilters,
    Call,
    as_model,
    file_at,
    get,
    given,
    idempotency,
    page,
    pairs,
)
from api.client.models import Batch, ItemPage, Page


def create_batch(
    rows: Path | Iterable[Mapping[str, Any]],
    *,
    model: str | None = None,
    circuit: str | None = None,
    isolate: bool | None = None,
    lanes: int | None = None,
    deadline_s: float | None = None,
    on_inexact: str | None = None,
    profile: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Call[Batch]:
    """Proves many inputs; returns when the service has read all rows.

    ``rows`` is a file (JSON lines, ``.csv`` or ``.npz``) or an iterable of rows, each
    ``{"id": …, "inputs": {name: nested list or array}}``; neither is loaded into memory. An
    iterator cannot be sent twice, so such a request is not retried.
    ``on_inexact``: ``report``, ``fail`` or ``isolate`` rows whose output misses the tolerance.
    """
    query = given(
        model=model,
        circuit=circuit,
        isolate=isolate,
        lanes=lanes,
        deadline_s=deadline_s,
        on_inexact=on_inexact,
        metadata=pairs(metadata),
    )
    media = "application/octet-stream" if isinstance(rows, Path) else "application/x-ndjson"
    return Call(
        method="POST",
        path="/v1/batches",
        read=as_model(Batch),
        params={**query, **(profile or {}), **(context or {})},
        headers={"Content-Type": media, **idempotency(idempotency_key)},
        body=lambda: _chunks(rows) if isinstance(rows, Path) else map(_line, rows),
        # The response arrives after the last row was read, not while rows are sent.
        untimed=True,
        safe=isinstance(rows, Path | Sequence),
    )


def batch(batch_id: str) -> Call[Batch]:
    """State, progress, rate and remaining time."""
    return get(f"/v1/batches/{batch_id}", Batch)


def batches(**where: Unpack[BatchFilters]) -> Call[Page[Batch]]:
    """A page of batches, newest first."""
    return page("/v1/batches", Page[Batch], where)


def cancel_batch(batch_id: str) -> Call[Batch]:
    """Cancels a batch; proved items stay."""
    return Call(method="POST", path=f"/v1/batches/{batch_id}/cancel", read=as_model(Batch))


def items(batch_id: str, after: int, state: str | None) -> Call[ItemPage]:
    """A page of a batch's items, in the order of the file."""
    path = f"/v1/batches/{batch_id}/items"
    return get(path, ItemPage, after=after, limit=200, state=state)


def item_bundle(batch_id: str, number: int) -> Call[bytes]:
    """Everything that verifying one item needs."""
    return file_at(f"/v1/batches/{batch_id}/items/{number}/bundle")


def item_receipt(batch_id: str, number: int) -> Call[bytes]:
    """The signed statement about one item."""
    return file_at(f"/v1/batches/{batch_id}/items/{number}/receipt")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            yield chunk


def _line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON; arrays as nested lists."""
    return json.dumps(row, default=lambda value: value.tolist()).encode() + b"\n"
