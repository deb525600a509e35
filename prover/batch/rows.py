"""The rows of a batch file, one at a time, valid or with their error.

Memory holds one row, and eight bytes per id. An invalid row does not end the stream. An error of
the whole file is one bad row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from circuits.format.tensors import Signature
from prover.batch import csv_rows, jsonl_rows, npz_rows, whole_rows
from prover.batch.row import BadRow, Row
from prover.records.batch_errors import BatchEmpty, RowDuplicate


def read_rows(path: Path, signature: Signature, *, max_row_bytes: int) -> Iterator[Row | BadRow]:
    """The rows of a file in any input format (``circuits.format.input_forms``), in order.

    The first bytes decide the format. Raises ``OSError`` when the file cannot be read and
    ``BatchFormat`` for an archive that is not an ``.npz``.
    """
    with path.open("rb") as handle:
        start = handle.read(4096)
    if start[:4] == b"PK\x03\x04":
        rows = npz_rows.read(path, signature)
    elif whole_rows.is_whole(path, start):
        rows = whole_rows.read(path, signature)
    elif start.lstrip()[:1] in (b"{", b"[", b""):
        rows = jsonl_rows.read(path, signature, max_row_bytes)
    else:
        rows = csv_rows.read(path, signature, max_row_bytes)
    return _distinct(rows)


def _distinct(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """The rows; a row with a repeated id becomes a bad row, an empty file yields one bad row."""
    seen: dict[bytes, int] = {}
    empty = True
    for row in rows:
        empty = False
        if isinstance(row, Row):
            key = hashlib.blake2b(row.id.encode(), digest_size=8).digest()
            first = seen.setdefault(key, row.line)
            if first != row.line:
                error = RowDuplicate(f"line {first} already has the id {row.id!r}", line=first)
                yield BadRow(line=row.line, id=None, error=error)
                continue
        yield row
    if empty:
        yield BadRow(line=1, id=None, error=BatchEmpty())
