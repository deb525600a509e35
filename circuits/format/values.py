"""Numbers for one tensor of the model, from whatever somebody sent: checked, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputNotFinite, InputShape, InputType
from circuits.format.tensors import TensorSpec


def numbers(values: Any, tensor: TensorSpec) -> NDArray[Any]:
    """A numeric array of whatever shape was sent; refuses text, nulls, booleans for numbers.

    Raises ``InputType``, ``InputShape`` for ragged lists, ``InputNotFinite``.
    """
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


def cast(array: NDArray[Any], tensor: TensorSpec) -> NDArray[Any]:
    """The array in the model's dtype; refuses what that dtype cannot hold.

    Raises ``InputNotFinite`` and ``InputType``.
    """
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


def _bounds(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _wrong_type(tensor: TensorSpec, got: str) -> InputType:
    return InputType(
        f"input {tensor.name!r} holds {got} where a {tensor.dtype} number belongs",
        advice="Send JSON numbers in nested lists; text, hex strings and nulls are not numbers.",
        input=tensor.name,
        expected=tensor.dtype,
    )
