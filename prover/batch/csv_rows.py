"""Tables: a header that names each element of each input, then one row a line.

The columns are ``NAME[0]``, ``NAME[1]``, … in row-major order (``NAME`` alone for an input of one
element), in any order, and optionally ``id``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputType, ZkmlError
from circuits.tensors import Signature, TensorSpec
from prover.batch.errors import BatchColumns, RowBroken
from prover.batch.lines import bounded_lines
from prover.batch.rows import BadRow, Row, row_id
from prover.inputs import check_inputs

_ID = "id"
_SHOWN = 3


def read(path: Path, signature: Signature, max_row_bytes: int) -> Iterator[Row | BadRow]:
    """The rows below the header; a header that does not fit is the one bad row."""
    columns: list[str] | None = None
    number = 0
    for line, text in bounded_lines(path, max_row_bytes):
        try:
            if isinstance(text, ZkmlError):
                raise text
            if not text.strip():
                continue
            cells = _cells(text)
            if columns is None:
                columns = _checked_header(cells, signature)
                continue
        except ZkmlError as error:
            if columns is None:
                yield BadRow(line=line, id=None, error=error)
                return
            number += 1
            yield BadRow(line=line, id=None, error=error)
            continue
        number += 1
        yield _row(line, number, columns, cells, signature)


def column_names(tensor: TensorSpec) -> list[str]:
    """The columns of one input, in row-major order."""
    if tensor.size == 1:
        return [tensor.name]
    return [f"{tensor.name}[{i}]" for i in range(tensor.size)]


def _cells(text: bytes) -> list[str]:
    try:
        (cells,) = csv.reader([text.decode("utf-8-sig")], strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise RowBroken("the line is not comma-separated text in UTF-8") from None
    return [cell.strip() for cell in cells]


def _checked_header(cells: list[str], signature: Signature) -> list[str]:
    wanted = [name for tensor in signature.inputs for name in column_names(tensor)]
    missing = [name for name in wanted if name not in set(cells)]
    unknown = [name for name in cells if name not in {_ID, *wanted}]
    if missing or unknown or len(set(cells)) != len(cells):
        what = (
            f"it lacks {missing[0]!r}"
            if missing
            else f"{unknown[0][:80]!r} is no input of the model"
            if unknown
            else "a column is there twice"
        )
        shown = ", ".join(wanted[:_SHOWN]) + (", …" if len(wanted) > _SHOWN else "")
        raise BatchColumns(
            f"the header does not fit the model: {what}",
            hint=f"The columns are {shown} ({len(wanted)} in all), and optionally id.",
            missing=missing[:_SHOWN],
            unknown=[name[:80] for name in unknown[:_SHOWN]],
        )
    return cells


def _row(
    line: int, number: int, columns: list[str], cells: list[str], signature: Signature
) -> Row | BadRow:
    name = None
    try:
        if len(cells) != len(columns):
            raise RowBroken(f"the row has {len(cells)} cells, the header {len(columns)}")
        by_column = dict(zip(columns, cells, strict=True))
        name = row_id(by_column.get(_ID) or None, number)
        inputs = {t.name: _values(t, by_column) for t in signature.inputs}
        return Row(line=line, id=name, inputs=check_inputs(inputs, signature))
    except ZkmlError as error:
        return BadRow(line=line, id=name, error=error)


def _values(tensor: TensorSpec, cells: dict[str, str]) -> NDArray[Any]:
    texts = [cells[name] for name in column_names(tensor)]
    try:
        return np.array([float(t) for t in texts], dtype=np.float64).reshape(tensor.shape)
    except ValueError:
        raise InputType(
            f"input {tensor.name!r} has a cell that is no number",
            input=tensor.name,
            expected=tensor.dtype,
        ) from None
