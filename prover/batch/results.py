"""A batch's results as files: a line per row, a summary, and one bundle of all proofs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

from prover.batch.bundle import BatchBundleWriter
from prover.batch.progress import progress_of
from prover.batch.service import BatchService, SharedFiles
from prover.logs import get_logger
from prover.records.batch import Batch, Item, ItemState
from prover.statement.bundle import write_bundle
from prover.store import Store

RESULTS, SUMMARY, BUNDLE, PARQUET = "results.jsonl", "summary.json", "batch.zkml", "results.parquet"
_PAGE = 500
_ROWS_A_GROUP = 1000
_COLUMNS = (
    *("id", "number", "line", "state", "outputs"),
    *("max_absolute", "max_relative", "same_top1", "inexact"),
    *("receipt", "proof", "lane", "problem"),
)
_log = get_logger(__name__)


def items_of(store: Store, batch_id: str, state: ItemState | None = None) -> Iterator[Item]:
    """The batch's items in order, with one page in memory at a time."""
    after = 0
    while page := store.items(batch_id, after=after, limit=_PAGE, state=state):
        yield from page
        after = page[-1].number


def line_of(item: Item) -> dict[str, Any]:
    """One line of ``results.jsonl``."""
    line: dict[str, Any] = {
        "id": item.id,
        "number": item.number,
        "line": item.line,
        "state": item.state.value,
    }
    if item.result is not None:
        line |= {
            "outputs": item.result["outputs"],
            "error": item.result.get("error"),
            "receipt": item.result["receipt"],
            "proof": item.pack_id,
            "lane": item.lane,
        }
        if item.result["input_salt"]:
            line["input_salt"] = item.result["input_salt"]
        if item.result.get("input_identity"):
            line["input_identity"] = item.result["input_identity"]
    if item.problem is not None:
        line["problem"] = item.problem
    return line


def jsonl(store: Store, batch_id: str) -> Iterator[bytes]:
    """``results.jsonl``, line by line."""
    for item in items_of(store, batch_id):
        yield json.dumps(line_of(item), ensure_ascii=False).encode() + b"\n"


class ResultsStream:
    """``results.jsonl`` of a running batch: the rows before the first unfinished one."""

    def __init__(self, store: Store, batch_id: str, path: Path) -> None:
        self._store, self._batch_id, self._path = store, batch_id, path
        self._last = 0
        path.write_bytes(b"")

    def advance(self) -> None:
        """Appends the rows that have ended since the last call. Raises ``OSError``."""
        while page := self._store.items(self._batch_id, after=self._last, limit=_PAGE):
            ended = list(takewhile(lambda i: i.state is not ItemState.QUEUED, page))
            with self._path.open("ab") as out:
                for item in ended:
                    out.write(json.dumps(line_of(item), ensure_ascii=False).encode() + b"\n")
            if ended:
                self._last = ended[-1].number
            if len(ended) < len(page):
                return


def summary_of(batch: Batch, codes: dict[str, int], costs: dict[str, int | None]) -> dict[str, Any]:
    """``summary.json``: state, duration, and error counts by code."""
    ended = batch.finished_at
    return {
        "batch": batch.id,
        "model": batch.model_id,
        "circuit": batch.circuit_id,
        "state": batch.state.value,
        **progress_of(batch),
        "seconds": round((ended - batch.created_at).total_seconds(), 3) if ended else None,
        **costs,
        "problems": codes,
        "plan": batch.plan,
    }


def write_results(service: BatchService, batch_id: str, folder: Path, *, each: bool) -> list[Path]:
    """Writes results, summary and bundle into the folder; with ``each`` also every item's own
    bundle, as ``items/NUMBER.zkml``. Returns the paths. Raises ``OSError``."""
    store = service.services.store
    codes: dict[str, int] = {}
    with (folder / RESULTS).open("wb") as out:
        for item in items_of(store, batch_id):
            if item.problem is not None:
                code = str(item.problem["code"])
                codes[code] = codes.get(code, 0) + 1
            out.write(json.dumps(line_of(item), ensure_ascii=False).encode() + b"\n")
    summary = summary_of(store.batch(batch_id), codes, store.batch_costs(batch_id))
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    written = [folder / RESULTS, folder / SUMMARY]
    if summary["done"]:
        items = folder / "items" if each else None
        if items is not None:
            items.mkdir(exist_ok=True)
        write_bundle_file(service, batch_id, folder / BUNDLE, items)
        written.append(folder / BUNDLE)
        if _write_parquet(store, batch_id, folder / PARQUET):
            written.append(folder / PARQUET)
    return written


def write_bundle_file(
    service: BatchService, batch_id: str, path: Path, items: Path | None = None
) -> None:
    """Writes the bundle of all proved items atomically; with a folder ``items`` also each item's
    own bundle. Raises ``OSError`` and ``BundleTooLarge``."""
    shared = SharedFiles(service.services)
    staged = path.with_name(f".{path.name}.part")
    try:
        with staged.open("wb") as out:
            writer = BatchBundleWriter(out, batch_id)
            for item in items_of(service.services.store, batch_id, ItemState.PROVED):
                members = service.members(item, shared)
                writer.add(item.id, item.number, members)
                if items is not None:
                    (items / f"{item.number}.zkml").write_bytes(write_bundle(members))
            writer.close()
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _write_parquet(store: Store, batch_id: str, path: Path) -> bool:
    """The results as a table, if pyarrow is installed; nested values as JSON text."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return False
    kinds = {name: pa.int64() for name in ("number", "line", "lane")}
    kinds |= {name: pa.float64() for name in ("max_absolute", "max_relative")}
    kinds |= {name: pa.bool_() for name in ("same_top1", "inexact")}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in _COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        rows: list[dict[str, Any]] = []
        for item in items_of(store, batch_id):
            line = line_of(item)
            line |= line.pop("error", None) or {}
            for name in ("outputs", "problem"):
                line[name] = json.dumps(line[name]) if name in line else None
            rows.append({field.name: line.get(field.name) for field in schema})
            if len(rows) == _ROWS_A_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))
    return True
