"""Biases summed inside the products that they follow.

The engine gives an addition a cell of its own for each value. A product of many rows is checked by
random vectors instead (Freivalds), and in that check one more term costs a cell for each row. So
where many rows share their weights, ``x·W + b`` is cheaper as ``[x, 1]·[W; b]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from circuits.format.wide_constants import EXACT
from circuits.frontend.fixed_shapes import infer_shapes, static_shape

#: Columns of a product from which on it pays: each saves a cell a row, the further term costs one.
_LEAST_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class _Biased:
    """``Add(MatMul(left, weights), bias)``; ``shape`` is the left factor's."""

    product: NodeProto
    addition: NodeProto
    shape: tuple[int, ...]
    weights: NDArray[Any]
    bias: NDArray[Any]


def sum_biases_inside(data: bytes) -> bytes:
    """The same graph of integers, with products of several rows that sum their own bias.

    Products by weights of two dimensions are looked at, whose result goes nowhere but into the
    addition of one constant a column. Equal graphs give equal bytes.
    """
    model = infer_shapes(onnx.load_model_from_string(data))
    found = {id(b.product): b for b in _biased(model)}
    if not found:
        return data
    additions = {id(b.addition) for b in found.values()}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if id(node) in found:
            nodes += _summed(model, found[id(node)])
        elif id(node) not in additions:
            nodes.append(node)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    used = {name for node in copies for name in node.input}
    kept = [t for t in model.graph.initializer if t.name.removesuffix(EXACT) in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.value_info[:]
    made: bytes = infer_shapes(model).SerializeToString(deterministic=True)
    return made


def _biased(model: ModelProto) -> list[_Biased]:
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    shapes = {v.name: static_shape(v) for v in [*graph.input, *graph.value_info]}
    outputs = {v.name for v in graph.output}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    out = []
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in constants:
            continue
        after, name = users.get(node.output[0], []), node.output[0]
        shape = shapes.get(node.input[0])
        if len(after) != 1 or after[0].op_type != "Add" or name in outputs or not shape:
            continue
        other = next((i for i in after[0].input if i in constants), None)
        if other is None:
            continue
        weights, bias = (numpy_helper.to_array(constants[n]) for n in (node.input[1], other))
        if any(n + EXACT in constants for n in (node.input[1], other)):
            continue  # stand-ins of one product would be told apart from those of another no more
        if (
            weights.ndim == 2
            and weights.shape[1] >= _LEAST_COLUMNS
            and len(shape) > 1
            and prod(shape[:-1]) > 1
            and bias.size == bias.shape[-1] == weights.shape[1]
            and bias.dtype == weights.dtype
        ):
            out.append(
                _Biased(product=node, addition=after[0], shape=shape, weights=weights, bias=bias)
            )
    return out


def _summed(model: ModelProto, found: _Biased) -> list[NodeProto]:
    """The nodes that take the place of a product and the addition of its bias.

    The ones are gathered beside the values: the engine's graph optimiser takes a ``Concat`` along
    the terms apart again, into a product and an addition.
    """
    left, name = found.product.input[0], found.addition.output[0]
    rows, terms = found.shape[:-1], found.shape[-1]
    count = prod(found.shape)
    places = np.arange(count).reshape(found.shape)
    ones = np.full((*rows, 1), count)

    def constant(what: str, values: NDArray[Any]) -> str:
        model.graph.initializer.append(numpy_helper.from_array(values, f"{name}/{what}"))
        return f"{name}/{what}"

    def made(op: str, what: str, *inputs: str, **axis: Any) -> NodeProto:
        return helper.make_node(op, inputs, [what], name=what, **axis)

    assert found.weights.shape[0] == terms
    stacked = np.concatenate([found.weights, found.bias.reshape(1, -1)])
    length = constant("length", np.array([count], np.int64))
    one = constant("one", np.ones(1, found.weights.dtype))
    index = constant("places", np.concatenate([places, ones], axis=-1).astype(np.int64))
    weights = constant("biased", stacked)
    return [
        made("Reshape", f"{name}/flat", left, length),
        made("Concat", f"{name}/and_one", f"{name}/flat", one, axis=0),
        made("Gather", f"{name}/terms", f"{name}/and_one", index, axis=0),
        made("MatMul", name, f"{name}/terms", weights),
    ]
