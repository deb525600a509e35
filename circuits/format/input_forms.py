"""The forms in which inputs come, read by one reader: a single input, a batch, calibration data.

==========  ======================================================================================
JSON        ``{"inputs": {name: nested list}}`` or EZKL's ``{"input_data": [[…], …]}``: a list for
            each input, flat or nested; or a list for each row, where the model has one input
JSON lines  one such object a line
CSV         a header that names each element (``x[0],x[1],…``, or ``x`` alone), in any order; for a
            model of one input also any other header, or none, with a column for each element
``.npz``    an array for each input, by name (for a model of one input also ``arr_0``)
``.npy``    an array, for a model of one input
==========  ======================================================================================

Where a value may be missing, null, NaN and an empty cell say so; a category is its text. Both come
back as the circuit takes them: 0 and true in the input's mask, and the text's place in its list.

Whatever the form, an input has one row (the model's own shape), or many: ``[N, *shape]``. Where the
model's shape begins with a batch of 1, one row may leave it out, and many are ``[N, …]``. What the
model has no input for is left out and named.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputError, InputNames, InputShape, InputType
from circuits.format.npz import MAGIC, read_npy, read_npz
from circuits.format.tensors import Signature, TensorSpec
from circuits.format.values import apart, cast, numbers

NPY = b"\x93NUMPY"
ID = "id"
FORMS = (
    'Send {"inputs": {name: nested list}}, EZKL\'s {"input_data": [[…]]}, JSON lines of either,'
    " .csv, .npz or .npy."
)
#: So many of the columns that are wanted are named.
_SHOWN = 3
#: Cells of a missing value.
_NONE = frozenset({"", "na", "nan", "none", "null"})


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Each input's rows, ``[N, *shape]`` in the model's dtype; ``unused``: the names of what was
    sent and the model has no input for (``input_data[2]`` for EZKL's lists)."""

    arrays: dict[str, NDArray[Any]]
    unused: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return min(len(a) for a in self.arrays.values())

    def row(self, at: int) -> dict[str, NDArray[Any]]:
        """One row, each input in the model's shape."""
        return {name: np.asarray(values[at]) for name, values in self.arrays.items()}


def read_columns(data: bytes, signature: Signature) -> Columns:
    """The rows of a file of any form. Raises the ``InputError`` family."""
    if data[:4] == MAGIC:
        try:
            return by_name(read_npz(data), signature)
        except ValueError as error:
            raise InputError(f"the .npz file {error}") from None
    if data[:6] == NPY:
        try:
            return by_name({_only(signature).name: read_npy(data)}, signature)
        except ValueError as error:
            raise InputError(f"the .npy file {error}") from None
    if not data.strip():
        raise InputError("the file is empty", advice=FORMS)
    if data.lstrip()[:1] not in (b"{", b"["):
        return _read_csv(data, signature)
    return _joined([read_payload(p, signature) for p in _json(data)], signature)


def _json(data: bytes) -> list[Any]:
    """One document, or one on each line."""
    try:
        text = data.decode("utf-8-sig")
        try:
            return [json.loads(text)]
        except json.JSONDecodeError as error:
            lines = [line for line in text.splitlines() if line.strip()]
            if len(lines) < 2 or not lines[0].rstrip().endswith("}"):
                raise error
            return [json.loads(line) for line in lines]
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(
            f"the file is neither JSON, JSON lines, .csv, .npz nor .npy{where}", advice=FORMS
        ) from None


def read_payload(payload: object, signature: Signature) -> Columns:
    """The rows of a decoded JSON object; other keys of it are the caller's business."""
    if not isinstance(payload, dict):
        raise InputError("the input is not a JSON object", advice=FORMS)
    if "inputs" in payload and "input_data" in payload:
        raise InputError('the input has both "inputs" and "input_data"', advice=FORMS)
    if "inputs" in payload:
        if not isinstance(payload["inputs"], dict):
            raise InputError('"inputs" must be an object of name and nested list', advice=FORMS)
        return by_name(payload["inputs"], signature)
    if "input_data" in payload:
        return _by_position(payload["input_data"], signature)
    raise InputError('the input has neither "inputs" nor "input_data"', advice=FORMS)


def by_name(named: Mapping[str, Any], signature: Signature) -> Columns:
    """Rows from nested lists or arrays by the inputs' names."""
    expected = [t.name for t in signature.sent]
    if len(expected) == 1 and expected[0] not in named and set(named) == {"arr_0"}:
        named = {expected[0]: named["arr_0"]}
    missing = [name for name in expected if name not in named]
    unknown = [str(name) for name in named if name not in expected and name != ID]
    if missing:
        there = f", and there is no input {unknown[0][:80]!r}" if unknown else ""
        raise InputNames(
            f"input {missing[0]!r} is missing{there}",
            advice=f"The model's inputs are {', '.join(repr(n) for n in expected)}.",
            expected=list(expected),
            got=[str(name)[:80] for name in named],
        )
    masks = signature.masks
    arrays = {
        t.name: _rows(numbers(named[t.name], t, t.name in masks), t, t.name in masks)
        for t in signature.sent
    }
    return _checked(arrays, signature, tuple(name[:80] for name in unknown))


def _rows(array: NDArray[Any], tensor: TensorSpec, missing: bool) -> NDArray[Any]:
    """An array of the model's shape, also without its batch of 1, or of many times that, as
    ``[N, *shape]``."""
    shape = tensor.shape
    if array.shape == shape or (shape[:1] == (1,) and array.shape == shape[1:]):
        stacked = array.reshape(1, *shape)
    elif array.shape[1:] == shape and array.ndim == len(shape) + 1:
        stacked = array
    elif (
        shape
        and shape[0]
        and array.ndim == len(shape)
        and array.shape[1:] == shape[1:]
        and len(array) % shape[0] == 0
    ):
        stacked = array.reshape(-1, *shape)
    else:
        raise InputShape(
            f"input {tensor.name!r} has the shape {list(array.shape)}, the model wants"
            f" {list(shape)}, or [N, …] for N rows",
            input=tensor.name,
            expected=list(shape),
            got=list(array.shape),
        )
    return cast(stacked, tensor, missing)


def _by_position(data: object, signature: Signature) -> Columns:
    """EZKL's lists: one for each input, flat or nested; or, for one input, one for each row."""
    if not isinstance(data, list):
        raise InputError("input_data must be a list with one list for each input", advice=FORMS)
    inputs, masks = signature.sent, signature.masks
    if len(inputs) == 1 and len(data) > 1 and _are_rows(data, inputs[0]):
        missing = inputs[0].name in masks
        rows = [numbers(row, inputs[0], missing).reshape(inputs[0].shape) for row in data]
        read = {inputs[0].name: cast(np.stack(rows), inputs[0], missing)}
        return _checked(read, signature, ())
    if len(data) < len(inputs):
        raise InputNames(
            f"input_data has {len(data)} lists, the model has {len(inputs)} inputs",
            advice=f"In order: {', '.join(repr(t.name) for t in inputs)}.",
        )
    arrays = {
        t.name: _flat_rows(numbers(values, t, t.name in masks), t, t.name in masks)
        for t, values in zip(inputs, data, strict=False)
    }
    unused = tuple(f"input_data[{i}]" for i in range(len(inputs), len(data)))
    return _checked(arrays, signature, unused)


def _are_rows(data: list[Any], tensor: TensorSpec) -> bool:
    """Whether each list is a row of the only input: as many numbers as it has elements."""
    return all(isinstance(row, list) and _count(row) == tensor.size for row in data)


def _count(values: list[Any]) -> int:
    """Leaves of nested lists. Iterative: a client chooses the depth."""
    stack, count = list(values), 0
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        else:
            count += 1
    return count


def _flat_rows(values: NDArray[Any], tensor: TensorSpec, missing: bool) -> NDArray[Any]:
    """Any nesting with the right number of elements, or a multiple of it."""
    if not values.size or not tensor.size or values.size % tensor.size:
        raise InputShape(
            f"input {tensor.name!r} has {values.size} values, the model wants {tensor.size}"
            f" (shape {list(tensor.shape)})",
            input=tensor.name,
            expected=list(tensor.shape),
        )
    return cast(values.reshape(-1, *tensor.shape), tensor, missing)


def _checked(
    arrays: dict[str, NDArray[Any]], signature: Signature, unused: tuple[str, ...]
) -> Columns:
    counts = {name: len(values) for name, values in arrays.items()}
    if len(set(counts.values())) > 1:
        raise InputShape(f"the inputs have different numbers of rows: {counts}")
    return Columns(arrays=apart(arrays, signature), unused=unused)


def _joined(parts: Sequence[Columns], signature: Signature) -> Columns:
    if len(parts) == 1:
        return parts[0]
    arrays = {n: np.concatenate([p.arrays[n] for p in parts]) for n in signature.names}
    return Columns(arrays=arrays, unused=tuple(dict.fromkeys(n for p in parts for n in p.unused)))


def _only(signature: Signature) -> TensorSpec:
    """The only input of a model that has one."""
    if len(signature.sent) != 1:
        raise InputNames(
            f"the file names no inputs, and the model has {len(signature.sent)}",
            advice=f"Name them in an .npz: {', '.join(repr(t.name) for t in signature.sent)}.",
        )
    return signature.sent[0]


# --- tables ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """What the columns of a table are. ``names`` are the texts of its first line, or of none where
    the table has no header; ``wanted`` gives each input's columns in row-major order."""

    names: tuple[str, ...]
    wanted: dict[str, tuple[int, ...]]
    has_line: bool
    unused: tuple[str, ...] = ()

    @property
    def id_column(self) -> int | None:
        return self.names.index(ID) if ID in self.names and self.has_line else None


def column_names(tensor: TensorSpec) -> list[str]:
    """The columns of one input, in row-major order."""
    if tensor.size == 1:
        return [tensor.name]
    return [f"{tensor.name}[{i}]" for i in range(tensor.size)]


def read_header(cells: Sequence[str], signature: Signature) -> Header:
    """What the first line of a table says. Raises ``InputNames`` where it does not fit the model.

    A table without names for the elements is taken in the order of its columns, where the model has
    one input of as many elements.
    """
    names = tuple(cells)
    wanted = {t.name: column_names(t) for t in signature.sent}
    every = [name for columns in wanted.values() for name in columns]
    own = [name for name in names if name != ID]
    if len(set(names)) == len(names) and set(every) <= set(names):
        places = {n: tuple(names.index(c) for c in columns) for n, columns in wanted.items()}
        unused = tuple(name[:80] for name in own if name not in set(every))
        return Header(names, places, has_line=True, unused=unused)
    if len(signature.sent) == 1 and not set(every) & set(names):
        tensor = signature.sent[0]
        without_header = _is_row(names, tensor, tensor.name in signature.masks)
        if len(own) == tensor.size and len(names) - len(own) in (0, 1):
            order = tuple(i for i, name in enumerate(names) if name != ID)
            return Header(names, {tensor.name: order}, has_line=not without_header)
    missing = [name for name in every if name not in set(names)]
    what = f"it lacks {missing[0]!r}" if missing else "a column is there twice"
    shown = ", ".join(every[:_SHOWN]) + (", …" if len(every) > _SHOWN else "")
    raise InputNames(
        f"the header does not fit the model: {what}",
        advice=f"The columns are {shown} ({len(every)} in total), and optionally id.",
        missing=missing[:_SHOWN],
        got=[name[:80] for name in own[:_SHOWN]],
    )


def cells_of(text: bytes) -> list[str]:
    """The cells of one line. Raises ``InputError``."""
    try:
        (cells,) = csv.reader([text.decode("utf-8-sig")], strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise InputError("the line is not comma-separated text in UTF-8") from None
    return [cell.strip() for cell in cells]


def row_of_cells(
    cells: Sequence[str], header: Header, signature: Signature
) -> dict[str, NDArray[Any]]:
    """One row of a table, each input in the model's shape. Raises the ``InputError`` family."""
    if len(cells) != len(header.names):
        raise InputError(f"the row has {len(cells)} cells, the header {len(header.names)}")
    masks = signature.masks
    arrays = {
        t.name: _cell_values(t, cells, header.wanted[t.name], t.name in masks)
        for t in signature.sent
    }
    return apart(arrays, signature)


def _cell_values(
    tensor: TensorSpec, cells: Sequence[str], places: Sequence[int], missing: bool
) -> NDArray[Any]:
    if tensor.categories is not None:
        found = numbers([cells[i] for i in places], tensor)
        return cast(found.reshape(tensor.shape), tensor)
    found = np.empty(len(places))
    for at, place in enumerate(places):
        try:
            found[at] = _number(cells[place], missing)
        except ValueError:
            raise InputType(
                f"input {tensor.name!r} has {cells[place][:40]!r} in column"
                f" {column_names(tensor)[at]!r}, which is no number",
                input=tensor.name,
                expected=tensor.dtype,
            ) from None
    row: NDArray[Any] = cast(found.reshape(1, *tensor.shape), tensor, missing)[0]
    return row


def _number(cell: str, missing: bool) -> float:
    return math.nan if missing and cell.lower() in _NONE else float(cell)


def _is_row(cells: Sequence[str], tensor: TensorSpec, missing: bool) -> bool:
    """Whether these are values, not names."""
    if tensor.categories is not None:
        return all(cell in tensor.categories for cell in cells)
    given = [cell for cell in cells if not (missing and cell.lower() in _NONE)]
    return all(_is_number(cell) for cell in given)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _read_csv(data: bytes, signature: Signature) -> Columns:
    try:
        if b"\0" in data:
            raise ValueError
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise InputError(
            "the file is neither JSON, JSON lines, .csv, .npz nor .npy", advice=FORMS
        ) from None
    rows = [[cell.strip() for cell in line] for line in lines if any(c.strip() for c in line)]
    header = read_header(rows[0], signature)
    if header.has_line:
        rows = rows[1:]
    if not rows:
        raise InputError("the table has a header and no row", advice=FORMS)
    read = [row_of_cells(row, header, signature) for row in rows]
    arrays = {name: np.stack([row[name] for row in read]) for name in signature.names}
    return Columns(arrays=arrays, unused=header.unused)
