"""The rows of a batch file, one at a time: what can be proved, and what is wrong with the rest.

Nothing here holds more than one row (and, of each id, eight bytes). What is wrong with a row is
part of the stream and never ends it; what is wrong with the file as a whole is one bad row.
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
    """The rows of a file of any form (``circuits.format.input_forms``), in order.

    Which one it is is seen from its first bytes. Raises ``OSError`` when the file cannot be read
    and ``BatchFormat`` for an archive that is no ``.npz``.
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
    """The rows, later ones of a known id as bad rows; one bad row for a file without any."""
    seen: dict[bytes, int] = {}
    empty = True
    for row in rows:
        empty = False
        if isinstance(row, Row):
            key = hashlib.blake2b(row.id.encode(), digest_size=8).digest()
            first = seen.setdefault(key, row.line)
            if first != row.line:
                error = RowDuplicate(f"line {first} has the id {row.id!r} already", line=first)
                yield BadRow(line=row.line, id=None, error=error)
                continue
        yield row
    if empty:
        yield BadRow(line=1, id=None, error=BatchEmpty())
