"""A client's input: read from JSON or a file, checked against the model's own signature.

Three forms: ``{"inputs": {name: nested list}}``, EZKL's ``{"input_data": [[…], …]}`` (one list for
each input, flat or nested), and numpy's ``.npz``. Nothing of it ever reaches the engine as text or
as a path: what comes out are arrays of finite numbers in the model's shapes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import (
    InputError,
    InputNames,
    InputNotFinite,
    InputShape,
    InputType,
)
from circuits.npz import MAGIC, read_npz
from circuits.tensors import Signature, TensorSpec

Arrays = dict[str, NDArray[Any]]

_FORMS = 'Send {"inputs": {name: nested list}} or EZKL\'s {"input_data": [[…]]}.'


def read_input(data: bytes, signature: Signature) -> Arrays:
    """Inputs from a file's bytes, JSON or ``.npz``. Raises the ``InputError`` family."""
    if data[:4] == MAGIC:
        return check_inputs(_read_npz(data), signature)
    try:
        payload = json.loads(data)
    except ValueError as error:  # also for a number of more digits than Python reads
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"the input is neither JSON nor .npz{where}", hint=_FORMS) from None
    except RecursionError:
        raise InputError("the input is nested too deeply", hint=_FORMS) from None
    return parse_inputs(payload, signature)


def parse_inputs(payload: object, signature: Signature) -> Arrays:
    """Inputs from a decoded JSON body; other keys of the body are the caller's business.

    Raises ``InputNames``, ``InputShape``, ``InputType``, ``InputNotFinite`` or ``InputError``,
    naming the input and what was expected.
    """
    if not isinstance(payload, dict):
        raise InputError("the input is not a JSON object", hint=_FORMS)
    if "inputs" in payload and "input_data" in payload:
        raise InputError('the input has both "inputs" and "input_data"', hint=_FORMS)
    if "inputs" in payload:
        if not isinstance(payload["inputs"], dict):
            raise InputError('"inputs" must be an object of name and nested list', hint=_FORMS)
        return check_inputs(payload["inputs"], signature)
    if "input_data" in payload:
        return check_inputs(_by_position(payload["input_data"], signature), signature)
    raise InputError('the input has neither "inputs" nor "input_data"', hint=_FORMS)


def check_inputs(named: Mapping[str, Any], signature: Signature) -> Arrays:
    """Arrays in the signature's shapes and dtypes, from nested lists or arrays by name."""
    expected = [t.name for t in signature.inputs]
    missing = [n for n in expected if n not in named]
    unknown = [str(n) for n in named if n not in expected]
    if missing or unknown:
        what = (
            f"input {missing[0]!r} is missing" if missing else f"there is no input {unknown[0]!r}"
        )
        raise InputNames(
            what,
            hint=f"The model's inputs are {', '.join(repr(n) for n in expected)}.",
            expected=expected,
            got=[str(n)[:80] for n in named],
        )
    return {t.name: _tensor(named[t.name], t) for t in signature.inputs}


def _by_position(data: object, signature: Signature) -> dict[str, Any]:
    if not isinstance(data, list):
        raise InputError("input_data must be a list with one list for each input", hint=_FORMS)
    if len(data) != len(signature.inputs):
        raise InputNames(
            f"input_data has {len(data)} lists, the model has {len(signature.inputs)} inputs",
            hint=f"In order: {', '.join(repr(t.name) for t in signature.inputs)}.",
        )
    return {
        t.name: _reshaped(_numbers(values, t), t)
        for t, values in zip(signature.inputs, data, strict=True)
    }


def _reshaped(values: NDArray[Any], tensor: TensorSpec) -> NDArray[Any]:
    """EZKL's flat lists: any nesting with the right number of elements."""
    if values.size != tensor.size:
        raise InputShape(
            f"input {tensor.name!r} has {values.size} values, the model wants {tensor.size}"
            f" (shape {list(tensor.shape)})",
            input=tensor.name,
            expected=list(tensor.shape),
        )
    return values.reshape(tensor.shape)


def _tensor(values: Any, tensor: TensorSpec) -> NDArray[Any]:
    array = _numbers(values, tensor)
    if array.shape != tensor.shape:
        raise InputShape(
            f"input {tensor.name!r} has the shape {list(array.shape)}, the model wants"
            f" {list(tensor.shape)}",
            input=tensor.name,
            expected=list(tensor.shape),
            got=list(array.shape),
        )
    return _cast(array, tensor)


def _numbers(values: Any, tensor: TensorSpec) -> NDArray[Any]:
    """A numeric array of whatever shape was sent; refuses text, nulls, booleans for numbers."""
    if not isinstance(values, np.ndarray):
        _refuse_non_numbers(values, tensor)
    try:
        array = np.asarray(values)
        if array.dtype == object:  # integers beyond 64 bits
            array = array.astype(np.float64)
    except OverflowError:
        raise InputNotFinite(
            f"input {tensor.name!r} holds a number too large for {tensor.dtype}", input=tensor.name
        ) from None
    except (ValueError, TypeError):
        raise InputShape(
            f"input {tensor.name!r} is ragged: its lists have different lengths",
            input=tensor.name,
            expected=list(tensor.shape),
        ) from None
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "b" and tensor.dtype != "bool"):
        raise _wrong_type(tensor, str(array.dtype))
    return array


def _refuse_non_numbers(values: Any, tensor: TensorSpec) -> None:
    """Raises at the first leaf that is no number. Iterative: a client chooses the depth."""
    stack = [values]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, bool):
            if tensor.dtype != "bool":
                raise _wrong_type(tensor, "a boolean")
        elif not isinstance(item, int | float):
            raise _wrong_type(tensor, _named(item))


def _named(item: object) -> str:
    """What JSON calls it."""
    if isinstance(item, str):
        return f"the text {item[:40]!r}"
    return "null" if item is None else "an object"


def _cast(array: NDArray[Any], tensor: TensorSpec) -> NDArray[Any]:
    """The array in the model's dtype; refuses what that dtype cannot hold."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputNotFinite(f"input {tensor.name!r} holds NaN or an infinity", input=tensor.name)
    if tensor.dtype.startswith("float"):
        with np.errstate(over="ignore"):
            cast = array.astype(tensor.dtype)
        if not np.isfinite(cast).all():
            raise InputNotFinite(
                f"input {tensor.name!r} holds a number too large for {tensor.dtype}",
                input=tensor.name,
            )
        return cast
    if array.dtype.kind == "f":
        if (array != np.floor(array)).any():
            raise InputType(
                f"input {tensor.name!r} holds fractions, the model wants {tensor.dtype}",
                input=tensor.name,
                expected=tensor.dtype,
            )
        array = array.astype(np.int64) if (np.abs(array) < 2**62).all() else array
    low, high = (0, 1) if tensor.dtype == "bool" else _bounds(tensor.dtype)
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        raise InputType(
            f"input {tensor.name!r} holds a number that {tensor.dtype} cannot",
            input=tensor.name,
            expected=tensor.dtype,
        )
    return array.astype(tensor.dtype)


def _bounds(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _wrong_type(tensor: TensorSpec, got: str) -> InputType:
    return InputType(
        f"input {tensor.name!r} holds {got} where a {tensor.dtype} number belongs",
        hint="Send JSON numbers in nested lists; text, hex strings and nulls are not numbers.",
        input=tensor.name,
        expected=tensor.dtype,
    )


def _read_npz(data: bytes) -> dict[str, Any]:
    try:
        return dict(read_npz(data))
    except ValueError as error:
        raise InputError(f"the input's .npz file {error}") from None


def store_input(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Checked inputs as the bytes that lie in the artifact store until their job is over.

    By position, names beside them: a model's names may be any text, numpy's may not.
    """
    out = io.BytesIO()
    names = np.frombuffer(json.dumps(list(arrays)).encode(), dtype=np.uint8)
    np.savez(out, names, *arrays.values())
    return out.getvalue()


def load_input(data: bytes) -> Arrays:
    """What ``store_input`` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        names = json.loads(loaded["arr_0"].tobytes())
        return {name: loaded[f"arr_{at}"] for at, name in enumerate(names, start=1)}
