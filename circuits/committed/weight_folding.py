"""What a network's weights fold to under the challenges that hash its committed hints.

A circuit with shown weights has none of them: its products are with these elements of the field,
which it is given, and which whoever verifies computes from the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as pairs

import numpy as np

from circuits.committed.arrangement import Arrangement, offsets_of
from circuits.committed.network import Convolution, Function, Integers, Sum, tap_exponent
from circuits.format.field import P

#: Bits of the pieces that powers are cut into, and of the integers that doubles hold.
_PIECE_BITS, _DOUBLE_BITS = 16, 53
_PIECES = 16


def folded_count(step: Sum) -> int:
    """How many elements a sum folds to: those of its convolutions, and the bias."""
    count = 1
    for term in step.convolutions:
        phases = sum(1 for _ in term.height.phases) * sum(1 for _ in term.width.phases)
        count += term.view.shape[2] * phases
    return count


def folded_weights(arrangement: Arrangement, challenges: Sequence[int]) -> list[int]:
    """The elements, sum by sum, under the challenges ``output``, ``row`` and ``column``.

    A convolution has for each phase of its height, each of its width and each channel c the sum of
    ``output^(f+1) · row^y · column^x · w[f, c, t, u]`` over the outputs f that read it and the
    phase's weights t and u, y and x being their exponents; along an axis with a single exponent in
    all there is no power. Behind a sum's convolutions stands its bias at all its places,
    ``Σ_f output^(f+1) · b[f]`` times the sums of their powers.
    """
    output, row, column = challenges[:3]
    found: list[int] = []
    for number, (_, step) in enumerate(arrangement.network.sums):
        powers = _powers(output, step.shape[2])
        # Where there is one exponent there is no power.
        bases = (
            row if step.rows.length > 1 else 1,
            column if step.columns.length > 1 else 1,
        )
        for term in step.convolutions:
            found += _term(term, powers, bases)
        found.append(_bias(step, full_bias(arrangement, number, step), powers, bases))
    return found


def full_bias(arrangement: Arrangement, number: int, step: Sum) -> Integers:
    """All constants of a sum, an element an output, or one for each of its shape: its bias, the
    divisor times what its quotients count too much, and less what dense layers and their like read
    too much. (Of other terms the circuit takes that off what it reads.)"""
    divisor = arrangement.steps.divisor(number)
    bias = step.bias.astype(np.int64) + divisor * arrangement.steps.sums[number].offset
    for term in step.terms:
        offsets = offsets_of(term.views[0], arrangement.row_offsets)
        if isinstance(term, Function):
            bias = bias - term.start * int(offsets.reshape(-1)[0])
        if not isinstance(term, Convolution) or not term.plain or not np.any(offsets):
            continue
        if np.all(offsets == offsets[:1, :1]):
            offsets = offsets[:1, :1]
        split = offsets.reshape(*offsets.shape[:2], term.groups, -1)
        own = term.weights[:, :, 0, 0].astype(np.int64).reshape(term.groups, -1, split.shape[3])
        meant = np.einsum("hwgi,goi->hwgo", split, own).reshape(*offsets.shape[:2], -1)
        bias = bias - (meant[0, 0] if offsets.shape[:2] == (1, 1) else meant)
    return bias


def _bias(step: Sum, bias: Integers, powers: list[int], bases: tuple[int, int]) -> int:
    rows = [pow(bases[0], y, P) for y in step.rows.results]
    columns = [pow(bases[1], x, P) for x in step.columns.results]
    if bias.ndim == 1:
        return _under(bias[None], powers)[0] * sum(rows) * sum(columns) % P
    under = iter(_under(bias.reshape(-1, bias.shape[2]), powers))
    return sum(next(under) * y * x for y in rows for x in columns) % P


def _term(term: Convolution, powers: list[int], bases: tuple[int, int]) -> list[int]:
    outputs, channels, height, width = term.weights.shape
    groups, ours = term.groups, outputs // term.groups
    by_tap: list[int] = []
    for g in range(groups):
        part = term.weights[g * ours : (g + 1) * ours].astype(np.int64)
        own = powers[g * ours : (g + 1) * ours]
        by_tap += _under(part.transpose(1, 2, 3, 0).reshape(-1, ours), own)
    found = []
    for (_, _, down), (_, _, across) in pairs(term.height.phases, term.width.phases):
        at = [
            (
                t * width + u,
                pow(bases[0], tap_exponent(term.height, t), P)
                * pow(bases[1], tap_exponent(term.width, u), P)
                % P,
            )
            for t, u in pairs(down, across)
        ]
        for c in range(groups * channels):
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
