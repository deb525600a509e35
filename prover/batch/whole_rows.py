"""Files that are read into memory: one JSON document of many rows, and numpy's ``.npy``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from circuits.errors import ZkmlError
from circuits.format.input_forms import NPY, Columns, read_columns
from circuits.format.tensors import Signature
from prover.batch.row import BadRow, Row
from prover.records.batch_errors import BatchFormat

#: The largest such file, in bytes.
_MOST = 64 << 20


def is_whole(path: Path, start: bytes) -> bool:
    """Whether the file is an ``.npy``, or JSON that is not one object on each line."""
    if start[:6] == NPY:
        return True
    if start.lstrip()[:1] != b"{":
        return False
    with path.open("rb") as handle:
        first = handle.readline(_MOST)
        # In JSON lines the first line is a complete object; otherwise it is one document.
        while first and not first.strip():
            first = handle.readline(_MOST)
        more = handle.read(1 << 16).strip()
    return not first.rstrip().endswith(b"}") or (not more and b'"id"' not in first)


def read(path: Path, signature: Signature) -> Iterator[Row | BadRow]:
    """The rows of the document; a document that does not fit the model is one bad row."""
    if path.stat().st_size > _MOST:
        raise BatchFormat(
            f"a file of this format is read into memory and may have at most {_MOST >> 20} MiB",
            advice="Send JSON lines, .csv or .npz, which are read row by row.",
        )
    try:
        columns = read_columns(path.read_bytes(), signature)
    except ZkmlError as error:
        yield BadRow(line=1, id=None, error=error)
        return
    for number in range(1, columns.rows + 1):
        yield _row(columns, number)


def _row(columns: Columns, number: int) -> Row:
    inputs = columns.row(number - 1)
    return Row(line=number, id=str(number), inputs=inputs, unused=columns.unused)
