"""Weights that an exporter put beside the model, taken into it: from its own folder only.

A file is named by the model, which nobody has vouched for. So it has to be a plain file of that
very folder, no link, as large as what is read from it, and all of it together within a limit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from circuits.errors import ExternalData, ModelTooLarge

#: What every model with external data has in it, and few others.
MARK = b"location"


def embed_external(data: bytes, folder: Path, limit: int) -> bytes:
    """The model with its external data inside; the same bytes where it has none, or is no model.

    Raises ``ExternalData`` naming tensor and file for data that cannot be read, ``ModelTooLarge``
    where all of it has more than ``limit`` bytes.
    """
    if MARK not in data:
        return data
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        return data  # whoever reads it says what is wrong
    found = [t for t in _tensors(model.graph) if t.data_location == TensorProto.EXTERNAL]
    total = len(data)
    for tensor in found:
        total += _embed(tensor, folder, limit - total)
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


def _embed(tensor: TensorProto, folder: Path, room: int) -> int:
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
        # Neither a link nor a pipe: what is opened is what was looked at.
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = "is a link" if (folder / name).is_symlink() else error.strerror
        raise _refused(tensor, f"{where} keeps its values in {name!r}, which {reason}") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _refused(tensor, f"{where} keeps its values in {name!r}, which is no plain file")
        length = status.st_size - offset if length < 0 else length
        if offset < 0 or length < 0 or offset + length > status.st_size:
            raise _refused(
                tensor,
                f"{where} wants {length} bytes from {offset} on of {name!r}, which has"
                f" {status.st_size}",
            )
        if length > room:
            raise ModelTooLarge(
                f"the model's data files have more bytes than are allowed ({name!r}, {length})",
                advice="Raise ZKML_MAX_MODEL_BYTES.",
            )
        file.seek(offset)
        tensor.raw_data = file.read(length)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
    return length


def _refused(tensor: TensorProto, detail: str) -> ExternalData:
    return ExternalData(
        detail,
        advice="Keep the data file beside the model, as the exporter wrote it, or export one file.",
        tensor=tensor.name,
    )
