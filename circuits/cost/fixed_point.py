"""What a float graph costs in the engine's fixed point, counted without asking the engine.

Its own count takes a second for every million cells and settles for tens of millions, so whether a
model is infeasible has to be known before. The numbers are those of EZKL 23.0.5, measured operator
by operator (assignments an element, decompositions of two legs); sums are right within some tens
of percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto

from circuits.frontend.fixed_shapes import known_dims
from circuits.frontend.operators import attributes

#: After each product, numbers come back to their scale by a division with remainder.
RESCALE = 46
_TABLE = 3
_RELU = 18
_MAXIMUM = 34

#: Copies of what is there already.
_FREE = frozenset(
    {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape"}
    | {"Gather", "Concat", "Slice", "Split", "Expand", "Tile", "Cast", "Pad", "Dropout"}
)
_TABLES = frozenset(
    {"Sigmoid", "Tanh", "Exp", "Erf", "Log", "HardSwish", "Sin", "Cos", "Tan", "Atan", "Asin"}
    | {"Acos", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Softplus", "Gelu"}
)
#: Assignments for each element of the output.
_EACH: Mapping[str, int] = {
    **dict.fromkeys(_FREE, 1),
    **dict.fromkeys(_TABLES, _TABLE),
    **dict.fromkeys(("Add", "Sub", "Neg", "Sum", "And", "Or", "Xor", "Not"), 4),
    **dict.fromkeys(("Mul", "Pow"), 3 + RESCALE),
    **dict.fromkeys(("Relu", "Sign", "Abs"), _RELU),
    **dict.fromkeys(("Max", "Min"), _MAXIMUM),
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"), 27),
    "LeakyRelu": _RELU + 10 + RESCALE,
    "PRelu": _RELU + 10 + RESCALE,
    "Clip": 49,
    "Elu": 32,
    "Where": 5,
    "Softmax": 81,
    "LogSoftmax": 90,
    "Div": 122 + RESCALE,
    "Reciprocal": 122,
    "Sqrt": 106,
    "Floor": 45,
    "Ceil": 45,
    "Round": 66,
    "BatchNormalization": 50,
    "LayerNormalization": 230,
    "InstanceNormalization": 230,
}
#: What is not in the table: an operator that changes a scale and looks something up.
_UNKNOWN = 100


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a graph fills: ``cells`` of the main columns, ``tables`` distinct lookups,
    ``constants`` fixed numbers; and of how many ``nodes``."""

    cells: int
    tables: int
    constants: int
    nodes: int = 0


Shapes = Mapping[str, list[int]]


def count(data: bytes) -> Count:
    """Counts a rewritten graph at the engine's usual settings, rescaling after each product."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    return Count(
        cells=sum(cells for _, cells in cells_by_node(model)),
        tables=len({n.op_type for n in graph.node} & _TABLES),
        constants=sum(math.prod(t.dims) for t in graph.initializer),
        nodes=len(graph.node),
    )


def cells_by_node(model: ModelProto) -> list[tuple[NodeProto, int]]:
    """The nodes of a rewritten graph that read something, each with its cells."""
    graph = model.graph
    shapes = {v.name: known_dims(v) for v in [*graph.input, *graph.value_info, *graph.output]}
    shapes |= {t.name: list(t.dims) for t in graph.initializer}
    return [(n, _node_cells(n, shapes)) for n in graph.node if n.input and n.output]


def _node_cells(node: NodeProto, shapes: Shapes) -> int:
    special = _SPECIAL.get(node.op_type)
    if special is not None:
        return special(node, shapes)
    each = _EACH.get(node.op_type)
    if each is not None:
        return each * _size(shapes, node.output[0])
    return _UNKNOWN * max(_size(shapes, node.output[0]), _size(shapes, node.input[0]))


def _size(shapes: Shapes, name: str) -> int:
    return math.prod(shapes.get(name, [0]))


def _shape(node: NodeProto, shapes: Shapes, index: int) -> list[int]:
    return shapes.get(node.input[index], []) if len(node.input) > index else []


def _convolution(node: NodeProto, shapes: Shapes) -> int:
    out, kernel = _size(shapes, node.output[0]), _shape(node, shapes, 1)
    return out * (math.prod(kernel[1:]) + 1 + RESCALE)


def _transposed(node: NodeProto, shapes: Shapes) -> int:
    """Laid out as a convolution over the image spread with zeros."""
    out, kernel = _size(shapes, node.output[0]), _shape(node, shapes, 1)
    return out * (kernel[0] * math.prod(kernel[2:]) + 1 + RESCALE if kernel else 1)


def _product(node: NodeProto, shapes: Shapes) -> int:
    left, out = _shape(node, shapes, 0), _size(shapes, node.output[0])
    if node.op_type == "Gemm" and left and attributes(node).get("transA"):
        left = left[::-1]
    return out * ((left[-1] if left else 0) + 1 + RESCALE)


def _pool(node: NodeProto, shapes: Shapes) -> int:
    kernel = attributes(node).get("kernel_shape")
    window = math.prod(int(k) for k in kernel) if isinstance(kernel, list) else 1
    out = _size(shapes, node.output[0])
    if node.op_type == "MaxPool":
        return out * window * 21
    return out * (window + RESCALE)


def _reduction(node: NodeProto, shapes: Shapes) -> int:
    inner, out = _size(shapes, node.input[0]), _size(shapes, node.output[0])
    each = {"ReduceMax": 27, "ReduceMin": 27, "ArgMax": 66, "ArgMin": 66, "GlobalMaxPool": 27}
    return inner * each.get(node.op_type, 2) + out * RESCALE


_SPECIAL: Mapping[str, Callable[[NodeProto, Shapes], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "MatMul": _product,
    "Gemm": _product,
    "MaxPool": _pool,
    "AveragePool": _pool,
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "ArgMax", "ArgMin"), _reduction),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"), _reduction),
}
