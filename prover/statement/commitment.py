"""The input as a file, and what is published of it: ``input.json`` and its digest.

``input.json`` is canonical JSON: ``{"inputs":[{"dtype","name","shape","values"}, …]}`` in the
model's order, values row-major, float32 ones widened to the double that they are. A public input
is published with its plain SHA-256. One that is not public is committed to with a salt, so that an
input which could be guessed cannot be confirmed by guessing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.format.digests import canonical_json, parse_canonical_json, sha256
from circuits.format.tensors import InputEncoding

SALT_BYTES = 32
_SALTED = b"zkml-prover/input/v1\n"


def input_json(encodings: Sequence[InputEncoding], inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """``input.json``: the values of each input, in the shape and dtype of its encoding."""
    return canonical_json(
        {
            "inputs": [
                {
                    **e.tensor.to_json(),
                    "values": np.asarray(inputs[e.tensor.name], dtype=e.tensor.dtype)
                    .reshape(-1)
                    .tolist(),
                }
                for e in encodings
            ]
        }
    )


def parse_input_json(data: bytes, encodings: Sequence[InputEncoding]) -> dict[str, NDArray[Any]]:
    """The values in an ``input.json``, in each tensor's dtype and shape.

    Raises ``ValueError`` when it is not exactly what ``input_json`` would write for these tensors:
    no number that the dtype does not hold, and each number in the dtype's own spelling.
    """
    document = parse_canonical_json(data)
    entries = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(entries, list) or set(document) != {"inputs"}:
        raise ValueError("not an object with one list under 'inputs'")
    if len(entries) != len(encodings):
        raise ValueError(f"{len(entries)} inputs, the circuit has {len(encodings)}")
    inputs: dict[str, NDArray[Any]] = {}
    for entry, encoding in zip(entries, encodings, strict=True):
        tensor = encoding.tensor
        values = entry.get("values") if isinstance(entry, dict) else None
        if not isinstance(values, list) or entry != {**tensor.to_json(), "values": values}:
            raise ValueError(f"not input {tensor.name!r} of {tensor.dtype} {tensor.shape}")
        if len(values) != tensor.size or not all(isinstance(v, int | float) for v in values):
            raise ValueError(f"{tensor.name}: not {tensor.size} numbers")
        with np.errstate(all="ignore"):  # what does not fit shows below
            inputs[tensor.name] = np.array(values).astype(tensor.dtype).reshape(tensor.shape)
    if input_json(encodings, inputs) != data:
        raise ValueError("a number in it is not one of its tensor's dtype")
    return inputs


def commit(document: bytes, salt: bytes | None) -> str:
    """The published digest of an ``input.json``; salted where the input is not public."""
    if salt is None:
        return sha256(document)
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    return sha256(_SALTED + salt + document)
