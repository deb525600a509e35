"""Editing a graph, node by node, on onnx-ir: what the passes are written with."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir import convenience


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One named rewriting step. ``run`` edits the model in place; ``version`` counts its changes
    of behaviour, since receipts name it. ``rounds``: what it writes may round a value half
    way between two steps to the other one, as two runtimes do. ``touches``: the operators that it
    looks at; none: all; a pass that returns false has changed nothing. ``folds``: it leaves nothing
    for another like it to do."""

    name: str
    version: int
    purpose: str
    reference: str
    run: Callable[[ir.Model], bool | None]
    rounds: bool = False
    touches: frozenset[str] = frozenset()
    folds: bool = False

    def concerns(self, operators: Collection[str]) -> bool:
        """Whether a graph of these operators has anything for the pass to look at."""
        return not self.touches or not self.touches.isdisjoint(operators)


class Builder:
    """Collects the nodes that replace one node; new constants become initialisers.

    Names derive from the replaced node's output, so equal models give equal bytes.
    """

    def __init__(self, graph: ir.Graph, stem: str, taken: set[str]) -> None:
        """``taken`` holds the names in use in the graph, and learns the new ones."""
        self.graph = graph
        self.nodes: list[ir.Node] = []
        self._stem = stem
        self._taken = taken

    def _name(self, kind: str) -> str:
        count = 0
        while (name := f"{self._stem}/{kind}{count}") in self._taken:
            count += 1
        self._taken.add(name)
        return name

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A new node's only output."""
        return self.ops(op_type, *inputs, outputs=1, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: ir.Value | None, outputs: int, **attributes: Any
    ) -> Sequence[ir.Value]:
        """A new node's outputs."""
        attrs = [ir.convenience.convert_attribute(k, v) for k, v in attributes.items()]
        name = self._name(op_type)
        node = ir.Node("", op_type, inputs, attrs, num_outputs=outputs, name=name)
        for position, value in enumerate(node.outputs):
            value.name = name if outputs == 1 else f"{name}.{position}"
        self.nodes.append(node)
        return node.outputs

    def const(self, array: NDArray[Any] | float | Sequence[int]) -> ir.Value:
        """An initialiser; a plain float becomes a float32 scalar, integers an int64 vector."""
        if isinstance(array, float):
            array = np.array(array, dtype=np.float32)
        values = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        return initializer(self.graph, self._name("const"), values)


def initializer(graph: ir.Graph, name: str, values: NDArray[Any]) -> ir.Value:
    """A new constant of the graph."""
    tensor = ir.Tensor(values, name=name)
    shape, type_ = ir.Shape(values.shape), ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=shape, type=type_, const_value=tensor)
    graph.register_initializer(value)
    return value


#: Gives a node's new outputs (one per old output), or None to leave the node alone.
Expansion = Callable[[ir.Node, Builder], Sequence[ir.Value] | ir.Value | None]


def expand(model: ir.Model, expansions: Mapping[str, Expansion], domain: str = "") -> None:
    """Offers every node of the named types to its expansion, in order."""
    graph = model.graph
    taken = names_in(graph)
    for node in list(graph):
        expansion = expansions.get(node.op_type)
        if expansion is None or node.domain not in (domain, domain or "ai.onnx"):
            continue
        builder = Builder(graph, node.outputs[0].name or node.name or node.op_type, taken)
        new = expansion(node, builder)
        if new is not None:
            replace(node, builder, [new] if isinstance(new, ir.Value) else new)


def expanding(expansions: Mapping[str, Expansion], *, domain: str = "", **described: Any) -> Pass:
    """A pass that offers nodes to their expansions and looks at no other operators."""

    def run(model: ir.Model) -> None:
        expand(model, expansions, domain)

    return Pass(run=run, touches=frozenset(expansions), **described)


def names_in(graph: ir.Graph) -> set[str]:
    """Every name of a node or value of the graph."""
    values = [v for node in graph for v in node.outputs]
    named = [*graph, *values, *graph.inputs, *graph.initializers.values()]
    return {item.name for item in named if item.name}


def replace(node: ir.Node, builder: Builder, values: Sequence[ir.Value]) -> None:
    """Puts the builder's nodes in the node's place. A value from outside passes by an Identity."""
    made = {id(v) for n in builder.nodes for v in n.outputs}
    fresh = [
        v if id(v) in made and v not in values[:i] else builder.op("Identity", v)
        for i, v in enumerate(values)
    ]
    convenience.replace_nodes_and_values(
        builder.graph, node, [node], builder.nodes, node.outputs[: len(fresh)], fresh
    )


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The value of a constant, passed on or not; or None."""
    while value is not None and (node := value.producer()) and node.op_type == "Identity":
        value = node.inputs[0]
    if value is None:
        return None
    tensor = convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def made_by(value: ir.Value | None, op: str) -> ir.Node | None:
    """The node that makes a value, if it is of this operator."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op else None


def behind(value: ir.Value | None, operators: Collection[str]) -> ir.Value | None:
    """What a value was before such operators, each of which has it as its first input."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in operators:
            break
        value = node.inputs[0]
    return value


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The static shape; every value has one once shapes are bound and inferred."""
    shape = value.shape
    if shape is None or not all(isinstance(d, int) for d in shape):
        raise ValueError(f"shape of {value.name!r} is not known: {shape}")
    return tuple(int(d) for d in shape)  # type: ignore[arg-type]


def has_shape(value: ir.Value | None) -> bool:
    """Whether the static shape is known."""
    return value is not None and value.shape is not None and value.shape.is_static()


def is_float(value: ir.Value) -> bool:
    """Whether the element type is a floating-point one."""
    return value.dtype is not None and value.dtype.is_floating_point()


def attr(node: ir.Node, name: str, default: Any = None) -> Any:
    """An attribute's plain value (lists as lists, strings as str)."""
    found = node.attributes.get(name)
    if found is None:
        return default
    value = found.value
    return list(value) if isinstance(value, tuple | list) else value


def ints(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """The input, or None when it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def positive_axis(axis: int, rank: int) -> int:
    return axis + rank if axis < 0 else axis


def size(value: ir.Value) -> int:
    return math.prod(shape_of(value))


def opset(model: ir.Model) -> int:
    return model.graph.opset_imports.get("", 1)
