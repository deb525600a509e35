"""What a lowering is asked for and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.format.manifest import AppliedPass
from circuits.integers.interpreter import Graph


@dataclass(frozen=True, kw_only=True)
class BitWidths:
    """How fine each quantity is: ``input`` fractional bits of every input, for each linear layer in
    graph order the bits of its largest weight (the last entry serves for the rest), and ``table``
    fractional bits of what goes into tables and comes out (of no effect on graphs without)."""

    input: int
    weights: tuple[int, ...]
    table: int = 8

    def finer(self, bits: int) -> BitWidths:
        """The same with so many more bits everywhere."""
        if not bits:
            return self
        return BitWidths(
            input=self.input + bits,
            weights=tuple(w + bits for w in self.weights),
            table=self.table + bits,
        )

    def weight(self, layer: int) -> int:
        """Bits of one linear layer's largest weight."""
        return self.weights[min(layer, len(self.weights) - 1)] if self.weights else 8

    def to_json(self) -> dict[str, Any]:
        return {"input": self.input, "weights": list(self.weights), "table": self.table}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BitWidths:
        """The inverse of ``to_json``, also of what knew no tables."""
        return cls(
            input=data["input"],
            weights=tuple(data["weights"]),
            table=data.get("table", cls.table),
        )


@dataclass(frozen=True, kw_only=True)
class LoweredNode:
    """A node of an integer graph: the node of the float graph that it comes from, as (name,
    operator), and the assignments that it takes, with those for each leg of a decomposition
    (``circuits.lower.cells``)."""

    source: tuple[str, str]
    cells: int
    cells_per_leg: int


@dataclass(frozen=True, kw_only=True)
class ValueBounds:
    """What no accepted input can exceed, by interval arithmetic.

    ``decomposed``: the largest magnitude that is split into digits (ReLU, comparison, rescale).
    ``lookup``: lowest and highest value that enters a table, or None without tables. ``largest``:
    the largest magnitude anywhere.
    """

    decomposed: int
    lookup: tuple[int, int] | None
    largest: int


@dataclass(frozen=True, kw_only=True)
class GraphVariant:
    """A graph of integers, to run with ``input_scale = 0``, ``param_scale = scale`` and
    ``rebase_frac_zero_constants``: whole constants stay at scale 0 (``circuits.integers.scales``).

    Feed input i with ``round(x · 2^input_scales[i])``; output i means ``n / 2^output_scales[i]``.
    ``tables``: comparisons and ReLUs are tables (at scale 0 Sigmoid is the step from 0 to 1, and
    HardSwish is ReLU). ``layers`` is the number of linear layers. ``nodes`` says of each node where
    it comes from and what it costs; ``border`` counts the values of inputs and outputs.
    ``compared`` gives the steps in which the operands of each comparison with a constant count,
    by the name of its output in the float graph. ``scale`` is that of the functions in tables, 0
    where there are none; ``tabled_layers`` the linear layers before the last of them. ``lookups``
    names the engine's tables: each is a lookup argument. ``graph`` stands for ``onnx`` where that
    was not written.
    """

    onnx: bytes
    label: str
    passes: tuple[AppliedPass, ...]
    bits: BitWidths
    tables: bool
    input_scales: tuple[int, ...]
    output_scales: tuple[int, ...]
    value_bounds: ValueBounds
    layers: int
    nodes: tuple[LoweredNode, ...] = ()
    border: int = 0
    compared: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    scale: int = 0
    tabled_layers: int = 0
    lookups: tuple[str, ...] = ()
    graph: Graph | None = field(default=None, repr=False)
