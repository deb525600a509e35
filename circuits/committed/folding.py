"""What a network's weights fold to under the challenges that hash its committed hints.

A circuit with shown weights has none of them: its products are with these elements of the field,
which it is given, and which whoever verifies computes from the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as pairs

import numpy as np

from circuits.committed.arrangement import Arrangement
from circuits.committed.network import (
    Convolutional,
    Dense,
    Integers,
    Layer,
    Term,
    tap_exponent,
)
from circuits.field import P

#: Bits of the pieces that powers are cut into, and of the integers that doubles hold.
_PIECE_BITS, _DOUBLE_BITS = 16, 53
_PIECES = 16


def folded_count(layer: Layer) -> int:
    """How many elements a layer folds to: those of its products, and the bias."""
    if isinstance(layer, Dense):
        return len(layer.weights) + 1
    count = 1
    for term in layer.terms:
        phases = sum(1 for _ in term.height.phases) * sum(1 for _ in term.width.phases)
        count += int(term.weights.shape[1]) * phases
    return count


def folded_weights(arrangement: Arrangement, challenges: Sequence[int]) -> list[int]:
    """The elements, layer by layer, under the challenges ``output``, ``row`` and ``column``.

    A dense layer has ``Σ_f output^(f+1) · w[i, f]`` for each i. A convolution has for each term,
    each phase of its height, each of its width and each channel c the sum of ``output^(f+1) ·
    row^y · column^x · w[f, c, t, u]`` over outputs f and the phase's weights t and u, y and x being
    their exponents. Behind them stands the bias, ``Σ_f output^(f+1) · b[f]``.
    """
    output, row, column = challenges[:3]
    found: list[int] = []
    for layer in arrangement.network.layers:
        powers = _powers(output, len(layer.bias))
        if isinstance(layer, Dense):
            found += _under(layer.weights.astype(np.int64), powers)
        else:
            for term in layer.terms:
                found += _term(term, powers, row, column)
        found += _under(folded_bias(arrangement, layer)[None], powers)
    return found


def folded_bias(arrangement: Arrangement, layer: Layer) -> Integers:
    """The bias; that of a dense layer which reads the input without what the input's offset adds.
    (A convolution's circuit takes the offset off its input.)"""
    bias = layer.bias.astype(np.int64)
    if isinstance(layer, Convolutional) or layer.feed.source:
        return bias
    sums: Integers = layer.weights.astype(np.int64).sum(axis=0)
    return bias - arrangement.offset * sums


def _term(term: Term, powers: list[int], row: int, column: int) -> list[int]:
    outputs, channels, height, width = term.weights.shape
    by_tap = _under(
        term.weights.astype(np.int64).transpose(1, 2, 3, 0).reshape(-1, outputs), powers
    )
    found = []
    for (_, _, down), (_, _, across) in pairs(term.height.phases, term.width.phases):
        at = [
            (
                t * width + u,
                pow(row, tap_exponent(term.height, t), P)
                * pow(column, tap_exponent(term.width, u), P)
                % P,
            )
            for t, u in pairs(down, across)
        ]
        for c in range(channels):
            own = by_tap[c * height * width : (c + 1) * height * width]
            found.append(sum(own[place] * power for place, power in at) % P)
    return found


def _powers(base: int, count: int) -> list[int]:
    """From the first on."""
    found = [base % P]
    while len(found) < count:
        found.append(found[-1] * base % P)
    return found


def _under(rows: Integers, powers: list[int]) -> list[int]:
    """``Σ_f rows[n, f] · powers[f]`` for each n."""
    if not rows.size:
        return [0] * len(rows)
    largest = max(int(rows.max()), -int(rows.min()))
    if (largest << _PIECE_BITS) * len(powers) >> _DOUBLE_BITS:
        return [sum(int(n) * p for n, p in zip(r, powers, strict=True)) % P for r in rows]
    pieces = np.array(
        [[p >> (_PIECE_BITS * n) & 0xFFFF for n in range(_PIECES)] for p in powers],
        dtype=np.float64,
    )
    sums = (rows.astype(np.float64) @ pieces).astype(np.int64).tolist()
    return [sum(n << (_PIECE_BITS * at) for at, n in enumerate(r)) % P for r in sums]
