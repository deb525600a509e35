"""JSON lines: each ``{"id": …, "inputs": {name: nested list}}`` (or ``"input_data": [[…]]``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from circuits.errors import ZkmlError
from circuits.format.tensors import Signature
from prover.batch.lines import bounded_lines
from prover.batch.row import BadRow, Row, row_id
from prover.jobs.inputs import parse_input
from prover.records.batch_errors import RowBroken, RowError

_KEYS = {"id", "inputs", "input_data"}


def read(path: Path, signature: Signature, max_row_bytes: int) -> Iterator[Row | BadRow]:
    """The rows of the file; blank lines are skipped but counted as lines."""
    number = 0
    for line, text in bounded_lines(path, max_row_bytes):
        if isinstance(text, ZkmlError):
            number += 1
            yield BadRow(line=line, id=None, error=text)
            continue
        if not text.strip():
            continue
        number += 1
        yield _row(line, number, text, signature)


def _row(line: int, number: int, text: bytes, signature: Signature) -> Row | BadRow:
    name = None
    try:
        value = _object(text)
        name = row_id(value.get("id"), number)
        unknown = sorted(set(value) - _KEYS)
        if unknown:
            raise RowError(
                f"the row has a key {unknown[0][:80]!r}", advice="A row has an id and inputs."
            )
        inputs, unused = parse_input(value, signature)
        return Row(line=line, id=name, inputs=inputs, unused=unused)
    except ZkmlError as error:
        return BadRow(line=line, id=name, error=error)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RowBroken(f"the line is not JSON{where}") from None
    if not isinstance(value, dict):
        raise RowBroken("the line is JSON but no object")
    return value
