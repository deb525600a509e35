"""What a circuit is given beside its input: results of products, computed here, checked in it.

``circuits.lower.hints`` says why that is cheaper, and what makes it sound. Wrong hints give a proof
that does not verify; that they are right is of use to the prover alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from circuits.engine.port import Felts
from circuits.field import from_felt, to_felt

#: Beyond these no engine takes numbers apart.
_WIDEST, _MOST = 1 << 64, 128


@dataclass(frozen=True, kw_only=True)
class Hints:
    """That a circuit is given results, and what a verifier has to look at because of it.

    ``residues``: how many of a lane's public instances have to be zero. That says something only
    as long as no element of an output exceeds its one of ``output_bounds`` in magnitude, the
    circuit's decompositions hold ``most_bits`` bits at most, and its tables nothing outside of
    ``lookup``.
    """

    residues: int
    output_bounds: tuple[int, ...]
    most_bits: int
    lookup: tuple[int, int] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "residues": self.residues,
            "output_bounds": list(self.output_bounds),
            "most_bits": self.most_bits,
            "lookup": None if self.lookup is None else list(self.lookup),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Hints:
        lookup = data["lookup"]
        return cls(
            residues=data["residues"],
            output_bounds=tuple(data["output_bounds"]),
            most_bits=data["most_bits"],
            lookup=None if lookup is None else (lookup[0], lookup[1]),
        )

    def bind(self, base: int, legs: int, lookup: tuple[int, int]) -> bool:
        """Whether results are bound in a circuit of these decompositions and tables."""
        digits = 0 < base <= _WIDEST and 0 < legs <= _MOST and base**legs <= 1 << self.most_bits
        if self.lookup is None:
            return digits
        return digits and self.lookup[0] <= lookup[0] and lookup[1] <= self.lookup[1]


@dataclass(frozen=True, kw_only=True)
class Given:
    """A circuit's hints: the graph that computes them out of its inputs, and what its manifest says
    of them."""

    graph: bytes
    claim: Hints


def results_for(hints: bytes, inputs: list[Felts]) -> list[Felts]:
    """The results that a circuit is given with these inputs, in the engine's order.

    ``hints`` is the graph that computes them (``Hinted.hints``), ``inputs`` the circuit's own, each
    for as many lanes as there are; tensors that the graph does not have (the context) are left out.
    """
    from circuits.lower.integers import Graph, exact_type, run_graph

    facts = {p.key: p.value for p in onnx.load_model_from_string(hints).metadata_props}
    graph = Graph(hints, int(facts["scale"]))
    feeds = {}
    for name, felts in zip(graph.inputs, inputs, strict=False):
        shape = graph.shapes[name]
        numbers = np.array([from_felt(f) for f in felts], dtype=object)
        feeds[name] = numbers.reshape(len(felts) // math.prod(shape), *shape)
    results = run_graph(graph, feeds, exact_type(int(facts["largest"])))
    return [[to_felt(int(n)) for n in r.reshape(-1)] for r in results]
