"""One row of a batch file: valid, or with its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from circuits.errors import ZkmlError
from prover.records.batch_errors import RowId

MAX_ID = 200


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row whose values fit the model's signature. ``line`` counts from 1 (in an ``.npz``: rows).

    ``id`` is the row's id, or its number from 1; ``unused`` lists values that are not inputs of the
    model.
    """

    line: int
    id: str
    inputs: dict[str, NDArray[Any]]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that cannot be proved, and why. ``id`` is None if it could not be read."""

    line: int
    id: str | None
    error: ZkmlError


def row_id(value: object, number: int) -> str:
    """A row's id from the file, or its number. Raises ``RowId``."""
    if value is None:
        return str(number)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID or not value.isprintable():
        raise RowId
    return value
