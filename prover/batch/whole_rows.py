"""Files that are read as a whole: one JSON document of many rows, and numpy's ``.npy``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from circuits.errors import ZkmlError
from circuits.format.input_forms import NPY, Columns, read_columns
from circuits.format.tensors import Signature
from prover.batch.row import BadRow, Row
from prover.records.batch_errors import BatchFormat

#: The largest file that is held.
_MOST = 64 << 20


def is_whole(path: Path, start: bytes) -> bool:
    """Whether the file is an ``.npy``, or JSON that is not one object on each line."""
    if start[:6] == NPY:
        return True
    if start.lstrip()[:1] != b"{":
        return False
    with path.open("rb") as handle:
        first = handle.readline(_MOST)
        # A line of its own ends the object that it begins; else the document continues.
        while first and not first.strip():
            first = handle.readline(_MOST)
        more = handle.read(1 << 16).strip()
    return not first.rstrip().endswith(b"}") or (not more and b'"id"' not in first)


def read(path: Path, signature: Signature) -> Iterator[Row | BadRow]:
    """The rows of the document; one that does not fit the model is one bad row."""
    if path.stat().st_size > _MOST:
        raise BatchFormat(
            f"a file of this form is read as a whole, and has more than {_MOST >> 20} MiB",
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
