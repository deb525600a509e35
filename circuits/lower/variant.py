"""What a lowering is asked for and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.format.manifest import AppliedPass

#: In what parts of itself a step is made longer (exact in binary, so equal on every machine).
PARTS = 64


@dataclass(frozen=True, kw_only=True)
class BitWidths:
    """How fine each quantity is: ``input`` fractional bits of every input, for each linear layer in
    graph order the bits of its largest weight (the last entry serves for the rest), and ``table``
    fractional bits of what goes into tables and comes out (of no effect on graphs without).
    ``longer``: for the first layers, by how many 64ths the step is longer than these bits
    make it."""

    input: int
    weights: tuple[int, ...]
    table: int = 8
    longer: tuple[int, ...] = ()

    def finer(self, bits: int) -> BitWidths:
        """The same with so many more bits everywhere."""
        if not bits:
            return self
        return BitWidths(
            input=self.input + bits,
            weights=tuple(w + bits for w in self.weights),
            table=self.table + bits,
        )

    def stretch(self, layer: int) -> float:
        """How many times as long one linear layer's step is as its bits make it."""
        return 1.0 + (self.longer[layer] / PARTS if layer < len(self.longer) else 0.0)

    def weight(self, layer: int) -> int:
        """Bits of one linear layer's largest weight."""
        return self.weights[min(layer, len(self.weights) - 1)] if self.weights else 8

    def to_json(self) -> dict[str, Any]:
        own = {"input": self.input, "weights": list(self.weights), "table": self.table}
        return own | ({"longer": list(self.longer)} if self.longer else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BitWidths:
        """The inverse of ``to_json``, also of what knew neither tables nor longer steps."""
        return cls(
            input=data["input"],
            weights=tuple(data["weights"]),
            table=data.get("table", cls.table),
            longer=tuple(data.get("longer", ())),
        )


@dataclass(frozen=True, kw_only=True)
class LoweringOptions:
    """Choices that change the cost and nothing of the result.

    ``conv``: ``direct`` lays a convolution out as such, ``matmul`` gathers its patches and
    multiplies matrices, so that hints apply. ``relu_tables``: how many ReLUs, from
    the first one on, become a HardSwish table (equal to ReLU on integers at scale 0).
    ``packed_from``: products with at least so many terms (0: none) take two outputs in one number
    (``circuits.lower.packing``). ``sparse``: products of a single row leave
    out weights that are zero. ``step_tables``: comparisons become a Sigmoid table, which at scale 0
    is the step from 0 to 1. ``saturate``: values are held to the range in which a function still
    moves before they go into its table, which then is narrow. ``hints``: results of products are
    given to the circuit and checked there (``circuits.lower.hinting``), as is cheapest for
    ``lanes`` inputs in one proof. ``doubled_from``: ReLUs by table from this number on count in the
    steps of ReLUs by magnitude, so that the arithmetic is that of a form with so many tables (None:
    in steps of their own).
    """

    conv: str = "matmul"
    relu_tables: int = 0
    packed_from: int = 0
    sparse: bool = False
    step_tables: bool = False
    saturate: bool = True
    hints: bool = False
    lanes: int = 1
    doubled_from: int | None = None

    def packs(self, terms: int) -> bool:
        """Whether a product takes two outputs in one number."""
        return 0 < self.packed_from <= terms

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoweringOptions:
        """The form of a recipe, also of one that names choices which are no more. Raises
        ``ValueError`` where it makes another choice there than the only one left."""
        known = {f.name for f in fields(cls)}
        gone = {"paired_from": 0, "packed_matrices": data.get("packed_from", 0) > 0}
        if any(value != gone.get(name) for name, value in data.items() if name not in known):
            raise ValueError("the recipe is for another compiler")
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True, kw_only=True)
class SingleRow:
    """A product of a single row: ``terms`` of each output, ``multiplications`` in all, and those
    that are left when weights of zero are left out (``nonzero``)."""

    terms: int
    multiplications: int
    nonzero: int


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
class Hinted:
    """A graph that is given results of products instead of computing them
    (``circuits.lower.hinting``).

    ``onnx`` is for the engine: to the model's inputs it adds ``results`` numbers for each product
    and, where any are ``challenged``, the challenge; to its outputs, ``residues`` numbers that have
    to be zero. ``hints`` is the graph that computes what is given. For the residues to mean
    anything, no output may exceed its one of ``output_bounds`` in magnitude, decompositions may
    hold ``most_bits`` bits at most, and tables nothing outside of ``lookup``.
    """

    onnx: bytes
    hints: bytes
    residues: int
    results: tuple[int, ...]
    challenged: bool
    output_bounds: tuple[int, ...]
    most_bits: int
    lookup: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class GraphVariant:
    """A graph of integers, to run with ``input_scale = 0``, ``param_scale = scale`` and
    ``rebase_frac_zero_constants``: whole constants stay at scale 0 (``circuits.integers.scales``).

    Feed input i with ``round(x · 2^input_scales[i])``; output i means ``n / 2^output_scales[i]``.
    ``layers`` is the number of linear layers, ``relus`` the values that each ReLU, in order,
    holds with its own largest magnitude (to choose ``LoweringOptions.relu_tables`` by),
    ``single_rows`` the products of a single row (for ``LoweringOptions.sparse``), ``terms`` the
    most that an output of any product has (for ``packed_from``).
    ``sources`` says for each node by name which node of the float graph it comes from, as
    (name, operator).
    ``compared`` gives the steps in which the operands of each comparison with a constant count,
    by the name of its output in the float graph. ``scale`` is that of the functions in tables, 0
    where there are none; ``tabled_layers`` the linear layers before the last of them. ``lookups``
    names the engine's tables: each is a lookup argument. ``hinted`` is what the engine gets in
    the place of ``onnx``, where results are given to it.
    """

    onnx: bytes
    label: str
    passes: tuple[AppliedPass, ...]
    bits: BitWidths
    form: LoweringOptions
    input_scales: tuple[int, ...]
    output_scales: tuple[int, ...]
    value_bounds: ValueBounds
    layers: int
    relus: tuple[tuple[int, int], ...]
    single_rows: tuple[SingleRow, ...] = ()
    terms: int = 0
    sources: tuple[tuple[str, tuple[str, str]], ...] = ()
    compared: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    scale: int = 0
    tabled_layers: int = 0
    lookups: tuple[str, ...] = ()
    hinted: Hinted | None = None

    @property
    def laid_out(self) -> bytes:
        """The graph that the engine lays out."""
        return self.onnx if self.hinted is None else self.hinted.onnx

    def evidence(self) -> dict[str, Any]:
        """What a plan report says of this variant."""
        return {
            "bits": self.bits.to_json(),
            "form": asdict(self.form),
            "bounds": asdict(self.value_bounds),
            "layers": self.layers,
        }
