"""Affine layers one after another, with nothing between, as the one affine layer that they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import attr, constant, input_at

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Affine:
    """x · weights + bias, for rows x."""

    source: ir.Value
    weights: Floats
    bias: Floats | None

    def after(self, first: _Affine) -> _Affine:
        """This map on what ``first`` gives."""
        bias = self.bias
        if first.bias is not None:
            carried = first.bias @ self.weights
            bias = carried if bias is None else carried + bias
        return _Affine(first.source, first.weights @ self.weights, bias)


def merge_affine(model: ir.Model) -> None:
    """Merges each layer with the one before it where that takes fewer multiplications."""
    for node in model.graph:
        if node.op_type == "Add":
            _join_bias(node)
        while (merged := _merged(node)) is not None:
            _rewrite(node, merged)


def _merged(node: ir.Node) -> _Affine | None:
    second = _affine(node)
    producer = None if second is None else _only_producer(second.source)
    first = None if producer is None else _affine(producer)
    if second is None or first is None:
        return None
    merged = second.after(first)
    apart = first.weights.size + second.weights.size
    return merged if merged.weights.size < apart else None


def _affine(node: ir.Node) -> _Affine | None:
    """The map of a Gemm or MatMul of rows by constants."""
    if node.op_type not in ("Gemm", "MatMul") or attr(node, "transA", 0):
        return None
    source, weights = node.inputs[0], constant(node.inputs[1])
    if (
        source is None
        or source.shape is None
        or source.shape.rank() != 2
        or constant(source) is not None
    ):
        return None
    if weights is None or np.ndim(weights) != 2:
        return None
    matrix = np.asarray(weights, dtype=np.float64) * float(attr(node, "alpha", 1.0))
    matrix = matrix.T if attr(node, "transB", 0) else matrix
    added = input_at(node, 2)
    if added is None:
        return _Affine(source, matrix, None)
    bias = constant(added)
    if bias is None or not (np.size(bias) == 1 or np.shape(bias) in _rows(matrix.shape[1])):
        return None
    values = np.asarray(bias, dtype=np.float64).reshape(-1) * float(attr(node, "beta", 1.0))
    return _Affine(source, matrix, np.broadcast_to(values, matrix.shape[1]))


def _rows(length: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of a constant that is the same for every row."""
    return ((length,), (1, length))


def _only_producer(value: ir.Value) -> ir.Node | None:
    """The node that makes a value which nothing but one node reads."""
    used_once = len(value.uses()) == 1 and not value.is_graph_output()
    return value.producer() if used_once else None


def _join_bias(node: ir.Node) -> None:
    """Add of a constant row to an affine layer, as one node."""
    left, right = node.inputs
    for value, other in ((left, right), (right, left)):
        producer = None if value is None else _only_producer(value)
        first = None if producer is None else _affine(producer)
        bias = constant(other)
        if first is None or bias is None:
            continue
        if np.shape(bias) in _rows(first.weights.shape[1]):
            total = np.ravel(bias).astype(np.float64)
            total = total if first.bias is None else total + first.bias
            _rewrite(node, _Affine(first.source, first.weights, total))
        return


def _rewrite(node: ir.Node, affine: _Affine) -> None:
    """Makes a node the Gemm of an affine map."""
    assert node.graph is not None
    node.op_type = "Gemm"
    node.attributes.clear()
    parts = [affine.weights] if affine.bias is None else [affine.weights, affine.bias]
    node.resize_inputs(1 + len(parts))
    node.replace_input_with(0, affine.source)
    for place, values in enumerate(parts, start=1):
        name = f"{node.outputs[0].name}_affine_{place}"
        tensor = ir.tensor(values.astype(np.float32), name=name)
        held = ir.Value(
            name=name,
            shape=ir.Shape(list(values.shape)),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        node.graph.initializers[name] = held
        node.replace_input_with(place, held)
