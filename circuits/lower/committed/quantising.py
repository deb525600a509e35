"""Integers for a network: how many steps its weights and activations are cut into."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from circuits.committed.arithmetic import LARGEST_SUM, Steps, entries, largest
from circuits.committed.network import (
    Dense,
    Floats,
    Layer,
    Network,
    Numbers,
    feeds,
    product,
    read_by,
    results,
    weights_of,
    with_numbers,
)
from circuits.lower.errors import CannotLower

#: Bits by which an output's step is finer than a single step of what it is a sum of.
_RESULT_BITS = 10
#: Channels whose values are smaller count in steps finer by powers of two, up to this.
_MOST_SHIFT = 12


def responses(network: Network, inputs: Floats) -> list[Floats]:
    """Every layer's sums in the model's own units, ``[samples, height, width, channels]``."""
    known: list[Numbers] = [inputs]
    found: list[Floats] = []
    for layer in network.layers:
        read = read_by(layer, known)
        sums = results(layer, product(layer, read))
        found.append(np.asarray(sums, dtype=np.float64))
        known.append(np.maximum(sums, 0))
    return found


def choose_steps(
    network: Network,
    sums: Sequence[Floats],
    *,
    base: int,
    logrows: int,
    input_scale: int,
    offset: int,
    margin: float,
) -> Steps:
    """Steps under which hidden results ``margin`` times those in ``sums`` (of ``responses``) still
    have entries in the table."""
    below = (base - 1) / max(1, entries(logrows) - base)
    tops: list[float] = []
    shifts: list[tuple[int, ...]] = []
    for layer, found in zip(network.layers, sums, strict=True):
        if layer not in network.hidden:
            continue
        flat = found.reshape(-1, found.shape[-1])
        each = margin * np.maximum(flat.max(axis=0), -flat.min(axis=0) * below)
        top = float(each.max()) or 1.0
        finer = np.floor(np.log2(top / np.maximum(each, top * 2.0**-_MOST_SHIFT)))
        last = layer is network.layers[-1]
        tops.append(_whole_scale(top, base) if last else top)
        # The largest values of a vector's element are known from a few samples only.
        alike = last or isinstance(layer, Dense)
        shifts.append(tuple(0 if alike else int(n) for n in finer))
    steps = Steps(
        base=base,
        logrows=logrows,
        input_scale=input_scale,
        offset=offset,
        output_scale=0,
        tops=tuple(tops),
        shifts=tuple(shifts),
    )
    if not network.raw:
        scale = round(math.log2((base - 1) / tops[-1]))
    else:
        finest = max(
            float(_scale(network, steps, feed.source).max()) for feed in feeds(network.layers[-1])
        )
        scale = math.ceil(math.log2(max(1.0, finest))) + _RESULT_BITS
    return replace(steps, output_scale=scale)


def _whole_scale(top: float, base: int) -> float:
    """The least top from here on under which a result's step is a power of two."""
    return float((base - 1) / 2.0 ** math.floor(math.log2((base - 1) / top)))


def _scale(network: Network, steps: Steps, source: int) -> Floats:
    """What an activation's values are multiplied by, channel by channel."""
    if source == 0:
        return np.full(network.input[2], 2.0**steps.input_scale)
    finer = np.array(steps.shifts[source - 1], dtype=np.float64)
    return (steps.base - 1) / steps.tops[source - 1] * np.exp2(finer)


def check_steps(network: Network, steps: Steps) -> None:
    """Raises ``CannotLower`` for steps that ``choose_steps`` gives to no samples: those under which
    a network of integers is another function than the model."""
    if not all(type(t) is float and math.isfinite(t) and t > 0 for t in steps.tops):
        raise CannotLower("a layer's largest result is no positive number")
    for layer, shifts in zip(network.hidden, steps.shifts, strict=True):
        most = 0 if isinstance(layer, Dense) or layer is network.layers[-1] else _MOST_SHIFT
        if not all(type(n) is int and 0 <= n <= most for n in shifts):
            raise CannotLower("a channel's steps are finer or longer than any that are chosen")
    if not network.raw and steps.tops[-1] != (steps.base - 1) / 2.0**steps.output_scale:
        raise CannotLower("the output's scale is not that of the last layer's steps")


def integer_network(network: Network, steps: Steps) -> Network:
    """The network in integers (int64).

    Raises ``CannotLower`` where a sum could outgrow them.
    """
    if len(steps.tops) != len(network.hidden) or [len(s) for s in steps.shifts] != [
        len(layer.bias) for layer in network.hidden
    ]:
        raise CannotLower("the steps are those of another network")
    if not 2 <= steps.base <= entries(steps.logrows) or not 0 <= steps.offset < steps.base:
        raise CannotLower("the steps fit no table, or the offset no input")
    layers = tuple(_integers(network, steps, n) for n in range(1, len(network.layers) + 1))
    found = Network(input=network.input, layers=layers)
    for layer in layers:
        if largest(layer, steps) >= LARGEST_SUM:
            raise CannotLower("a sum of this network outgrows 60 bits")
    return found


def _integers(network: Network, steps: Steps, number: int) -> Layer:
    layer = network.layers[number - 1]
    if layer in network.hidden:
        scale, half = steps.base * _scale(network, steps, number), steps.base // 2
    else:
        scale, half = np.full(len(layer.bias), 2.0**steps.output_scale), 0
    bias = np.rint(layer.bias * scale) + half
    weights = []
    for feed, own in zip(feeds(layer), weights_of(layer), strict=True):
        own_scale = _scale(network, steps, feed.source)
        if isinstance(layer, Dense):
            places = len(own) // len(own_scale)
            weights.append(np.rint(own * scale / np.tile(own_scale, places)[:, None]))
        else:
            ratio = scale[:, None] / own_scale[None, :]
            weights.append(np.rint(own * ratio[:, :, None, None]))
    for numbers in (bias, *weights):
        if not np.all(np.abs(numbers) < LARGEST_SUM):
            raise CannotLower("a weight of this network outgrows 60 bits")
    return with_numbers(layer, [w.astype(np.int64) for w in weights], bias.astype(np.int64))
