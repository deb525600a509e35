"""Inputs of an inference request as nested lists, from JSON or from the bytes after it.

In the protocol's binary extension ``Inference-Header-Content-Length`` is the length of the JSON,
and ``binary_data_size`` the number of bytes of each input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from api.inference.schemas import DATATYPES, InferIn, InferInput, datatype_of, flat
from api.problem import RequestInvalid
from api.requests import parse_json
from circuits.errors import InputNames, InputShape, InputType
from circuits.format.tensors import is_sent
from prover.records.job import ModelRecord

_SIZE = "binary_data_size"
_NUMPY = {protocol: numpy for numpy, protocol in DATATYPES.items()}


def parse_request(body: bytes, header_length: str | None) -> tuple[InferIn, bytes]:
    """A request, and the bytes after its JSON. Raises ``JsonInvalid``, ``RequestInvalid``."""
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit()):
            raise RequestInvalid("Inference-Header-Content-Length is not a number.")
        length = int(header_length)
        if length > len(body):
            raise RequestInvalid("Inference-Header-Content-Length is beyond the body's end.")
    try:
        request = InferIn.model_validate(parse_json(body[:length]), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise RequestInvalid(f"{where}: {first['msg']}") from None
    return request, body[length:]


def inputs_of(request: InferIn, rest: bytes, model: ModelRecord) -> dict[str, Any]:
    """Each input by name as a nested list of its shape; values are checked later.

    Raises ``InputNames``, ``InputShape``, ``InputType``, ``RequestInvalid``.
    """
    wanted = {s["name"]: s for s in model.signature["inputs"] if is_sent(s)}
    found: dict[str, Any] = {}
    for given in request.inputs:
        spec = wanted.get(given.name)
        if spec is None or given.name in found:
            raise InputNames(f"The model's inputs are {sorted(wanted)}, each once.")
        if given.datatype != datatype_of(spec):
            raise InputType(
                f"{given.name} is {given.datatype[:20]}; the model takes {datatype_of(spec)}."
            )
        if given.shape != spec["shape"]:
            raise InputShape(f"{given.name} has shape {given.shape[:10]}, not {spec['shape']}.")
        values, rest = _values(given, rest)
        if len(values) != math.prod(given.shape):
            raise InputShape(
                f"{given.name} has {len(values)} values, not {math.prod(given.shape)}."
            )
        found[given.name] = _nested(values, given.shape)
    if rest:
        raise RequestInvalid(f"{len(rest)} bytes follow the last input.")
    return found


def _values(given: InferInput, rest: bytes) -> tuple[Sequence[Any], bytes]:
    if _SIZE not in given.parameters:
        if given.data is None:
            raise InputShape(f"{given.name} has no data.")
        return flat(given.data), rest
    size = given.parameters[_SIZE]
    if type(size) is not int or not 0 <= size <= len(rest) or given.data is not None:
        raise RequestInvalid(f"{given.name}: binary_data_size does not fit the body.")
    import numpy as np

    if given.datatype not in _NUMPY:
        raise InputType(f"{given.name} is {given.datatype[:20]}, which is sent in the JSON.")
    dtype = np.dtype(_NUMPY[given.datatype]).newbyteorder("<")
    if size % dtype.itemsize:
        raise InputShape(f"{given.name} has {size} bytes, no multiple of {dtype.itemsize}.")
    return np.frombuffer(rest[:size], dtype).tolist(), rest[size:]


def _nested(values: Sequence[Any], shape: Sequence[int]) -> Any:
    if not shape:
        return values[0]
    step = len(values) // shape[0] if shape[0] else 0
    return [_nested(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]
