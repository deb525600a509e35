"""The input as a file, ``input.json``, and its published digest.

``input.json`` is canonical JSON: ``{"inputs":[{"dtype","name","shape","values"}, …]}`` in the
model's order, values row-major, float32 values as doubles: 0 where one is missing, which the mask
beside it says, and a category's place for its text. A public input is published with its
plain SHA-256. The commitment to any other input is salted, so that guesses cannot be confirmed.
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

    Raises ``ValueError`` unless it is exactly what ``input_json`` writes for these tensors: every
    number is representable in the dtype and in its canonical notation.
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
        with np.errstate(all="ignore"):  # checked below
            inputs[tensor.name] = np.array(values).astype(tensor.dtype).reshape(tensor.shape)
    if input_json(encodings, inputs) != data:
        raise ValueError("a number does not fit its tensor's dtype")
    for tensor in (e.tensor for e in encodings):
        if tensor.missing_of is not None and inputs[tensor.missing_of][inputs[tensor.name]].any():
            raise ValueError(f"{tensor.missing_of}: a value where it is missing")
        if tensor.column_of is not None and inputs[tensor.column_of][:, tensor.column].any():
            raise ValueError(f"{tensor.column_of}: a number where a category stands")
    return inputs


def commit(document: bytes, salt: bytes | None) -> str:
    """The published digest of an ``input.json``; salted unless the input is public."""
    if salt is None:
        return sha256(document)
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    return sha256(_SALTED + salt + document)
