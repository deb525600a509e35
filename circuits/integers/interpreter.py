"""Running an integer graph exactly, many samples at once, without the engine.

Knows the operators that the lowering emits and no others. Numbers are float64 while they stay
below 2^53 (where float64 is exact and fast), int64 below 2^63, Python integers beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.helper import get_attribute_value

from circuits.format.function_tables import TABLES, entries
from circuits.format.wide_constants import exact_constants
from circuits.integers.scales import LEVELLED, scale_after

Array = NDArray[Any]


@dataclass(frozen=True)
class Node:
    """An operator with the names of what it reads and makes."""

    name: str
    op_type: str
    input: tuple[str, ...]
    output: tuple[str, ...]


class Graph:
    """An integer graph: nodes in order with their attributes, constants, inputs' shapes, outputs.

    ``scale`` is that of the engine's tables.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        attributes: dict[str, dict[str, Any]],
        constants: dict[str, Array],
        shapes: Mapping[str, tuple[int, ...]],
        outputs: Sequence[str],
        scale: int,
    ) -> None:
        self.nodes, self.attributes = nodes, attributes
        self.constants = constants | exact_constants(constants)
        #: Constants that are shapes, axes or indices: no numbers of the computation.
        self.places = {n for n, c in self.constants.items() if c.dtype == np.int64}
        self.shapes, self.inputs, self.outputs = shapes, [*shapes], outputs
        #: Nodes that only change the engine's scale, and those that it divides by 2^k.
        self.relabels: set[str] = set()
        self.divided: dict[str, int] = {}
        self._follow_scales(scale)

    def _follow_scales(self, most: int) -> None:
        """What the engine does beyond what the graph says (see ``circuits.integers.scales``)."""
        scales: dict[str, int] = {}
        for node in self.nodes:
            output = node.output[0]
            if (by := self._raises(node)) is not None:
                self.relabels.add(node.name)
                scales[output] = scales.get(node.input[0], 0) + by
                continue
            found = [scales.get(name, 0) for name in node.input]
            if node.op_type in LEVELLED:
                found = self._level(node, found)
            scales[output], shift = scale_after(node.op_type, found, most)
            self.attributes[node.name]["scale"] = scales[output]
            if shift:
                self.divided[node.name] = shift

    def _raises(self, node: Node) -> int | None:
        factor = self.constants.get(node.input[1]) if node.op_type == "Mul" else None
        if factor is None or factor.size != 1 or not 0 < float(factor.reshape(-1)[0]) < 1:
            return None
        return -int(np.log2(float(factor.reshape(-1)[0])))

    def _level(self, node: Node, found: list[int]) -> list[int]:
        """One scale for all operands: constants are written divided by it."""
        level = max(found)
        for name, scale in zip(node.input, found, strict=True):
            if name in self.constants and level:
                self.constants[name] = self.constants[name].astype(np.float64) * 2.0**level
            elif name not in self.constants and scale != level:
                raise ValueError(f"{node.name} has operands at scales {found}")
        return [level] * len(found)


@lru_cache(maxsize=16)
def parsed(data: bytes, scale: int = 0) -> Graph:
    """The graph, parsed once; ``scale`` as for ``Graph``."""
    graph = onnx.load_model_from_string(data).graph
    return Graph(
        [Node(n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in graph.node],
        {n.name: {a.name: get_attribute_value(a) for a in n.attribute} for n in graph.node},
        {t.name: numpy_helper.to_array(t) for t in graph.initializer},
        {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in graph.input},
        [o.name for o in graph.output],
        scale,
    )


def exact_type(largest: int) -> Any:
    """The fastest number type that holds every integer up to ``largest``."""
    if largest < 1 << 53:
        return np.float64
    return np.int64 if largest < 1 << 62 else object


def run_graph(graph: Graph, inputs: Mapping[str, Array], dtype: Any) -> list[Array]:
    """The outputs of a batch of samples, in numbers of type ``dtype`` (float64, int64 or object).

    ``inputs[name]`` has shape ``[samples, *input shape]`` and holds integers; each output has
    shape ``[samples, *output shape]``.
    """
    values: dict[str, Array] = {}
    for name in graph.inputs:
        if name in inputs:
            values[name] = _as(np.asarray(inputs[name]), dtype)
    for node in graph.nodes:
        if node.name in graph.relabels:
            values[node.output[0]] = values[node.input[0]]
            continue
        operands = [_operand(name, values, graph, dtype) for name in node.input]
        result = evaluate(node.op_type, operands, graph.attributes[node.name])
        if (shift := graph.divided.get(node.name)) is not None:
            result = rescaled(result, shift)
        values[node.output[0]] = result
    return [values[name] for name in graph.outputs]


def _as(array: Array, dtype: Any) -> Array:
    if np.dtype(dtype) == object:
        return np.vectorize(int, otypes=[object])(array) if array.size else array.astype(object)
    return array.astype(dtype)


def _operand(name: str, values: Mapping[str, Array], graph: Graph, dtype: Any) -> Array:
    if name in values:
        return values[name]
    constant = graph.constants[name]
    return constant if name in graph.places else _as(constant, dtype)


def evaluate(op: str, operands: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """One operator on batched values (a leading axis of samples) and unbatched constants."""
    result: Array = OPERATORS[op](operands, attributes)
    return result


def rescaled(values: Array, shift: int) -> Array:
    """``values / 2^shift``, half away from zero, by way of a double, as the engine's witness is."""
    quotient = values.astype(np.float64) / 2.0**shift
    whole = np.trunc(quotient)
    rounded = whole + np.where(np.abs(quotient - whole) >= 0.5, np.sign(quotient), 0.0)
    return _as(rounded, object if values.dtype == object else values.dtype)


def _reshape(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    return x[0].reshape(x[0].shape[0], *(int(d) for d in x[1]))


def _gather(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    taken: Array = np.take(x[0], x[1], axis=attributes.get("axis", 0) + 1)
    return taken


def _concat(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    rank = max(a.ndim for a in x)
    samples = max(len(a) for a in x if a.ndim == rank)
    # A constant has no axis of samples: it is the same for each of them.
    parts = [a if a.ndim == rank else np.broadcast_to(a, (samples, *a.shape)) for a in x]
    return np.concatenate(parts, axis=attributes["axis"] + 1)


def _pad(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    pads = [int(p) for p in x[1]]
    half = len(pads) // 2
    return _surrounded(x[0], [(0, 0), *zip(pads[:half], pads[half:], strict=True)])


def _surrounded(values: Array, widths: Sequence[tuple[int, int]]) -> Array:
    """Zeros around an array. (``np.pad`` would put numpy's bounded zeros among Python integers.)"""
    shape = [d + before + after for d, (before, after) in zip(values.shape, widths, strict=True)]
    out = np.zeros(shape, dtype=values.dtype)
    inner = zip(values.shape, widths, strict=True)
    out[tuple(slice(before, before + d) for d, (before, _) in inner)] = values
    return out


def _reduce_sum(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    axes = tuple(int(a) + 1 for a in x[1])
    total: Array = x[0].sum(axis=axes, keepdims=bool(attributes.get("keepdims", 1)))
    return total


def _argmax(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    axis = attributes.get("axis", 0) + 1
    found = np.argmax(x[0], axis=axis)
    if attributes.get("keepdims", 1):
        found = np.expand_dims(found, axis)
    places: Array = found.astype(x[0].dtype)
    return places


def _relu(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    positive: Array = np.maximum(x[0], 0)
    return positive


def _greater(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    truth: Array = (x[0] > x[1]).astype(x[0].dtype)
    return truth


def _equal(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    truth: Array = (x[0] == x[1]).astype(x[0].dtype)
    return truth


def _table(op: str) -> Callable[[Sequence[Array], Mapping[str, Any]], Array]:
    def looked_up(x: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
        return _as(entries(op, x[0], attributes["scale"]), x[0].dtype)

    return looked_up


OPERATORS: dict[str, Callable[[Sequence[Array], Mapping[str, Any]], Array]] = {
    "Add": lambda x, a: x[0] + x[1],
    "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1],
    "Neg": lambda x, a: -x[0],
    "Abs": lambda x, a: np.abs(x[0]),
    "Relu": _relu,
    "HardSwish": _relu,
    "Identity": lambda x, a: x[0],
    "MatMul": lambda x, a: x[0] @ x[1],
    "Reshape": _reshape,
    "Gather": _gather,
    "Concat": _concat,
    "ReduceSum": _reduce_sum,
    "ArgMax": _argmax,
    "Pad": _pad,
    "Greater": _greater,
    "Equal": _equal,
    "Cast": lambda x, a: x[0],
    **{op: _table(op) for op in TABLES},
}
