"""From a rewritten ONNX graph to a network: which models have committed hints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from circuits.committed.network import Local, Network
from circuits.format.commitments import Weights
from circuits.lower.committed.reading import axes, choices, composites, elementwise, linear
from circuits.lower.committed.reading.columns import Places, group_numbers, split
from circuits.lower.committed.reading.curves import Curves
from circuits.lower.committed.reading.draft import Compared, Draft
from circuits.lower.committed.reading.functions import FUNCTIONS
from circuits.lower.committed.reading.nodes import Node, Refused
from circuits.lower.committed.reading.simplifying import network_of
from circuits.lower.committed.reading.values import ROW, Value, constant, of_addresses, rows_of
from circuits.lower.errors import CannotLower
from circuits.lower.moving import MOVES, mover

_ADVICE = "Leave out --argument committed: the other circuits take more operators."
_COMPARED = "it compares an input with a constant, which other circuits do exactly"


@dataclass(frozen=True, kw_only=True)
class Read:
    """A network, and of its rows those whose elements all count in steps of one length, those that
    count in ones, and those that decide a comparison of a computed value with a constant, by the
    name of its output. ``tested``: the address of each input element that is compared with one.
    ``compared``: comparisons that are part of curves."""

    network: Network
    alike: frozenset[int]
    ones: frozenset[int]
    decided: Mapping[str, int]
    tested: Mapping[str, NDArray[np.int64]]
    compared: Mapping[str, Compared]


def read_network(
    data: bytes, weights: Weights = Weights.SEALED, columns: Places | None = None
) -> Read:
    """The network of a rewritten model. Curves hold what would else be weights, and are constants
    of the circuit: none are made where ``weights`` are not. ``columns``: of each input, those that
    have steps of their own.

    Raises ``CannotLower`` naming the first node that has no place in one.
    """
    graph = onnx.load_model_from_string(data).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    columns = columns or [()] * len(graph.input)
    reader = _Reader(graph, arrays, weights, columns)
    for node in graph.node:
        reader.read(node)
    outputs = [reader.given(output.name) for output in graph.output]
    draft = reader.draft
    if reader.curves is not None:
        draft, outputs = reader.curves.replaced(outputs)
    bare, numbers, alike = network_of(draft, outputs)
    network, new = split(bare, columns)
    counted = range(len(bare.inputs), len(network.steps) - len(bare.steps) + len(bare.inputs))
    return Read(
        network=network,
        alike=frozenset({*counted, *(new(row) for row in alike)}),
        ones=frozenset(new(numbers[row]) for row in draft.ones if row in numbers),
        decided={name: new(numbers[row]) for name, row in draft.decided.items() if row in numbers},
        tested=reader.draft.tested,
        compared=draft.compared,
    )


def bare_draft(data: bytes) -> tuple[Draft, list[str], frozenset[int]]:
    """What a rewritten model computes, node by node, with the names of its inputs and the rows that
    it gives out: without curves, with every comparison of an input as a step of its own, and each
    value as one row. What has no place in a network is left out, with all that follows from it, and
    what that reads is given out.
    """
    graph = onnx.load_model_from_string(data).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    reader = _Reader(graph, arrays, None, [()] * len(graph.input))
    given = {output.name for output in graph.output}
    for node in graph.node:
        try:
            reader.read(node)
        except (CannotLower, KeyError):  # it reads what is not known
            given |= {*node.input}
    parts = [p for name in given & reader.known.keys() for p in reader.known[name].parts]
    rows = frozenset(row for part in parts for row in rows_of(part.addresses))
    return reader.draft, [own.name for own in graph.input], rows


class _Reader:
    """Values by name. Without ``weights`` as a ``bare_draft`` has them."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        arrays: dict[str, NDArray[Any]],
        weights: Weights | None,
        columns: Places,
    ) -> None:
        shapes = [[d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.input]
        groups = {row: group_numbers(own) for row, own in enumerate(columns) if own}
        self.draft = Draft(inputs=[math.prod(shape) for shape in shapes], groups=groups)
        self.draft.alike |= {*range(len(shapes))} - groups.keys()
        self.curves = Curves(self.draft) if weights is Weights.SEALED else None
        self.bare = weights is None
        self.made = {name: node for node in graph.node for name in node.output}
        self.readers = Counter(name for node in graph.node for name in node.input)
        self.readers.update(output.name for output in graph.output)
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
        start = len(self.draft.steps)
        if self.curves is not None and node.op_type in _MIXING:
            values = [None if v is None else self.curves.whole(v) for v in values]
        try:
            own = self._one_hot(node) or self._biased(node)
            found = own or step(Node(self.draft, node, attributes, values))
        except Refused as error:
            raise _refuse(node, str(error)) from None
        self._compared_inputs(node, start)
        results = found if isinstance(found, list) else [found]
        if self.bare:
            results = [self.draft.materialize(v) if len(v.parts) > 1 else v for v in results]
        self.known.update(zip(node.output, results, strict=False))

    def _compared_inputs(self, node: NodeProto, start: int) -> None:
        """Notes the comparisons of inputs with constants among the steps from a place on."""
        if self.draft.compares_inputs and not self.bare:
            self.draft.compares_inputs = False
            if self.curves is None:
                raise _refuse(node, _COMPARED)
            for at, step in enumerate(self.draft.steps[start:], len(self.draft.inputs) + start):
                if isinstance(step, Local) and step.in_ones:
                    self.draft.elsewhere[at] = _refuse(node, _COMPARED)
        if self.curves is not None:
            self.curves.follow()

    def _one_hot(self, node: NodeProto) -> Value | None:
        """max(1 - |i|, 0) of integers i: how the rewriter writes that i is zero."""
        less = self.made.get(node.input[0]) if node.op_type == "Relu" else None
        gap = self.made.get(less.input[1]) if less is not None and less.op_type == "Sub" else None
        if less is None or gap is None or gap.op_type != "Abs":
            return None
        one, inner = self.known[less.input[0]], self.known[gap.input[0]]
        fits = np.broadcast_shapes(one.shape, inner.shape) == inner.shape
        if one.parts or np.any(one.constant != 1) or not inner.parts or not fits:
            return None
        if not self.draft.counts_in_ones(inner):
            return None
        return choices.one_hot(self.draft, inner)

    def _biased(self, node: NodeProto) -> Value | None:
        """A constant that is added to a product which nothing else reads."""
        if node.op_type != "Add":
            return None
        for name, other in (node.input, reversed(node.input)):
            made, value, added = self.made.get(name), self.known[name], self.known[other]
            alone = made is not None and made.op_type == "MatMul" and self.readers[name] == 1
            if alone and value.parts and not added.parts:
                return self.draft.biased(value, added)
        return None

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
    value, count = node.value(0), len(node.proto.output)
    rest = [node.constant(n) if node.has(n) else None for n in range(1, len(node.values))]
    try:
        moved = mover(node.proto, rest)
    except ValueError as error:
        raise Refused(str(error)) from None
    return [node.draft.moved(value, lambda x, n=n: moved(x)[n]) for n in range(count)]  # type: ignore[misc]


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


_MIXING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_STEPS: dict[str, Callable[[Node], Value | list[Value]]] = {
    **dict.fromkeys(MOVES, move),
    **dict.fromkeys(FUNCTIONS, elementwise.function),
    "Abs": elementwise.absolute,
    "Add": elementwise.add,
    "And": choices.logic,
    "ArgMax": choices.arg,
    "ArgMin": choices.arg,
    "AveragePool": axes.average_pool,
    "BatchNormalization": elementwise.batch_norm,
    "Cast": same,
    "Clip": elementwise.clip,
    "Concat": concat,
    "Conv": linear.conv,
    "ConvTranspose": linear.transposed,
    "Div": elementwise.div,
    "Equal": choices.equal,
    "Gemm": linear.gemm,
    "GlobalAveragePool": axes.reduce_mean,
    "GlobalMaxPool": axes.reduce_max,
    "Greater": choices.compare,
    "GreaterOrEqual": choices.compare,
    "Identity": same,
    "InstanceNormalization": composites.instance_norm,
    "LayerNormalization": composites.layer_norm,
    "LeakyRelu": elementwise.leaky,
    "Less": choices.compare,
    "LessOrEqual": choices.compare,
    "LogSoftmax": composites.log_softmax,
    "MatMul": linear.matmul,
    "Max": elementwise.maximum,
    "MaxPool": axes.max_pool,
    "Min": elementwise.minimum,
    "Mul": elementwise.mul,
    "Neg": elementwise.neg,
    "Not": choices.negation,
    "Or": choices.logic,
    "PRelu": elementwise.prelu,
    "Pow": elementwise.powered,
    "ReduceL1": axes.reduce_l1,
    "ReduceL2": axes.reduce_squares,
    "ReduceMax": axes.reduce_max,
    "ReduceMean": axes.reduce_mean,
    "ReduceMin": axes.reduce_min,
    "ReduceSum": axes.reduce_sum,
    "ReduceSumSquare": axes.reduce_squares,
    "Relu": elementwise.relu,
    "Round": rounded,
    "Sign": choices.sign,
    "Softmax": composites.softmax,
    "Sub": elementwise.sub,
    "Sum": elementwise.add_all,
    "Where": composites.where,
    "Xor": choices.logic,
}


def _refuse(node: NodeProto, why: str) -> CannotLower:
    label = node.name or node.output[0]
    return CannotLower(
        f"{node.op_type} at node {label!r} has no form with committed hints: {why}",
        advice=_ADVICE,
        node=label,
        op=node.op_type,
    )
