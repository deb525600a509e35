"""Numbers for one tensor of the model, from whatever somebody sent: checked, or refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputCategory, InputNotFinite, InputShape, InputType
from circuits.format.tensors import Signature, TensorSpec

#: So many categories a message names.
_SHOWN = 12


def numbers(values: Any, tensor: TensorSpec, missing: bool = False) -> NDArray[Any]:
    """A numeric array of whatever shape was sent; refuses text, booleans for numbers, and nulls
    but where values may be ``missing``: there they are NaN.

    Texts of a tensor of categories become their places. Raises ``InputType``, ``InputShape`` for
    ragged lists, ``InputNotFinite``, ``InputCategory``.
    """
    if tensor.categories is not None:
        return _places(values, tensor)
    if not isinstance(values, np.ndarray):
        _refuse_non_numbers(values, tensor, missing)
    try:
        array = np.asarray(values)
        if array.dtype == object:  # integers beyond 64 bits, or nulls
            array = array.astype(np.float64)
    except OverflowError:
        raise InputNotFinite(
            f"input {tensor.name!r} holds a number too large for {tensor.dtype}", input=tensor.name
        ) from None
    except (ValueError, TypeError):
        raise _ragged(tensor) from None
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "b" and tensor.dtype != "bool"):
        raise _wrong_type(tensor, str(array.dtype))
    return array


def cast(array: NDArray[Any], tensor: TensorSpec, missing: bool = False) -> NDArray[Any]:
    """The array in the model's dtype; refuses what that dtype cannot hold, and NaN but where
    values may be ``missing``.

    Raises ``InputNotFinite`` and ``InputType``.
    """
    bad = np.isinf(array) if missing else ~np.isfinite(array)
    if array.dtype.kind == "f" and bad.any():
        index = [int(i) for i in np.argwhere(bad)[0]]
        what = "NaN" if np.isnan(array[tuple(index)]) else "an infinity"
        raise InputNotFinite(
            f"input {tensor.name!r} holds {what} at {index[1:]} of row {index[0]}",
            input=tensor.name,
            index=index,
        )
    if tensor.dtype.startswith("float"):
        with np.errstate(over="ignore"):
            cast = array.astype(tensor.dtype)
        if np.isinf(cast).any():
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


def apart(arrays: Mapping[str, NDArray[Any]], signature: Signature) -> dict[str, NDArray[Any]]:
    """Arrays by name, in the signature's order, with each NaN as 0 and true in its mask, and each
    number of a column of categories as 0 and its place in theirs.

    Raises ``InputCategory``.
    """
    out: dict[str, NDArray[Any]] = {}
    for tensor in signature.inputs:
        if tensor.missing_of is not None:
            out[tensor.name] = np.isnan(arrays[tensor.missing_of])
        elif tensor.column_of is not None:
            values, column = out[tensor.column_of].copy(), tensor.column
            values[..., column] = 0
            out[tensor.column_of] = values
            sent = arrays[tensor.column_of][..., column : column + 1]
            out[tensor.name] = _places_of_numbers(sent, tensor)
        elif tensor.name in signature.masks:
            values = arrays[tensor.name]
            out[tensor.name] = np.where(np.isnan(values), np.zeros((), values.dtype), values)
        else:
            out[tensor.name] = arrays[tensor.name]
    return out


def _places(values: Any, tensor: TensorSpec) -> NDArray[Any]:
    """The place of each text among the tensor's categories."""
    if isinstance(values, np.ndarray) and values.dtype.kind != "U":
        raise _wrong_type(tensor, str(values.dtype))
    if not isinstance(values, np.ndarray):
        _refuse_non_texts(values, tensor)
    try:
        texts = np.asarray(values)
    except (ValueError, TypeError):
        raise _ragged(tensor) from None
    place = {text: at for at, text in enumerate(tensor.categories or ())}
    found = np.array([place.get(text, -1) for text in texts.reshape(-1).tolist()], dtype=np.int64)
    unknown = np.flatnonzero(found < 0)
    if len(unknown) and not tensor.other:
        what = repr(str(texts.reshape(-1)[unknown[0]])[:40])
        raise _unknown(tensor, f"input {tensor.name!r} holds {what}", repr)
    return np.where(found < 0, len(place), found).reshape(texts.shape)


def _places_of_numbers(column: NDArray[Any], tensor: TensorSpec) -> NDArray[np.int64]:
    """The place of each number, ``[…, rows, 1]``, without what stands behind its decimal point, as
    a model casts it before it encodes it."""
    place = {int(text): at for at, text in enumerate(tensor.categories or ())}
    whole = np.trunc(column) if column.dtype.kind == "f" else column
    found = np.array([place.get(n, -1) for n in whole.reshape(-1).tolist()], dtype=np.int64)
    found = found.reshape(column.shape)
    if (found < 0).any():
        at = [int(i) for i in np.argwhere(found < 0)[0]]
        what = column[tuple(at)].item()
        *rows, index = *at[: -len(tensor.shape)], [at[-2], tensor.column]
        where = f"{index} of row {rows[0]}" if rows else str(index)
        raise _unknown(tensor, f"input {tensor.column_of!r} holds {what!r} at {where}", str)
    return found


def _unknown(tensor: TensorSpec, what: str, shown: Callable[[str], str]) -> InputCategory:
    categories = tensor.categories or ()
    known = list(categories)[:_SHOWN]
    more = ", …" if len(categories) > _SHOWN else ""
    return InputCategory(
        f"{what}, which is none of the categories that the model knows there",
        advice=f"They are {', '.join(shown(text[:40]) for text in known)}{more}.",
        input=tensor.column_of or tensor.name,
        categories=known,
    )


def _refuse_non_texts(values: Any, tensor: TensorSpec) -> None:
    """Raises at the first leaf that is no text. Iterative: a client chooses the depth."""
    stack = [values]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif not isinstance(item, str):
            raise _wrong_type(tensor, "a number" if isinstance(item, int | float) else _named(item))


def _refuse_non_numbers(values: Any, tensor: TensorSpec, missing: bool) -> None:
    """Raises at the first leaf that is no number. Iterative: a client chooses the depth."""
    stack = [values]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, bool):
            if tensor.dtype != "bool":
                raise _wrong_type(tensor, "a boolean")
        elif item is None and not missing:
            raise _wrong_type(tensor, "null", _where_null(values))
        elif item is not None and not isinstance(item, int | float):
            raise _wrong_type(tensor, _named(item))


def _where_null(values: Any) -> str:
    """The place of the first null, where the lists are no ragged ones."""
    try:
        sent = np.array(values, dtype=object)
    except ValueError:
        return ""
    found = np.argwhere(np.vectorize(lambda item: item is None, otypes=[bool])(sent))
    return f", at {[int(i) for i in found[0]]}" if len(found) else ""


def _named(item: object) -> str:
    """What JSON calls it."""
    if isinstance(item, str):
        return f"the text {item[:40]!r}"
    return "null" if item is None else "an object"


def _bounds(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _ragged(tensor: TensorSpec) -> InputShape:
    return InputShape(
        f"input {tensor.name!r} is ragged: its lists have different lengths",
        input=tensor.name,
        expected=list(tensor.shape),
    )


def _wrong_type(tensor: TensorSpec, got: str, where: str = "") -> InputType:
    if tensor.categories is not None:
        return InputType(
            f"input {tensor.name!r} holds {got} where a text belongs",
            advice="Send the category as text, as the model was trained with it.",
            input=tensor.name,
            expected="text",
        )
    return InputType(
        f"input {tensor.name!r} holds {got} where a {tensor.dtype} number belongs{where}",
        advice="Send JSON numbers in nested lists; text, hex strings and nulls are not numbers.",
        input=tensor.name,
        expected=tensor.dtype,
    )
