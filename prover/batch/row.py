"""One row of a batch file: what can be proved, or what is wrong with it."""

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

    ``id`` is the row's own, or its number, from 1; ``unused`` names what the model has no input
    for.
    """

    line: int
    id: str
    inputs: dict[str, NDArray[Any]]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that cannot be proved, and why. ``id`` is None where it could not be read."""

    line: int
    id: str | None
    error: ZkmlError


def row_id(value: object, number: int) -> str:
    """A row's id from what the file says, or from its number. Raises ``RowId``."""
    if value is None:
        return str(number)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID or not value.isprintable():
        raise RowId
    return value
