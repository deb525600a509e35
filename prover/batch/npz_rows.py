"""numpy's ``.npz``: one array ``[N, *shape]`` per input (``[N, …]`` if the shape has a leading
batch dimension of 1), and optionally ``id``, N strings or integers. Read row by row from disk.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from circuits.errors import ZkmlError
from circuits.format.tensors import Signature, TensorSpec
from prover.batch.row import BadRow, Row, row_id
from prover.jobs.inputs import check_inputs
from prover.records.batch_errors import BatchColumns, BatchFormat, RowBroken

_ID = "id"
_KINDS = "fiubU"


@dataclass(frozen=True)
class _Column:
    """One array of the archive, read row by row."""

    name: str
    stream: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def next(self) -> NDArray[Any]:
        """The next row. Raises ``RowBroken`` where the file ends too early."""
        wanted = self.dtype.itemsize * math.prod(self.shape[1:])
        data = self.stream.read(wanted)
        if len(data) != wanted:
            raise RowBroken(f"the array {self.name!r} ends in the middle of this row")
        return np.frombuffer(data, dtype=self.dtype).reshape(self.shape[1:])


def read(path: Path, signature: Signature) -> Iterator[Row | BadRow]:
    """The rows of the archive; arrays that do not fit the model are one bad row."""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            columns = {
                name.removesuffix(".npy"): _open(stack, archive, name)
                for name in archive.namelist()
            }
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError):
            # zipfile raises the last one for an unknown compression.
            raise BatchFormat("the file is not a readable .npz archive") from None
        try:
            sent = [*columns]
            count = _checked(columns, signature)
            unused = tuple(name[:80] for name in sent if name not in columns)
        except ZkmlError as error:
            yield BadRow(line=1, id=None, error=error)
            return
        for number in range(1, count + 1):
            row, broken = _row(number, columns, signature, unused)
            yield row
            if broken:
                return  # the rest cannot be split into rows


def _open(stack: ExitStack, archive: zipfile.ZipFile, name: str) -> _Column:
    stream = stack.enter_context(archive.open(name))
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if fortran and len(shape) > 1:
        raise BatchFormat(
            f"the array {name!r} is stored column by column",
            advice="Save numpy.ascontiguousarray(array), which is stored row by row.",
        )
    if dtype.kind not in _KINDS:
        raise BatchFormat(f"the array {name!r} holds {dtype}, which is not a number")
    return _Column(name.removesuffix(".npy"), stream, dtype, shape)


def _checked(columns: dict[str, _Column], signature: Signature) -> int:
    """The number of rows; removes arrays that are not inputs of the model.

    Raises ``BatchColumns`` for other names, shapes or lengths.
    """
    wanted = {t.name: t for t in signature.sent}
    if len(wanted) == 1 and set(columns) - {_ID} == {"arr_0"}:
        columns[signature.sent[0].name] = columns.pop("arr_0")  # numpy's default name
    missing = [n for n in wanted if n not in columns]
    unknown = [n for n in columns if n not in wanted and n != _ID]
    advice = f"The model's inputs are {', '.join(repr(n) for n in wanted)}."
    if missing:
        there = f", and has {unknown[0][:80]!r}" if unknown else ""
        raise BatchColumns(
            f"the arrays do not fit the model: the archive lacks {missing[0]!r}{there}",
            advice=advice,
        )
    for name, tensor in wanted.items():
        if columns[name].shape[1:] not in _row_shapes(tensor):
            raise BatchColumns(
                f"array {name!r} has rows of shape {list(columns[name].shape[1:])}, the model"
                f" wants {list(tensor.shape)}",
                advice=advice,
            )
    for name in unknown:
        del columns[name]
    counts = {name: column.shape[0] if column.shape else 0 for name, column in columns.items()}
    if len(set(counts.values())) > 1:
        raise BatchColumns(f"the arrays have different numbers of rows: {counts}")
    return next(iter(counts.values()))


def _row_shapes(tensor: TensorSpec) -> list[tuple[int, ...]]:
    batched = tensor.shape[:1] == (1,)
    return [tensor.shape, *([tensor.shape[1:]] if batched else [])]


def _row(
    number: int, columns: dict[str, _Column], signature: Signature, unused: tuple[str, ...]
) -> tuple[Row | BadRow, bool]:
    name = None
    try:
        values = {column: columns[column].next() for column in columns}
    except (ZkmlError, zipfile.BadZipFile, EOFError, OSError) as error:
        found = error if isinstance(error, ZkmlError) else RowBroken("the archive is damaged here")
        return BadRow(line=number, id=None, error=found), True
    try:
        given = values.pop(_ID, None) if _ID not in signature.names else None
        name = row_id(None if given is None else given.item(), number)
        inputs = {t.name: values[t.name].reshape(t.shape) for t in signature.sent}
        checked = check_inputs(inputs, signature)
        return Row(line=number, id=name, inputs=checked, unused=unused), False
    except ZkmlError as error:
        return BadRow(line=number, id=name, error=error), False
