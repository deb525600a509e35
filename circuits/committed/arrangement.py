"""The order in which a circuit's input, hints and salt are committed to, and how they are made.

Columns of committed elements are not blinded: the commitment and one opening tell two linear
combinations of each. So each begins with random elements of its own (``COLUMN_SALT``). How often
a table is asked for each entry is not blinded either: so random entries of each are looked up to no
effect (``looked_up``), and what is looked up is summed in a hint behind them.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from circuits.committed.arithmetic import LARGEST_SUM, Split, Steps, entries, has_digits, run
from circuits.committed.network import (
    MOST_SCALE,
    MOST_TIMES,
    ZERO,
    Axis,
    Convolution,
    Function,
    FunctionTable,
    Integers,
    Kind,
    Local,
    Lookup,
    Network,
    Op,
    Pointwise,
    Product,
    Step,
    Sum,
    Term,
    View,
)
from circuits.errors import InputOutOfRange
from circuits.format.commitments import COLUMN_SALT, Weights, salted_pieces
from circuits.format.digests import canonical_json, parse_canonical_json
from circuits.format.field import P, from_felt, to_felt
from circuits.format.function_tables import TABLES

_SCHEMA = 2


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

    ``shown``: whether inputs are public. ``looked_up``: random entries of each table.
    ``lanes``: how many samples a proof is about. ``weights``: where they are. ``identity_salt``:
    that of the public commitments to private weights, column after column, once these are made.
    ``blinding``: random elements behind an input that an identity names.
    """

    network: Network
    steps: Steps
    shown: bool
    looked_up: int
    lanes: int = 1
    weights: Weights = Weights.SEALED
    identity_salt: tuple[int, ...] = ()
    blinding: int = 0

    @property
    def parts(self) -> list[Part]:
        """What is committed to, in order, without the columns' salt."""
        found = [Part(name="input", shape=(sum(self.network.inputs),))]
        for row, size in enumerate(self.network.inputs):
            digits = range(1, self.digits(row))
            found += [Part(name=f"input-{row}-{digit}", shape=(size,)) for digit in digits]
        for n, (_, step) in enumerate(self.network.sums):
            found += _hints(step, n, self.steps.sums[n].digits)
        found = [replace(part, lanes=self.lanes) for part in found]
        for name in self.salts:
            found.append(Part(name=name, shape=(self.looked_up,)))
            found.append(Part(name=f"{name}-sum", shape=(1,)))
        if self.blinding:
            found.append(Part(name="blinding", shape=(self.blinding,)))
        return found

    @property
    def salts(self) -> dict[str, FunctionTable | None]:
        """The parts of random entries by the table that they are of; None for the one that
        rectifies."""
        function = self.network.function_table
        return {"salt": None} if function is None else {"salt": None, "function-salt": function}

    def digits(self, row: int) -> int:
        """How many digits an input has of which the table bounds each: one, if the verifier bounds
        it."""
        own, base = self.steps.inputs[row], self.steps.base
        if self.shown or not own.finer:
            return 1
        if not has_digits(own, base):
            raise ValueError("an input is no whole number of digits")
        return 1 + own.finer // (base.bit_length() - 1)

    @property
    def offsets(self) -> list[int]:
        """What is added to the integers of each input."""
        return [0 if self.shown else own.offset for own in self.steps.inputs]

    @cached_property
    def row_offsets(self) -> list[Integers]:
        """What the elements of each row count more than they mean."""
        found = [np.full(n, o) for n, o in zip(self.network.inputs, self.offsets, strict=True)]
        number = 0
        for step in self.network.steps:
            if isinstance(step, Sum):
                whole = self.steps.divisor(number) if step.kind is Kind.RESULT else 1
                found.append(np.full(step.size, whole * self.steps.sums[number].offset))
                number += 1
                continue
            left = offsets_of(step.left, found)
            if step.op is Op.TOTAL:
                left = left.sum(axis=-1)
            elif step.op in (Op.RECTIFY, Op.ABOVE, Op.BELOW, Op.CHOSEN):
                left = np.zeros_like(left)
            elif step.op is Op.MAXIMUM and isinstance(step.right, View):
                left = offsets_of(step.right, found)
            found.append(left.reshape(-1))
        return found

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Where what is committed to stands in the tensor: start and end of each column's piece,
        behind the column's salt."""
        return salted_pieces(sum(part.size for part in self.parts), self.steps.logrows)

    @property
    def elements(self) -> int:
        """The tensor's length."""
        return self.pieces[-1][1]

    def committed(self, inputs: Sequence[Sequence[int]], blinding: Sequence[int] = ()) -> list[int]:
        """The tensor for the samples of all lanes, with new salt: elements of the field, which
        nobody may see twice. ``inputs``: integers of each input in ONNX's order, lane after lane;
        ``blinding``: the random elements behind them, new ones where none are given.

        Raises ``InputOutOfRange`` where a result has no entry in the table.
        """
        values = [np.array(given, dtype=np.int64).reshape(self.lanes, -1) for given in inputs]
        lifted = [v + offset for v, offset in zip(values, self.offsets, strict=True)]
        ends = [self.steps.base << own.finer for own in self.steps.inputs]
        outside = [v.min() < 0 or v.max() >= end for v, end in zip(lifted, ends, strict=True)]
        if not self.shown and any(outside):
            raise InputOutOfRange("the input lies outside of the circuit's table")
        self._check_columns(values)
        found = run(self.network, self.steps, values)
        if np.any(found.outside):
            raise InputOutOfRange(
                "the input drives a value inside the model outside the circuit's table"
            )
        digits = [self._digits(v, row) for row, v in enumerate(lifted)]
        arrays = [np.concatenate([own[0] for own in digits], axis=1)]
        arrays += [more for own in digits for more in own[1:]]
        for split, (_, step) in zip(found.splits, self.network.sums, strict=True):
            arrays += _hint_values(split, step)
        flat: list[int] = np.concatenate([a.reshape(-1) for a in arrays]).tolist()
        for table in self.salts.values():
            salt = np.array([self._entry() for _ in range(self.looked_up)])
            entries = np.maximum(salt, 0) if table is None else table.entries(salt)
            flat += [*salt.tolist(), int(entries.sum())]
        flat += blinding or [secrets.randbelow(P) for _ in range(self.blinding)]
        return salted(flat, self.steps.logrows)

    def _check_columns(self, values: Sequence[Integers]) -> None:
        """Raises ``InputOutOfRange`` for an element that the table of its column does not bound."""
        for own, found in zip(self.steps.inputs, values, strict=True):
            for part in own.columns:
                low, high = part.range(self.steps.base)
                given = np.ldexp(found[:, [*part.places]].astype(np.float64), -own.scale)
                half = math.ldexp(0.5, -part.scale)
                lane, place = np.nonzero((given < low - half) | (given >= high + half))
                if len(place):
                    raise InputOutOfRange(
                        f"element {part.places[place[0]]} of an input is {given[lane[0], place[0]]}"
                        f"; the circuit accepts {low} to {high} in its column"
                    )

    def _digits(self, values: Integers, row: int) -> list[Integers]:
        """An input's digits, the least first."""
        found = []
        for _ in range(1, self.digits(row)):
            found.append(values % self.steps.base)
            values = values // self.steps.base
        return [*found, values]

    def _entry(self) -> int:
        return self.steps.lowest + secrets.randbelow(entries(self.steps.logrows))

    def to_bytes(self) -> bytes:
        """One byte string for one circuit's arithmetic: what the weights' digest is taken over. A
        line of JSON, and behind it the arrays that it gives the shapes of: those of the outputs,
        and those of each step in order."""
        arrays: list[Integers] = []

        def array(values: Integers) -> list[int]:
            arrays.append(values)
            return list(values.shape)

        def view(own: View) -> dict[str, Any]:
            return {"rows": list(own.rows), "places": array(own.places)}

        outputs = [view(output) for output in self.network.outputs]
        header = {
            "schema": _SCHEMA,
            "inputs": list(self.network.inputs),
            "steps": self.steps.to_json(),
            "shown": self.shown,
            "looked_up": self.looked_up,
            "lanes": self.lanes,
            "weights": self.weights.value,
            "network": [_step_json(step, array, view) for step in self.network.steps],
            "outputs": outputs,
        }
        if self.weights is Weights.PRIVATE:
            header["identity_salt"] = [to_felt(n) for n in self.identity_salt]
        if self.blinding:
            header["blinding"] = self.blinding
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
        outputs = tuple(numbers.view(entry) for entry in header["outputs"])
        steps = tuple(_step(entry, numbers) for entry in header["network"])
        if numbers.left:
            raise ValueError("bytes follow the network's arrays")
        return cls(
            network=Network(inputs=tuple(header["inputs"]), steps=steps, outputs=outputs),
            steps=Steps.from_json(header["steps"]),
            shown=header["shown"],
            looked_up=header["looked_up"],
            lanes=header["lanes"],
            weights=Weights(header["weights"]),
            identity_salt=tuple(from_felt(f) for f in header.get("identity_salt", ())),
            blinding=header.get("blinding", 0),
        )


def salted(values: Sequence[int], logrows: int, salt: Sequence[int] | None = None) -> list[int]:
    """A tensor of so many elements, with random ones at the head of each column unless a ``salt``
    is given."""
    pieces = salted_pieces(len(values), logrows)
    if salt is None:
        salt = [secrets.randbelow(P) for _ in range(COLUMN_SALT * len(pieces))]
    found: list[int] = []
    at = 0
    for n, (start, end) in enumerate(pieces):
        found += salt[n * COLUMN_SALT : (n + 1) * COLUMN_SALT]
        found += values[at : at + end - start]
        at += end - start
    return found


def offsets_of(view: View, rows: Sequence[Integers]) -> Integers:
    """What a view's elements count more than they mean, in its shape; zeros do not."""
    every = np.concatenate([rows[row] for row in view.rows])
    return np.where(view.places == ZERO, 0, every[view.places])


def _hints(step: Sum, number: int, digits: int) -> Iterator[Part]:
    outputs = step.shape[2]
    yield Part(name=f"quotients-{number}", shape=step.shape)
    for n in range(digits):
        yield Part(name=f"remainders-{number}-{n}", shape=step.shape)
    rows, columns = step.rows, step.columns
    if rows.border:
        size = (len(rows.border), columns.length, outputs)
        yield Part(name=f"rows-{number}", shape=size)
    if columns.border:
        size = (rows.outputs, len(columns.border), outputs)
        yield Part(name=f"columns-{number}", shape=size)


def _hint_values(split: Split, step: Sum) -> Iterator[Integers]:
    """The hints of all samples, as ``_hints`` lists them."""
    yield split.quotients
    yield from split.remainders
    rows, columns, full = step.rows, step.columns, split.full
    if rows.border:
        yield full[:, np.array(rows.border) - rows.first]
    if columns.border:
        inner = full[:, rows.before : rows.before + rows.outputs]
        yield inner[:, :, np.array(columns.border) - columns.first]


_Array = Callable[[Integers], list[int]]
_View = Callable[[View], dict[str, Any]]


def _step_json(step: Step, array: _Array, view: _View) -> dict[str, Any]:
    if isinstance(step, Local):
        left = view(step.left)
        right = view(step.right) if isinstance(step.right, View) else step.right
        return {"op": step.op.value, "left": left, "right": right}
    return {
        "sum": step.kind.value,
        "shape": list(step.shape),
        "terms": [_term_json(term, array, view) for term in step.terms],
        "bias": array(step.bias.astype(np.int64)),
    }


def _term_json(term: Term, array: _Array, view: _View) -> dict[str, Any]:
    if isinstance(term, Convolution):
        return {
            "term": "convolution",
            "view": view(term.view),
            "weights": array(term.weights.astype(np.int64)),
            "axes": [vars(axis) for axis in (term.height, term.width)],
        }
    if isinstance(term, Function):
        return {
            "term": "function",
            "view": view(term.view),
            "start": term.start,
            "kinks": list(term.kinks),
            "slopes": list(term.slopes),
            **({} if term.lookup is None else {"lookup": asdict(term.lookup)}),
        }
    name = "product" if isinstance(term, Product) else "pointwise"
    left, right = view(term.left), view(term.right)
    return {"term": name, "left": left, "right": right, "factor": term.factor}


def _step(data: dict[str, Any], numbers: _Numbers) -> Step:
    if "op" in data:
        left, right = numbers.view(data["left"]), data["right"]
        other = numbers.view(right) if isinstance(right, dict) else right
        return Local(op=Op(data["op"]), left=left, right=other)
    terms = tuple(_term(entry, numbers) for entry in data["terms"])
    return Sum(
        kind=Kind(data["sum"]),
        shape=tuple(data["shape"]),
        terms=terms,
        bias=numbers.take(data["bias"]),
    )


def _term(data: dict[str, Any], numbers: _Numbers) -> Term:
    if data["term"] == "convolution":
        height, width = (Axis(**axis) for axis in data["axes"])
        view = numbers.view(data["view"])
        return Convolution(
            view=view, weights=numbers.take(data["weights"]), height=height, width=width
        )
    if data["term"] == "function":
        return Function(
            view=numbers.view(data["view"]),
            start=data["start"],
            kinks=tuple(data["kinks"]),
            slopes=tuple(data["slopes"]),
            lookup=_lookup(data["lookup"]) if "lookup" in data else None,
        )
    left, right = numbers.view(data["left"]), numbers.view(data["right"])
    if data["term"] == "product":
        return Product(left=left, right=right, factor=data["factor"])
    if data["term"] != "pointwise":
        raise ValueError("a term of no known kind")
    return Pointwise(left=left, right=right, factor=data["factor"])


def _lookup(data: dict[str, Any]) -> Lookup:
    """Raises ``ValueError`` for what is none: the arithmetic is one of integers."""
    table = FunctionTable(**data["table"])
    made = Lookup(**{**data, "table": table})
    bounded = (
        (table.scale, MOST_SCALE),
        (made.times, MOST_TIMES),
        (made.height, LARGEST_SUM),
        (made.tilt, LARGEST_SUM),
    )
    whole = all(type(n) is int and abs(n) <= most for n, most in bounded)
    if table.op not in TABLES or not whole:
        raise ValueError("a function is looked up in no table that there is")
    return made


class _Numbers:
    """Arrays of int64, taken from bytes one after another."""

    def __init__(self, data: bytes) -> None:
        self.left = memoryview(data)

    def take(self, shape: Sequence[int]) -> Integers:
        size = 8 * math.prod(shape)
        if len(self.left) < size:
            raise ValueError("the network's arrays end too soon")
        part, self.left = self.left[:size], self.left[size:]
        return np.frombuffer(part, dtype="<i8").astype(np.int64).reshape(tuple(shape))

    def view(self, data: dict[str, Any]) -> View:
        return View(rows=tuple(data["rows"]), places=self.take(data["places"]))
