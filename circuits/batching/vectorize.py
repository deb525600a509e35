"""A graph of integers for one input made into a graph for many.

Every value has its lanes in front: what is ``[d, …]`` for one input is ``[lanes · d, …]``, the
block of one lane behind that of another. The lowering writes few operators, and moves nothing
across a first axis: so a constant is repeated where it has elements of its own along that axis, and
all else stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import numpy as np
import onnx
import onnx_ir as ir

from circuits.batching.errors import CannotBatch
from circuits.format.function_tables import TABLES
from circuits.format.manifest import MAX_LANES, AppliedPass
from circuits.format.wide_constants import EXACT
from circuits.frontend.fixed_shapes import infer_shapes, static_shape
from circuits.rewrite.context import CONTEXT_INPUT, CONTEXT_OUTPUT
from circuits.rewrite.edit import (
    Builder,
    attr,
    constant,
    has_shape,
    initializer,
    input_at,
    ints,
    names_in,
    shape_of,
)

VECTORIZED = AppliedPass(name="vectorize", version=4)
_EACH = (
    *("Abs", "Add", "Cast", "Equal", "Greater", "HardSwish", "Identity", "Mul", "Neg", "Relu"),
    *("Sub", *TABLES),
)


def vectorize(data: bytes, lanes: int) -> bytes:
    """The graph with ``lanes`` inputs side by side.

    ``data`` is a graph of integers with static shapes. The first dimension of each input becomes
    ``lanes`` times as long, but for the context's ``[1, limbs]``, which becomes
    ``[1, lanes·limbs]``. In each input and output of the result the lanes follow each other as
    whole blocks. Equal inputs give equal bytes.

    Raises ``CannotBatch`` naming the node that stands in the way, and why.
    """
    if not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"a circuit has 1 to {MAX_LANES} lanes")
    if lanes == 1:
        return data
    model = ir.from_proto(infer_shapes(onnx.load_model_from_string(data)))
    laid = _Lanes(model.graph, lanes)
    for value in model.graph.inputs:
        laid.lengthen(value)
    for node in model.graph:
        laid.carry(node)
    return laid.written(model)


class _Lanes:
    """A graph on the way to one of many lanes; ``shape`` tells the shapes of one."""

    def __init__(self, graph: ir.Graph, lanes: int) -> None:
        self.graph, self.lanes = graph, lanes
        values = [
            *graph.inputs,
            *graph.initializers.values(),
            *(v for n in graph for v in n.outputs),
        ]
        self._shapes = {value: shape_of(value) for value in values if has_shape(value)}
        self._build = Builder(graph, "lanes", names_in(graph))
        self._repeated: dict[ir.Value, ir.Value] = {}

    def with_lanes(self, name: str | None, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a value with an axis to spare, in many lanes."""
        axis = int(name in (CONTEXT_INPUT, CONTEXT_OUTPUT))
        return tuple(n * self.lanes if at == axis else n for at, n in enumerate(shape))

    def lengthen(self, value: ir.Value) -> None:
        """Gives an input its lanes."""
        shape = self._shapes.get(value, ())
        if not shape:
            raise CannotBatch(
                f"input {value.name!r} has the shape {[*shape]}: no dimension for a batch",
                advice="Export the model with a batch dimension in front to have inputs share"
                " proofs.",
                input=value.name,
            )
        value.shape = ir.Shape(self.with_lanes(value.name, shape))

    def carry(self, node: ir.Node) -> None:
        """Has a node do for each lane what it does for one."""
        first = node.inputs[0] if node.inputs else None
        if first is not None and first.name == CONTEXT_INPUT:
            return  # handed on
        rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            self.refuse(node, "only graphs of integers are given one")
        if not self.shape(node, node.outputs[0]):
            self.refuse(node, "its result has no axis")
        rule(self, node)

    def shape(self, node: ir.Node, value: ir.Value | None) -> tuple[int, ...]:
        """A value's shape for one lane."""
        if value is None or value not in self._shapes:
            self.refuse(node, "the shape of an operand is not known")
        return self._shapes[value]

    def beside(self, node: ir.Node, place: int, like: ir.Value | None) -> None:
        """Has an operand broadcast against a value with lanes."""
        value, whole = node.inputs[place], self.shape(node, like)
        shape = self.shape(node, value)
        if constant(value) is not None:
            if len(shape) == len(whole) and shape[0] > 1:
                node.replace_input_with(place, self.repeated(node, value))
        elif len(shape) < len(whole) or shape[0] != whole[0]:
            self.refuse(node, "it stretches the batch dimension")

    def repeated(self, node: ir.Node, value: ir.Value | None) -> ir.Value:
        """A constant, once for each lane."""
        known = constant(value)
        if value is None or known is None:
            self.refuse(node, "an operand is no constant")
        if value not in self._repeated:
            made = self._build.const(np.concatenate([known] * self.lanes))
            self._repeated[value] = made
            exact = self.graph.initializers.get(f"{value.name}{EXACT}")
            if exact is not None and exact.const_value is not None:
                wide = np.concatenate([exact.const_value.numpy()] * self.lanes)
                initializer(self.graph, f"{made.name}{EXACT}", wide)
        return self._repeated[value]

    def only_first(self, node: ir.Node) -> None:
        """Refuses a node of which another operand than the first is no constant."""
        if constant(node.inputs[0]) is not None or any(
            value is not None and constant(value) is None for value in node.inputs[1:]
        ):
            self.refuse(node, "an operand that should be constant is not")

    def target(self, node: ir.Node) -> ir.Value:
        """The shape of a node's output with lanes, as a constant."""
        out = node.outputs[0]
        return self._build.const(ints(self.with_lanes(out.name, self.shape(node, out))))

    def refuse(self, node: ir.Node, why: str) -> NoReturn:
        """Raises ``CannotBatch`` naming the node."""
        label = node.name or node.outputs[0].name or ""
        raise CannotBatch(
            f"{node.op_type} at node {label!r} cannot be given a batch dimension: {why}",
            op=node.op_type,
            node=label,
        )

    def written(self, model: ir.Model) -> bytes:
        """The graph's bytes, its shapes inferred again and held to what they have to be."""
        used = {value.name for node in self.graph for value in node.inputs if value is not None}
        for name in [*self.graph.initializers]:
            if name.removesuffix(EXACT) not in used:
                del self.graph.initializers[name]
        proto = ir.to_proto(model)
        del proto.graph.value_info[:]
        for output in proto.graph.output:
            output.type.tensor_type.ClearField("shape")
        inferred = infer_shapes(proto)
        single = {value.name: shape for value, shape in self._shapes.items()}
        for value in [*inferred.graph.value_info, *inferred.graph.output]:
            found = static_shape(value)
            if found != (wanted := self.with_lanes(value.name, single[value.name])):
                raise CannotBatch(f"value {value.name!r} has the shape {found}, not {wanted}")
        found_bytes: bytes = inferred.SerializeToString(deterministic=True)
        return found_bytes


# --- operators ------------------------------------------------------------------------------------


def _each(lanes: _Lanes, node: ir.Node) -> None:
    for place in range(len(node.inputs)):
        lanes.beside(node, place, node.outputs[0])


def _reshape(lanes: _Lanes, node: ir.Node) -> None:
    """Elements keep their order, so that each lane's stay together."""
    lanes.only_first(node)
    node.replace_input_with(1, lanes.target(node))


def _matmul(lanes: _Lanes, node: ir.Node) -> None:
    """Rows, or stacks of matrices, with lanes on the left."""
    left, right = (lanes.shape(node, value) for value in node.inputs)
    if constant(node.inputs[0]) is not None or len(left) < 2:
        lanes.refuse(node, "its rows are not the input's")
    if constant(node.inputs[1]) is None and len(right) < 3:
        lanes.refuse(node, "it sums over the batch dimension")
    if len(right) > 2:
        lanes.beside(node, 0, node.outputs[0])
        lanes.beside(node, 1, node.outputs[0])


def _along(lanes: _Lanes, node: ir.Node) -> None:
    """What works along other axes than the first."""
    lanes.only_first(node)
    rank = len(lanes.shape(node, node.inputs[0]))
    given = constant(input_at(node, 1)) if node.op_type == "ReduceSum" else None
    axes = [attr(node, "axis", 0)] if given is None else given.reshape(-1).tolist()
    if any(int(axis) % rank == 0 for axis in axes):
        lanes.refuse(node, "it works along the batch dimension")


def _concat(lanes: _Lanes, node: ir.Node) -> None:
    if attr(node, "axis") % len(lanes.shape(node, node.outputs[0])) == 0:
        lanes.refuse(node, "it joins along the batch dimension")
    for place, value in enumerate(node.inputs):
        if constant(value) is not None:
            node.replace_input_with(place, lanes.repeated(node, value))


def _pad(lanes: _Lanes, node: ir.Node) -> None:
    lanes.only_first(node)
    pads = constant(node.inputs[1])
    if pads is None or len(node.inputs) > 2 or pads[0] or pads[len(pads) // 2]:
        lanes.refuse(node, "it pads the batch dimension")


_RULES: Mapping[str, Callable[[_Lanes, ir.Node], None]] = {
    **dict.fromkeys(_EACH, _each),
    **dict.fromkeys(("ArgMax", "Gather", "ReduceSum"), _along),
    "Concat": _concat,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
}
