"""Where an integer graph's assignments go, without asking the engine.

Read off EZKL 23.0.5: movements and constant Gathers are free, an elementwise operator costs one
assignment an element, a magnitude ``5 + 3 · legs``, a ReLU ``10 + 3 · legs``, a division
``28 + 9 · legs``, a table look-up one, a product one a multiplication.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import NodeProto

from circuits.integers.interpreter import parsed
from circuits.integers.tables import TABLES
from circuits.lower.variant import GraphVariant

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


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one node of the rewritten float graph costs in integers."""

    layer: str
    op: str
    assignments: int


def cost_by_layer(variant: GraphVariant, legs: int) -> tuple[LayerCost, ...]:
    """Estimated costs, in graph order, of the layers that cost anything: in total within some per
    cent of the engine's own count, which adds one a value of input and output."""
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(variant.laid_out))
    graph = model.graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*graph.input, *graph.value_info, *graph.output]
    }
    shapes |= {t.name: list(t.dims) for t in graph.initializer}
    sources = dict(variant.sources)
    divided = parsed(variant.laid_out, variant.scale).divided
    totals: dict[tuple[str, str], int] = {}
    for node in graph.node:
        cells = _cost(node, shapes, legs)
        if node.name in divided:
            base, each = _DIVISION
            cells += math.prod(shapes[node.output[0]]) * (base + each * legs)
        if cells:
            source = sources[node.name]
            totals[source] = totals.get(source, 0) + cells
    return tuple(
        LayerCost(layer=layer, op=op, assignments=cells) for (layer, op), cells in totals.items()
    )


def border_cells(variant: GraphVariant) -> int:
    """Assignments for what goes in and comes out: one a value."""
    graph = onnx.load_model_from_string(variant.laid_out).graph
    return sum(
        math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in [*graph.input, *graph.output]
    )


def _cost(node: NodeProto, shapes: dict[str, list[int]], legs: int) -> int:
    out = math.prod(shapes[node.output[0]])
    first = shapes[node.input[0]]
    if node.op_type in _ELEMENTWISE:
        return out
    if node.op_type == "ReduceSum":
        return math.prod(first)
    if node.op_type == "Conv":
        return out * (1 + math.prod(shapes[node.input[1]][1:]))
    if node.op_type == "MatMul":
        return out * (first[-1] + first[-1] % 2)  # whole rows of the usual two inner columns
    if node.op_type in _DECOMPOSED:
        base, each = _DECOMPOSED[node.op_type]
        size = math.prod(first) if node.op_type == "ArgMax" else out
        return size * (base + each * legs)
    if node.op_type in _FREE:
        return 0
    raise ValueError(f"no cost is known for {node.op_type}")
