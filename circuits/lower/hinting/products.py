"""Products by constant matrices: what may be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from circuits.integers.interpreter import Graph

#: Operators whose result the engine leaves a choice, whatever its operands.
_SEVERAL_ANSWERS = frozenset({"ArgMax"})


@dataclass(frozen=True, kw_only=True)
class Product:
    """``left · weights + bias``, whose ``result`` may be given. ``nodes`` make the result out of
    ``left``; ``weights`` [K, F] and ``bias`` [F], which is the same for all ``rows``, hold whole
    numbers."""

    nodes: tuple[NodeProto, ...]
    left: str
    result: str
    rows: int
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    @property
    def terms(self) -> int:
        return len(self.weights)

    @property
    def outputs(self) -> int:
        return int(self.weights.shape[1])


def products(model: ModelProto, graph: Graph) -> Iterator[Product]:
    """Products by constant matrices, in graph order, each with the constant added to it. Left out
    are those behind an operator with several right answers."""
    shapes = shapes_of(model)
    users: dict[str, list[NodeProto]] = {}
    for node in graph.nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    chosen = open_to_choice(graph)
    for node in graph.nodes:
        if node.output[0] in chosen:
            continue
        weights = graph.constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if weights is None or weights.ndim != 2 or weights.dtype == object:
            continue
        left = shapes[node.input[0]]
        if len(left) != 3 or left[0] != 1 or graph.attributes[node.name]["scale"] != 0:
            continue
        nodes, bias = _with_bias(graph, users, node, (left[1], weights.shape[1]))
        if any(n.output[0] in graph.outputs for n in nodes[:-1]):
            continue
        yield Product(
            nodes=nodes,
            left=node.input[0],
            result=nodes[-1].output[0],
            rows=left[1],
            weights=weights.astype(np.float64),
            bias=bias,
        )


def open_to_choice(graph: Graph) -> set[str]:
    """Values behind an operator that has several right answers: a division, which is right to one,
    or the place of a largest element, of which there may be two."""
    found: set[str] = set()
    for node in graph.nodes:
        several = node.name in graph.divided or node.op_type in _SEVERAL_ANSWERS
        if several or found & set(node.input):
            found.add(node.output[0])
    return found


def shapes_of(model: ModelProto) -> dict[str, list[int]]:
    """The shape of every value of a model."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def _with_bias(
    graph: Graph,
    users: Mapping[str, list[NodeProto]],
    product: NodeProto,
    size: tuple[int, int],
) -> tuple[tuple[NodeProto, ...], NDArray[np.float64]]:
    """The nodes from a product to the constant that is added to each of its rows and nothing else,
    and that constant. Only the product and zeros where there is none."""
    nodes = [product]
    while len(after := users.get(nodes[-1].output[0], [])) == 1:
        nodes.append(after[0])
        if after[0].op_type == "Add":
            place = 1 if after[0].input[0] == nodes[-2].output[0] else 0
            added = graph.constants.get(after[0].input[place])
            scaled = graph.attributes[after[0].name]["scale"] != 0
            if added is None or scaled or added.dtype == object:
                break
            shape = _reshaped(graph, nodes[1:-1]) or added.shape
            try:
                rows = np.broadcast_to(added.astype(np.float64), shape).reshape(size)
            except ValueError:
                break
            if np.any(rows != rows[:1]):
                break
            return tuple(nodes), rows[0]
        if after[0].op_type != "Reshape":
            break
    return (product,), np.zeros(size[1])


def _reshaped(graph: Graph, nodes: Sequence[NodeProto]) -> tuple[int, ...] | None:
    """The shape that reshapes end in; None without any."""
    if not nodes:
        return None
    return tuple(int(n) for n in graph.constants[nodes[-1].input[1]])
