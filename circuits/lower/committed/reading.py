"""From a rewritten ONNX graph to a network: which models have committed hints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from circuits.committed.network import Network
from circuits.lower.committed import axes, composites, elementwise, linear
from circuits.lower.committed.functions import FUNCTIONS
from circuits.lower.committed.nodes import Node, Refused
from circuits.lower.committed.simplifying import network_of
from circuits.lower.committed.values import ROW, Draft, Value, constant, of_addresses
from circuits.lower.errors import CannotLower
from circuits.rewrite.unrolling import GATES, unroll

_ADVICE = "Leave out --argument committed: the other circuits take more operators."


@dataclass(frozen=True, kw_only=True)
class Read:
    """A network, and the rows whose elements all count in steps of one length."""

    network: Network
    alike: frozenset[int]


def read_network(data: bytes) -> Read:
    """The network of a rewritten model.

    Raises ``CannotLower`` naming the first node that has no place in one.
    """
    graph = _unrolled(onnx.load_model_from_string(data)).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    reader = _Reader(graph, arrays)
    for node in graph.node:
        reader.read(node)
    outputs = [reader.given(output.name) for output in graph.output]
    network, alike = network_of(reader.draft, outputs)
    return Read(network=network, alike=alike)


def _unrolled(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same without recurrent layers: products, sums and functions step by step."""
    if not any(node.op_type in GATES for node in model.graph.node):
        return model
    made = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    unroll(made)
    return ir.to_proto(made)


class _Reader:
    """Values by name."""

    def __init__(self, graph: onnx.GraphProto, arrays: dict[str, NDArray[Any]]) -> None:
        shapes = [[d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.input]
        self.draft = Draft(inputs=[math.prod(shape) for shape in shapes])
        self.draft.alike |= {*range(len(shapes))}
        self.known = {name: constant(a) for name, a in arrays.items() if a.dtype.kind in "fiub"}
        for row, (value, shape) in enumerate(zip(graph.input, shapes, strict=True)):
            places = row * ROW + np.arange(math.prod(shape), dtype=np.int64)
            self.known[value.name] = of_addresses(places.reshape(shape))

    def read(self, node: NodeProto) -> None:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        values = [self.known[name] if name else None for name in node.input]
        step = _STEPS.get(node.op_type)
        if step is None:
            raise _refuse(node, "this operator is not there yet")
        try:
            found = step(Node(self.draft, node, attributes, values))
        except Refused as error:
            raise _refuse(node, str(error)) from None
        results = found if isinstance(found, list) else [found]
        self.known.update(zip(node.output, results, strict=False))

    def given(self, name: str) -> NDArray[np.int64]:
        """An output's addresses: of one row."""
        value = self.known[name]
        draft = self.draft
        if not value.parts:
            raise CannotLower(f"output {name!r} is a constant", advice=_ADVICE)
        rows = np.unique(value.parts[0].addresses // ROW)
        if not value.plain or len(rows) != 1 or draft.wide(value.addresses):
            value = draft.summed(value)
        lengths = np.unique(draft.lengths(value.addresses))
        if len(lengths) > 1:
            value = draft.uniform(value)
        return value.addresses.reshape(-1)


def move(node: Node) -> Value | list[Value]:
    """Any operator that only moves its first operand's elements about, as onnx itself has it."""
    value = node.value(0)
    rest = {f"c{n}": node.constant(n) for n in range(1, len(node.values)) if node.has(n)}
    padded = node.proto.op_type == "Pad"
    rest = {n: a.astype(np.float64 if padded and n == "c2" else np.int64) for n, a in rest.items()}
    if node.proto.op_type == "Pad" and (
        node.attributes.get("mode", b"constant") not in (b"constant", "constant")
        or np.any(rest.get("c2", np.zeros(1)))
    ):
        raise Refused("only zeros are padded with")
    names = ["x", *(f"c{n}" if node.has(n) else "" for n in range(1, len(node.values)))]
    proto = NodeProto()
    proto.CopyFrom(node.proto)
    del proto.input[:]
    proto.input.extend(names)
    evaluator = ReferenceEvaluator(proto)
    found = []
    for number in range(len(node.proto.output)):

        def moved(x: NDArray[np.float64], number: int = number) -> NDArray[np.float64]:
            results: Any = evaluator.run(None, {"x": x, **rest})
            made: NDArray[np.float64] = results[number]
            return made

        found.append(node.draft.moved(value, moved))
    return found


def same(node: Node) -> Value:
    return node.value(0)


def rounded(node: Node) -> Value:
    """A tie goes up, and not to the even number: rounding decides before what is one at all."""
    value = node.value(0)
    if not value.parts:
        raise Refused("it rounds a constant")
    return node.draft.rounded(value)


def concat(node: Node) -> Value:
    return node.draft.joined([node.value(n) for n in range(len(node.values))], _axis_of(node, 0))


def _axis_of(node: Node, default: int) -> int:
    return int(node.attributes.get("axis", default))


_MOVES = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Pad",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
_STEPS: dict[str, Callable[[Node], Value | list[Value]]] = {
    **dict.fromkeys(_MOVES, move),
    **dict.fromkeys(FUNCTIONS, elementwise.function),
    "Add": elementwise.add,
    "AveragePool": axes.average_pool,
    "BatchNormalization": elementwise.batch_norm,
    "Clip": elementwise.clip,
    "Concat": concat,
    "Conv": linear.conv,
    "ConvTranspose": linear.transposed,
    "Div": elementwise.div,
    "Gemm": linear.gemm,
    "GlobalAveragePool": axes.global_average,
    "GlobalMaxPool": axes.global_max,
    "Identity": same,
    "InstanceNormalization": composites.instance_norm,
    "LayerNormalization": composites.layer_norm,
    "LeakyRelu": elementwise.leaky,
    "LogSoftmax": composites.log_softmax,
    "MatMul": linear.matmul,
    "Max": elementwise.maximum,
    "MaxPool": axes.max_pool,
    "Min": elementwise.minimum,
    "Mul": elementwise.mul,
    "Neg": elementwise.neg,
    "PRelu": elementwise.prelu,
    "Pow": elementwise.powered,
    "ReduceL1": axes.reduce_l1,
    "ReduceMax": axes.reduce_max,
    "ReduceMean": axes.reduce_mean,
    "ReduceSum": axes.reduce_sum,
    "Relu": elementwise.relu,
    "Round": rounded,
    "Softmax": composites.softmax,
    "Sub": elementwise.sub,
    "Sum": elementwise.add_all,
    "Where": composites.where,
}


def _refuse(node: NodeProto, why: str) -> CannotLower:
    label = node.name or node.output[0]
    return CannotLower(
        f"{node.op_type} at node {label!r} has no form with committed hints: {why}",
        advice=_ADVICE,
        node=label,
        op=node.op_type,
    )
