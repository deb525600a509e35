"""Functions of one number, and how the one table has them: as straight pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from circuits.committed.network import Floats

Map = Callable[[Floats], Floats]
#: At a pole, or where it is not defined, a function is continued from here.
_LEAST = 1e-12
_erf: Any = np.vectorize(math.erf, otypes=[np.float64])


def reciprocal(x: Floats) -> Floats:
    return 1 / np.where(np.abs(x) < _LEAST, _LEAST, x)


def of_count(x: Floats) -> Floats:
    """1 / x of a count. Where none are counted there is no share, and no entry in a table: what a
    model has no answer for has no proof."""
    return np.asarray(np.where(x == 0, np.inf, 1 / np.where(x == 0, 1.0, x)))


def power(exponent: float) -> Map:
    """x to a constant power; of negative x only for whole ones."""

    def found(x: Floats) -> Floats:
        own = x if exponent == int(exponent) else np.maximum(x, 0)
        if exponent < 0:
            own = np.where(np.abs(own) < _LEAST, _LEAST, own)
        return np.asarray(own**exponent)

    return found


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(x / 2))


def softplus(x: Floats) -> Floats:
    return np.logaddexp(x, 0.0)


def _elu(attributes: Mapping[str, Any]) -> Map:
    alpha = float(attributes.get("alpha", 1.0))
    return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _selu(attributes: Mapping[str, Any]) -> Map:
    alpha = float(attributes.get("alpha", 1.67326319217681884765625))
    gamma = float(attributes.get("gamma", 1.05070102214813232421875))
    return lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _hard_sigmoid(attributes: Mapping[str, Any]) -> Map:
    alpha, beta = (float(attributes.get(n, d)) for n, d in (("alpha", 0.2), ("beta", 0.5)))
    return lambda x: np.clip(alpha * x + beta, 0, 1)


def _always(function: Map) -> Callable[[Mapping[str, Any]], Map]:
    return lambda _: function


#: ONNX's functions of one number, by the attributes of their nodes.
FUNCTIONS: dict[str, Callable[[Mapping[str, Any]], Map]] = {
    "Abs": _always(np.abs),
    "Acos": _always(lambda x: np.arccos(np.clip(x, -1, 1))),
    "Acosh": _always(lambda x: np.arccosh(np.maximum(x, 1))),
    "Asin": _always(lambda x: np.arcsin(np.clip(x, -1, 1))),
    "Asinh": _always(np.arcsinh),
    "Atan": _always(np.arctan),
    "Cos": _always(np.cos),
    "Cosh": _always(np.cosh),
    "Elu": _elu,
    "Erf": _always(_erf),
    "Exp": _always(np.exp),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _always(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Log": _always(lambda x: np.log(np.maximum(x, _LEAST))),
    "Reciprocal": _always(reciprocal),
    "Selu": _selu,
    "Sigmoid": _always(sigmoid),
    "Sin": _always(np.sin),
    "Sinh": _always(np.sinh),
    "Softplus": _always(softplus),
    "Softsign": _always(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _always(lambda x: np.sqrt(np.maximum(x, 0))),
    "Tanh": _always(np.tanh),
}


def pieces(values: Floats, error: Floats | float) -> list[int]:
    """Where straight pieces begin that stay so near to a function's values on 0, 1, 2 …: each is
    the longest that does, from its first value to its last."""
    found, start, end = [0], 0, len(values) - 1
    allowed = np.broadcast_to(np.asarray(error, dtype=np.float64), values.shape)
    places = np.arange(len(values), dtype=np.float64)

    def near(start: int, end: int) -> bool:
        if end >= len(values):
            return False
        # What np.linspace gives, which takes longer than all the rest.
        line = places[: end - start + 1] * ((values[end] - values[start]) / (end - start))
        line += values[start]
        line[-1] = values[end]
        line -= values[start : end + 1]
        return bool(np.all(np.abs(line) <= allowed[start : end + 1]))

    while start < end:
        step = 1
        while start + step < end and near(start, start + 2 * step):
            step *= 2
        low, high = start + step, min(start + 2 * step, end)
        while low < high:  # the longest piece in between
            middle = (low + high + 1) // 2
            low, high = (middle, high) if near(start, middle) else (low, middle - 1)
        start = low
        found.append(start)
    return found


def balanced(values: Floats, ends: Sequence[int]) -> Floats:
    """Where straight pieces between these places begin and end: on both sides of the function, so
    that they miss it by half as much as its chords do."""
    missed = []
    for start, end in pairwise(ends):
        over = np.linspace(values[start], values[end], end - start + 1) - values[start : end + 1]
        missed.append((over.max() + over.min()) / 2)
    sides = np.array([missed[0], *missed, missed[-1]])
    return np.asarray(values[list(ends)] - (sides[1:] + sides[:-1]) / 2)
