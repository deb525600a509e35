"""Where an integer graph's assignments go, without asking the engine.

Read off EZKL 23.0.5: movements and constant Gathers are free, an elementwise operator costs one
assignment an element, a magnitude ``5 + 3 · legs``, a ReLU ``10 + 3 · legs``, a division
``28 + 9 · legs``, a table look-up one, a product one a multiplication.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import onnx
from onnx import NodeProto

from circuits.integers.interpreter import parsed
from circuits.integers.tables import TABLES
from circuits.lower.variant import BitWidths, GraphVariant

_FREE = frozenset({"Reshape", "Gather", "Transpose", "Identity", "Concat", "Pad"})
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Neg", "HardSwish", "Cast", *TABLES})
_DIVISION = (28, 9)
_DECOMPOSED = {
    "Abs": (5, 3),
    "Relu": (10, 3),
    "Greater": (17, 3),
    "Equal": (6, 0),
    "ArgMax": (50, 6),
}
#: Bits that most models do well with.
TYPICAL = BitWidths(input=5, weights=(8,))
#: Bits of a digit in the engine's usual decomposition.
_DIGIT_BITS = 14


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one node of the rewritten float graph costs in integers."""

    layer: str
    op: str
    assignments: int


def cost_by_layer(variant: GraphVariant, legs: int) -> tuple[LayerCost, ...]:
    """Estimated costs, in graph order, of the layers that cost anything: in total within some per
    cent of the engine's own count, which adds one a value of input and output."""
    sources = dict(variant.sources)
    totals: dict[tuple[str, str], int] = {}
    nodes, _ = _counted(variant.onnx, variant.scale)
    for name, base, each in nodes:
        if cells := base + each * legs:
            totals[sources[name]] = totals.get(sources[name], 0) + cells
    return tuple(
        LayerCost(layer=layer, op=op, assignments=cells) for (layer, op), cells in totals.items()
    )


def cells_of(variant: GraphVariant, legs: int) -> int:
    """All assignments, those for what goes in and comes out among them: one a value."""
    nodes, border = _counted(variant.onnx, variant.scale)
    return border + sum(base + each * legs for _, base, each in nodes)


def typical_legs(variant: GraphVariant) -> int:
    """The legs that a graph's decompositions need at the engine's usual base."""
    return max(2, -(-variant.value_bounds.decomposed.bit_length() // _DIGIT_BITS))


@lru_cache(maxsize=4)
def _counted(data: bytes, scale: int) -> tuple[list[tuple[str, int, int]], int]:
    """Each node's name, its assignments without legs and for each leg; and those of the border."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data)).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {t.name: list(t.dims) for t in graph.initializer}
    divided = parsed(data, scale).divided
    found = []
    for node in graph.node:
        base, each = _cost(node, shapes)
        if node.name in divided:
            size = math.prod(shapes[node.output[0]])
            base, each = base + _DIVISION[0] * size, each + _DIVISION[1] * size
        found.append((node.name, base, each))
    return found, sum(math.prod(shapes[v.name]) for v in [*graph.input, *graph.output])


def _cost(node: NodeProto, shapes: dict[str, list[int]]) -> tuple[int, int]:
    out = math.prod(shapes[node.output[0]])
    first = shapes[node.input[0]]
    if node.op_type in _ELEMENTWISE:
        return out, 0
    if node.op_type == "ReduceSum":
        return math.prod(first), 0
    if node.op_type == "Conv":
        return out * (1 + math.prod(shapes[node.input[1]][1:])), 0
    if node.op_type == "MatMul":
        return out * (first[-1] + first[-1] % 2), 0  # whole rows of the usual two inner columns
    if node.op_type in _DECOMPOSED:
        base, each = _DECOMPOSED[node.op_type]
        size = math.prod(first) if node.op_type == "ArgMax" else out
        return size * base, size * each
    if node.op_type in _FREE:
        return 0, 0
    raise ValueError(f"no cost is known for {node.op_type}")
