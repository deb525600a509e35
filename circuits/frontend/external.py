"""Weights that an exporter put beside the model, taken into it: of its own folder or archive only.

A file is named by the model, which nobody has vouched for. So it has to be a plain file of that
very folder, no link, as large as what is read from it, and all of it together within a limit.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from circuits.errors import ExternalData, ModelTooLarge, NotOnnx, ZkmlError

#: What every model with external data has in it, and few others.
MARK = b"location"


#: Bytes of a data file: of which name, from where on, how many (-1: all that are left), and how
#: many are allowed.
_Read = Callable[[str, int, int, int], bytes]


class _Unreadable(Exception):
    """Why a data file cannot be read, as the end of a sentence about it."""


def embed_external(data: bytes, folder: Path, limit: int) -> bytes:
    """The model with its external data inside; the same bytes where it has none, or is no model.

    Raises ``ExternalData`` naming tensor and file for data that cannot be read, ``ModelTooLarge``
    where all of it has more than ``limit`` bytes.
    """
    return _embedded(data, partial(_of_folder, folder), limit)


def unpacked(archive: bytes, limit: int) -> bytes:
    """The model of a zip archive that holds one ``.onnx`` file and its data files, in one piece.

    Raises ``NotOnnx`` for an archive without exactly one model, and as ``embed_external`` does.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = {e.filename: e for e in opened.infolist() if not e.is_dir()}
            models = [name for name in entries if name.endswith(".onnx") and "/" not in name]
            if len(models) != 1:
                raise NotOnnx(
                    f"the archive has {len(models)} .onnx files at its top, and one is wanted",
                    advice="Zip the model and its data file together, without a folder.",
                )
            if sum(e.file_size for e in entries.values()) > limit:
                raise ModelTooLarge(
                    f"the archive unpacks to more than the {limit} bytes that are allowed",
                    advice="Raise ZKML_MAX_MODEL_BYTES.",
                )
            files = {name: opened.read(entry) for name, entry in entries.items()}
    except ZkmlError:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen types for a file made to harm
        raise NotOnnx("the file is a damaged zip archive") from error
    return _embedded(files[models[0]], partial(_of_archive, files), limit)


def _embedded(data: bytes, read: _Read, limit: int) -> bytes:
    if MARK not in data:
        return data
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        return data  # whoever reads it says what is wrong
    found = [t for t in _tensors(model.graph) if t.data_location == TensorProto.EXTERNAL]
    room = limit - len(data)
    for tensor in found:
        room -= _embed(tensor, read, room)
    return bytes(model.SerializeToString(deterministic=True)) if found else data


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from _of_attribute(attribute)


def _of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    if attribute.HasField("g"):
        yield from _tensors(attribute.g)
    for graph in attribute.graphs:
        yield from _tensors(graph)


def _embed(tensor: TensorProto, read: _Read, room: int) -> int:
    """Takes one tensor's data in; how many bytes it has."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"initializer {tensor.name!r}"
    name = entries.get("location", "")
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise _refused(tensor, f"{where} names the file {name[:80]!r}, which is none of its folder")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
    except ValueError:
        raise _refused(tensor, f"{where} says no number where its data begins or ends") from None
    try:
        tensor.raw_data = read(name, offset, length, room)
    except _Unreadable as error:
        raise _refused(tensor, f"{where} keeps its values in {name!r}, which {error}") from None
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
    return len(tensor.raw_data)


def _of_folder(folder: Path, name: str, offset: int, length: int, room: int) -> bytes:
    try:
        # Neither a link nor a pipe: what is opened is what was looked at.
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        link = (folder / name).is_symlink()
        raise _Unreadable("is a link" if link else str(error.strerror)) from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _Unreadable("is no plain file")
        length = _length(name, offset, length, status.st_size, room)
        file.seek(offset)
        return file.read(length)


def _of_archive(
    files: Mapping[str, bytes], name: str, offset: int, length: int, room: int
) -> bytes:
    if name not in files:
        raise _Unreadable("is not in the archive")
    length = _length(name, offset, length, len(files[name]), room)
    return files[name][offset : offset + length]


def _length(name: str, offset: int, length: int, size: int, room: int) -> int:
    """How many bytes there are to read."""
    length = size - offset if length < 0 else length
    if offset < 0 or length < 0 or offset + length > size:
        raise _Unreadable(f"has {size} bytes, and {length} are wanted from {offset} on")
    if length > room:
        raise ModelTooLarge(
            f"the model's data files have more bytes than are allowed ({name!r}, {length})",
            advice="Raise ZKML_MAX_MODEL_BYTES.",
        )
    return length


def _refused(tensor: TensorProto, detail: str) -> ExternalData:
    return ExternalData(
        detail,
        advice="Keep the data file beside the model, as the exporter wrote it, or export one file.",
        tensor=tensor.name,
    )
