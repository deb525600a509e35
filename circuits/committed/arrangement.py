"""The order in which a circuit's input, hints and salt are committed to, and how they are made.

Columns of committed elements are not blinded: the commitment and one opening tell two linear
combinations of each. So each begins with random elements of its own (``COLUMN_SALT``). How often
the table is asked for each entry is not blinded either: so random entries are looked up to no
effect (``looked_up``), whose sum is the last hint.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.committed.arithmetic import Split, Steps, entries, outside, run
from circuits.committed.claim import Weights, usable_rows
from circuits.committed.network import (
    Axis,
    Convolutional,
    Dense,
    Feed,
    Integers,
    Layer,
    Network,
    Shape,
    Term,
    weights_of,
)
from circuits.digests import canonical_json, parse_canonical_json
from circuits.errors import InputOutOfRange
from circuits.field import P

#: Random elements at the head of each committed column. Two are told by a proof.
COLUMN_SALT = 6
_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Part:
    """A run of committed elements by name: those of each of ``lanes``, lane after lane, in the
    shape in which the circuit reads them."""

    name: str
    shape: tuple[int, ...]
    lanes: int = 1

    @property
    def size(self) -> int:
        return self.lanes * math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """An integer network as a circuit proves it.

    ``shown``: whether the input is public. ``padding``: how many zeros follow the outputs of each
    hidden layer, so that they fill groups. ``looked_up``: random entries. ``lanes``: how many
    inputs a proof is about. ``weights``: where they are. With several lanes or shown weights, sums
    that are the result are hints as well.
    """

    network: Network
    steps: Steps
    shown: bool
    padding: tuple[int, ...]
    looked_up: int
    lanes: int = 1
    weights: Weights = Weights.SEALED

    @property
    def offset(self) -> int:
        """What is added to an input that the table bounds."""
        return 0 if self.shown else self.steps.offset

    @property
    def gives_result(self) -> bool:
        """Whether the result is a hint."""
        return self.network.raw and (self.lanes > 1 or self.weights is Weights.SHOWN)

    @property
    def parts(self) -> list[Part]:
        """What is committed to, in order, without the columns' salt."""
        found = [Part(name="input", shape=(math.prod(self.network.input),))]
        for n, layer in enumerate(self.network.hidden):
            found += _hints(layer, n, self.padding[n])
        if self.gives_result:
            found.append(Part(name="result", shape=self.network.layers[-1].shape))
        found = [replace(part, lanes=self.lanes) for part in found]
        found.append(Part(name="salt", shape=(self.looked_up,)))
        found.append(Part(name="sum", shape=(1,)))
        return found

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Where what is committed to stands in the tensor: start and end of each column's piece,
        behind the column's salt."""
        room = usable_rows(self.steps.logrows) - COLUMN_SALT
        size = sum(part.size for part in self.parts)
        starts = range(0, size, room)
        return [
            (start + (n + 1) * COLUMN_SALT, min(start + room, size) + (n + 1) * COLUMN_SALT)
            for n, start in enumerate(starts)
        ]

    @property
    def elements(self) -> int:
        """The tensor's length."""
        return self.pieces[-1][1]

    def committed(self, inputs: Sequence[int]) -> list[int]:
        """The tensor for the inputs of all lanes, one behind the other (integers in ONNX's order),
        with new salt: elements of the field, which nobody may see twice.

        Raises ``InputOutOfRange`` where a result has no entry in the table.
        """
        values = np.array(inputs, dtype=np.int64).reshape(self.lanes, -1)
        if not self.shown and values.size:
            lifted = values + self.steps.offset
            if lifted.min() < 0 or lifted.max() >= self.steps.base:
                raise InputOutOfRange("the input lies outside of the circuit's table")
        maps = np.stack([as_map(lane, self.network.input) for lane in values])
        splits, result = run(self.network, self.steps, maps)
        if outside(splits, self.steps):
            raise InputOutOfRange(
                "the input drives a value inside the model outside the circuit's table"
            )
        arrays = [values + self.offset]
        for split, layer, pad in zip(splits, self.network.hidden, self.padding, strict=True):
            arrays += _hint_values(split, layer, pad)
        if self.gives_result:
            arrays.append(result)
        flat: list[int] = np.concatenate([a.reshape(-1) for a in arrays]).tolist()
        salt = [self._entry() for _ in range(self.looked_up)]
        flat += [*salt, sum(max(v, 0) for v in salt)]
        out: list[int] = []
        at = 0
        for start, end in self.pieces:
            out += [secrets.randbelow(P) for _ in range(COLUMN_SALT)]
            out += flat[at : at + end - start]
            at += end - start
        return out

    def _entry(self) -> int:
        return self.steps.lowest + secrets.randbelow(entries(self.steps.logrows))

    def to_bytes(self) -> bytes:
        """One byte string for one circuit's arithmetic: what the weights' digest is taken over."""
        header = {
            "schema": _SCHEMA,
            "input": list(self.network.input),
            "steps": self.steps.to_json(),
            "shown": self.shown,
            "padding": list(self.padding),
            "looked_up": self.looked_up,
            "lanes": self.lanes,
            "weights": self.weights.value,
            "layers": [_layer_json(layer) for layer in self.network.layers],
        }
        arrays = [a for layer in self.network.layers for a in (*weights_of(layer), layer.bias)]
        data = b"".join(np.ascontiguousarray(a, dtype="<i8").tobytes() for a in arrays)
        return canonical_json(header) + b"\n" + data

    @classmethod
    def from_bytes(cls, data: bytes) -> Arrangement:
        """Reads ``to_bytes``. Raises ``ValueError`` or ``KeyError`` for anything else."""
        head, _, rest = data.partition(b"\n")
        header = parse_canonical_json(head)
        if header["schema"] != _SCHEMA:
            raise ValueError(f"a network of schema {header['schema']}, expected {_SCHEMA}")
        numbers = _Numbers(rest)
        layers = tuple(_layer(entry, numbers) for entry in header["layers"])
        if numbers.left:
            raise ValueError("bytes follow the network's weights")
        return cls(
            network=Network(input=tuple(header["input"]), layers=layers),
            steps=Steps.from_json(header["steps"]),
            shown=header["shown"],
            padding=tuple(header["padding"]),
            looked_up=header["looked_up"],
            lanes=header["lanes"],
            weights=Weights(header["weights"]),
        )


def as_map(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Elements in ONNX's order (channels first) as a feature map ``[height, width, channels]``."""
    height, width, channels = shape
    return values.reshape(channels, height, width).transpose(1, 2, 0)


def _hints(layer: Layer, number: int, padding: int) -> Iterator[Part]:
    height, width, outputs = layer.shape
    shape = (height, width, outputs + padding)
    yield Part(name=f"quotients-{number}", shape=shape)
    yield Part(name=f"remainders-{number}", shape=shape)
    if isinstance(layer, Convolutional):
        rows, columns = layer.rows, layer.columns
        if rows.border:
            size = (len(rows.border), columns.length, outputs)
            yield Part(name=f"rows-{number}", shape=size)
        if columns.border:
            size = (rows.outputs, len(columns.border), outputs)
            yield Part(name=f"columns-{number}", shape=size)


def _hint_values(split: Split, layer: Layer, padding: int) -> Iterator[Integers]:
    """The hints of all samples, as ``_hints`` lists them."""
    for values in (split.quotients, split.remainders):
        yield np.pad(values, ((0, 0), (0, 0), (0, 0), (0, padding)))
    if isinstance(layer, Convolutional):
        rows, columns = layer.rows, layer.columns
        full = split.products
        if rows.border:
            yield full[:, np.array(rows.border) - rows.first]
        if columns.border:
            inner = full[:, rows.before : rows.before + rows.outputs]
            yield inner[:, :, np.array(columns.border) - columns.first]


def _layer_json(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Dense):
        return {
            "dense": list(layer.weights.shape),
            "feed": _feed_json(layer.feed),
            "last": layer.last,
        }
    return {
        "terms": [
            {
                "weights": list(term.weights.shape),
                "feed": _feed_json(term.feed),
                "groups": term.groups,
                "axes": [vars(axis) for axis in (term.height, term.width)],
            }
            for term in layer.terms
        ]
    }


def _feed_json(feed: Feed) -> dict[str, Any]:
    return {"source": feed.source, "pool": list(feed.pool)}


def _feed(data: dict[str, Any]) -> Feed:
    return Feed(source=data["source"], pool=tuple(data["pool"]))


def _layer(data: dict[str, Any], numbers: _Numbers) -> Layer:
    if "dense" in data:
        weights = numbers.take(data["dense"])
        bias = numbers.take(data["dense"][1:])
        return Dense(feed=_feed(data["feed"]), weights=weights, bias=bias, last=data["last"])
    terms = []
    for entry in data["terms"]:
        height, width = (Axis(**axis) for axis in entry["axes"])
        terms.append(
            Term(
                feed=_feed(entry["feed"]),
                weights=numbers.take(entry["weights"]),
                groups=entry["groups"],
                height=height,
                width=width,
            )
        )
    return Convolutional(terms=tuple(terms), bias=numbers.take(data["terms"][0]["weights"][:1]))


class _Numbers:
    """Arrays of int64, taken from bytes one after another."""

    def __init__(self, data: bytes) -> None:
        self.left = memoryview(data)

    def take(self, shape: Sequence[int]) -> Integers:
        size = 8 * math.prod(shape)
        if len(self.left) < size:
            raise ValueError("the network's weights end too soon")
        part, self.left = self.left[:size], self.left[size:]
        return np.frombuffer(part, dtype="<i8").astype(np.int64).reshape(tuple(shape))
