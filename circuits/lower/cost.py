"""Where an integer graph's assignments go, without asking the engine.

Read off EZKL 23.0.5: movements and constant Gathers are free, an elementwise operator costs one
assignment an element, a magnitude ``5 + 3 · legs``, a ReLU ``10 + 3 · legs``, a division
``28 + 9 · legs``, a table look-up one, a product one a multiplication; with Freivalds' argument, a
product of matrices nothing but cells in columns of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """What one node of the rewritten float graph costs in integers: assignments in the main columns
    and cells in Freivalds' columns. ``room``: what the engine sets aside of these for it, used or
    not (``circuits.engine.products``)."""

    layer: str
    op: str
    assignments: int
    einsum: int
    room: int


def cost_by_layer(
    variant: GraphVariant, legs: int, *, freivalds: bool = False
) -> tuple[LayerCost, ...]:
    """Estimated costs, in graph order, of the layers that cost anything: in total within some per
    cent of the engine's own count, which adds one a value of input and output. ``freivalds``:
    whether products are checked by that argument."""
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(variant.laid_out))
    graph = model.graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*graph.input, *graph.value_info, *graph.output]
    }
    shapes |= {t.name: list(t.dims) for t in graph.initializer}
    sources = dict(variant.sources)
    divided = parsed(variant.laid_out, variant.scale).divided
    totals: dict[tuple[str, str], list[int]] = {}
    for node in graph.node:
        main, einsum, room = _cost(node, shapes, legs, freivalds)
        if node.name in divided:
            base, each = _DIVISION
            main += math.prod(shapes[node.output[0]]) * (base + each * legs)
            room += 2 * _room_for_digits(math.prod(shapes[node.output[0]]), legs)
        if main or einsum:
            total = totals.setdefault(sources[node.name], [0, 0, 0])
            for i, cells in enumerate((main, einsum, room)):
                total[i] += cells
    return tuple(
        LayerCost(layer=layer, op=op, assignments=main, einsum=einsum, room=room)
        for (layer, op), (main, einsum, room) in totals.items()
    )


def border_cells(variant: GraphVariant) -> int:
    """Assignments for what goes in and comes out: one a value."""
    graph = onnx.load_model_from_string(variant.laid_out).graph
    return sum(
        math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in [*graph.input, *graph.output]
    )


def _cost(
    node: NodeProto, shapes: dict[str, list[int]], legs: int, freivalds: bool
) -> tuple[int, int, int]:
    out = math.prod(shapes[node.output[0]])
    first = shapes[node.input[0]]
    main, einsum, room = 0, 0, 0
    if node.op_type in _ELEMENTWISE:
        main = out
    elif node.op_type == "ReduceSum":
        main = math.prod(first)
    elif node.op_type == "Conv":
        main = out * (1 + math.prod(shapes[node.input[1]][1:]))
    elif node.op_type == "MatMul":
        main, einsum = _product(first, shapes[node.input[1]], out, freivalds)
        room = main + einsum
    elif node.op_type in _DECOMPOSED:
        base, each = _DECOMPOSED[node.op_type]
        size = math.prod(first) if node.op_type == "ArgMax" else out
        main = size * (base + each * legs)
        room = _room_for_digits(size, legs)
    elif node.op_type not in _FREE:
        raise ValueError(f"no cost is known for {node.op_type}")
    return main, einsum, room


def _room_for_digits(values: int, legs: int) -> int:
    """A decomposition is the sum of digits times powers of the base: a product, to the engine."""
    return values * (2 * legs + 1)


def _product(
    left: Sequence[int], right: Sequence[int], out: int, freivalds: bool
) -> tuple[int, int]:
    """Freivalds' check of a product ``[rows, inner] · [inner, columns]`` takes dot products: the
    weights and the product with random vectors along ``columns``, both sides along ``rows``, and
    one along ``inner``, each filled up to whole rows of the usual two inner columns."""
    rows, inner, columns = left[-2], left[-1], right[-1]
    if rows == 1 or columns == 1 or not freivalds:
        return out * _filled(inner), 0
    wide, high = _filled(columns), _filled(rows)
    stacked = math.prod(left[:-2])
    return 0, stacked * (inner * (wide + high) + rows * wide + _filled(inner) + high + 4)


def _filled(length: int) -> int:
    return length + length % 2
