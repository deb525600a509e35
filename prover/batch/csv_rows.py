"""Tables: a header that names each element of each input, then one row a line
(``circuits.format.input_forms``), and optionally a column ``id``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from circuits.errors import InputNames, ZkmlError
from circuits.format.input_forms import Header, cells_of, read_header, row_of_cells
from circuits.format.tensors import Signature
from prover.batch.lines import bounded_lines
from prover.batch.row import BadRow, Row, row_id
from prover.records.batch_errors import BatchColumns, RowBroken


def read(path: Path, signature: Signature, max_row_bytes: int) -> Iterator[Row | BadRow]:
    """The rows below the header; a header that does not fit is the one bad row."""
    header: Header | None = None
    number = 0
    for line, text in bounded_lines(path, max_row_bytes):
        try:
            if isinstance(text, ZkmlError):
                raise text
            if not text.strip():
                continue
            cells = _cells(text)
            if header is None:
                header = _header(cells, signature)
                if header.has_line:
                    continue
        except ZkmlError as error:
            if header is None:
                yield BadRow(line=line, id=None, error=error)
                return
            number += 1
            yield BadRow(line=line, id=None, error=error)
            continue
        number += 1
        yield _row(line, number, header, cells, signature)


def _cells(text: bytes) -> list[str]:
    try:
        return cells_of(text)
    except ZkmlError as error:
        raise RowBroken(error.detail) from None


def _header(cells: list[str], signature: Signature) -> Header:
    try:
        return read_header(cells, signature)
    except InputNames as error:
        raise BatchColumns(error.detail, advice=error.advice, **error.context) from None


def _row(
    line: int, number: int, header: Header, cells: list[str], signature: Signature
) -> Row | BadRow:
    name = None
    try:
        if len(cells) != len(header.names):
            raise RowBroken(f"the row has {len(cells)} cells, the header {len(header.names)}")
        at = header.id_column
        name = row_id(None if at is None else cells[at] or None, number)
        inputs = row_of_cells(cells, header, signature)
        return Row(line=line, id=name, inputs=inputs, unused=header.unused)
    except ZkmlError as error:
        return BadRow(line=line, id=name, error=error)
