"""The stored inputs of a batch: private artifacts of many rows each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import ZkmlError
from prover.artifacts import Artifacts
from prover.batch.row import BadRow, Row
from prover.jobs.inputs import load_input, store_input
from prover.records.batch import Item, ItemState
from prover.records.batch_errors import problem_of_item
from prover.store import Store

Inputs = dict[str, NDArray[Any]]

#: Limits of a chunk in rows and bytes.
_ROWS, _BYTES = 256, 4 << 20


class ChunkWriter:
    """Stores rows as they arrive, with at most one chunk in memory."""

    def __init__(
        self, store: Store, artifacts: Artifacts, batch_id: str, request: dict[str, Any]
    ) -> None:
        self._store, self._artifacts, self._batch_id = store, artifacts, batch_id
        self._request = request
        self._number = self._chunk = self._bytes = 0
        self._items: list[Item] = []
        self._inputs: list[Inputs] = []

    def add(self, row: Row | BadRow) -> None:
        self._number += 1
        if isinstance(row, BadRow):
            self._items.append(self._failed(row))
        else:
            self._items.append(
                Item(
                    batch_id=self._batch_id,
                    number=self._number,
                    id=row.id,
                    line=row.line,
                    state=ItemState.QUEUED,
                    chunk=self._chunk,
                    place=len(self._inputs),
                )
            )
            self._inputs.append(row.inputs)
            self._bytes += sum(a.nbytes for a in row.inputs.values())
        if len(self._items) >= _ROWS or self._bytes >= _BYTES:
            self.flush()

    def flush(self) -> None:
        """Stores the current chunk."""
        key = None
        if self._inputs:
            names = self._inputs[0]
            stacked = {name: np.stack([i[name] for i in self._inputs]) for name in names}
            key = self._artifacts.new_private_key()
            self._artifacts.put_private(key, store_input(stacked))
        try:
            if self._items:
                chunk = self._chunk if key else None
                self._store.add_items(self._batch_id, self._items, chunk, key)
        except ZkmlError:
            if key:
                self._artifacts.delete_private(key)
            raise
        self._chunk += 1
        self._items, self._inputs, self._bytes = [], [], 0

    def _failed(self, row: BadRow) -> Item:
        return Item(
            batch_id=self._batch_id,
            number=self._number,
            id=row.id,
            line=row.line,
            state=ItemState.FAILED,
            problem=problem_of_item(row.error, self._request),
        )


def load_inputs(
    store: Store, artifacts: Artifacts, batch_id: str, items: Iterable[Item]
) -> Iterator[tuple[Item, Inputs]]:
    """The inputs of items, with one chunk in memory at a time. Items sorted by number read each
    chunk once."""
    keys = store.chunk_keys(batch_id)
    at, held = None, Inputs()
    for item in items:
        assert item.chunk is not None
        assert item.place is not None
        if item.chunk != at:
            at, held = item.chunk, load_input(artifacts.get_private(keys[item.chunk]))
        yield item, {name: values[item.place] for name, values in held.items()}


def queued_items(store: Store, batch_id: str, pack_id: str | None = None) -> Iterator[Item]:
    """Items still to be proved, in order, a page at a time."""
    after = 0
    while page := store.items(
        batch_id, after=after, limit=500, state=ItemState.QUEUED, pack_id=pack_id
    ):
        yield from page
        after = page[-1].number
