"""A single input: parsed from JSON or a file and checked against the model's signature.

The formats are those of ``circuits.format.input_forms``, with one row. The result is arrays of
finite numbers in the model's shapes: no text or path of a client reaches the engine.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputShape
from circuits.format.field import Felts, to_felt
from circuits.format.input_forms import Columns, by_name, read_columns, read_payload
from circuits.format.manifest import CircuitManifest
from circuits.format.tensors import Signature
from prover.statement.context import Context

Arrays = dict[str, NDArray[Any]]


def read_input(data: bytes, signature: Signature) -> tuple[Arrays, tuple[str, ...]]:
    """The input in a file's bytes, and the ignored names.

    Raises the ``InputError`` family.
    """
    return _single(read_columns(data, signature), signature)


def parse_input(payload: object, signature: Signature) -> tuple[Arrays, tuple[str, ...]]:
    """The same for a decoded JSON body, whose other keys are ignored here.

    Raises ``InputNames``, ``InputShape``, ``InputType``, ``InputNotFinite`` or ``InputError``,
    naming the input and what was expected.
    """
    return _single(read_payload(payload, signature), signature)


def check_inputs(named: Mapping[str, Any], signature: Signature) -> Arrays:
    """Arrays in the signature's shapes and dtypes, from nested lists or arrays by name."""
    return _single(by_name(named, signature), signature)[0]


def _single(columns: Columns, signature: Signature) -> tuple[Arrays, tuple[str, ...]]:
    if columns.rows != 1:
        first = signature.inputs[0]
        raise InputShape(
            f"expected one input, got {columns.rows}: {first.name!r} has the shape"
            f" {[columns.rows, *first.shape]}, the model wants {list(first.shape)}",
            advice="Prove many inputs as a batch: `zkml batch MODEL FILE -o DIR`, or POST"
            " /v1/batches.",
            rows=columns.rows,
            expected=list(first.shape),
        )
    return columns.row(0), columns.unused


def store_input(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Checked inputs as bytes for the artifact store, where they stay until the job ends.

    Arrays are stored by position with a list of names, since numpy restricts names and ONNX does
    not.
    """
    out = io.BytesIO()
    names = np.frombuffer(json.dumps(list(arrays)).encode(), dtype=np.uint8)
    np.savez(out, names, *arrays.values())
    return out.getvalue()


def load_input(data: bytes) -> Arrays:
    """Reads the bytes of ``store_input``."""
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        names = json.loads(loaded["arr_0"].tobytes())
        return {name: loaded[f"arr_{at}"] for at, name in enumerate(names, start=1)}


def encode(
    manifest: CircuitManifest, inputs: dict[str, NDArray[Any]], context: Context
) -> list[Felts]:
    """The engine's input: inputs as field elements, then the context.

    Raises ``InputOutOfRange`` for a value that the circuit does not accept.
    """
    felts = [[to_felt(n) for n in e.quantise(inputs[e.tensor.name])] for e in manifest.inputs]
    if manifest.context.limbs:
        felts.append(manifest.context.encode(context.digest))
    return felts
