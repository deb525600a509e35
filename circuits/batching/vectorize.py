"""A graph for one input made into a graph for many."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from circuits.batching.errors import CannotBatch
from circuits.batching.rules import RULES
from circuits.batching.trace import BatchTrace, Shape
from circuits.format.manifest import MAX_LANES, AppliedPass
from circuits.format.wide_constants import EXACT
from circuits.frontend.fixed_shapes import infer_shapes, static_shape
from circuits.rewrite.context import CONTEXT_INPUT

VECTORIZED = AppliedPass(name="vectorize", version=3)
#: Below this opset Softmax and its like flatten everything behind their axis.
_MIN_OPSET = 13


def vectorize(data: bytes, lanes: int) -> bytes:
    """The graph with ``lanes`` inputs side by side in its batch dimension.

    ``data`` is a rewritten graph with static shapes. The first dimension of each input becomes
    ``lanes`` times as long, but for the context's ``[1, limbs]``, which becomes
    ``[1, lanes·limbs]``. In each input and output of the result the lanes follow each other as
    whole blocks. Equal inputs give equal bytes.

    Raises ``CannotBatch`` naming the node that stands in the way, and why.
    """
    if not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"a circuit has 1 to {MAX_LANES} lanes")
    if lanes == 1:
        return data
    single = infer_shapes(onnx.load_model_from_string(data))
    _check_form(single)
    trace = _trace(single, lanes)
    for value in single.graph.input:
        _vectorize_input(trace, value)
    nodes: list[NodeProto] = []
    for node in single.graph.node:
        _vectorize_node(trace, node)
        nodes += [*trace.before, node, *trace.after]
        trace.before, trace.after = [], []
    _lanes_first(trace, nodes)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del single.graph.node[:]
    single.graph.node.extend(copies)
    return _finished(trace)


def _check_form(model: ModelProto) -> None:
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _MIN_OPSET:
        raise CannotBatch(f"the graph has opset {opset}; at least {_MIN_OPSET} is needed")
    if model.graph.sparse_initializer:
        raise CannotBatch("the graph has sparse weights")


def _trace(model: ModelProto, lanes: int) -> BatchTrace:
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    shapes = {v.name: s for v in values if (s := static_shape(v)) is not None}
    constants: dict[str, NDArray[Any]] = {}
    for tensor in model.graph.initializer:
        constants[tensor.name] = numpy_helper.to_array(tensor)
        shapes[tensor.name] = tuple(tensor.dims)
    return BatchTrace(model=model, lanes=lanes, shapes=shapes, constants=constants)


def _vectorize_input(trace: BatchTrace, value: onnx.ValueInfoProto) -> None:
    shape = trace.shapes.get(value.name)
    axis = 1 if value.name == CONTEXT_INPUT else 0
    if shape is None or len(shape) <= axis:
        raise CannotBatch(
            f"input {value.name!r} has the shape {list(shape or ())}: no dimension for a batch",
            advice="Export the model with a batch dimension in front to have inputs share proofs.",
            input=value.name,
        )
    trace.axes[value.name] = axis
    value.type.tensor_type.shape.dim[axis].dim_value = shape[axis] * trace.lanes
    users = [node for node in trace.model.graph.node if value.name in node.input]
    if shape[axis] != 1 and 1 in shape and users and value.name != CONTEXT_INPUT:
        # A sequence as recurrent layers take it, the batch behind the steps: there it belongs.
        made = trace.moved(users[0], value.name, shape.index(1))
        for node in users:
            _rename(node, value.name, made)


def _vectorize_node(trace: BatchTrace, node: NodeProto) -> None:
    if node.op_type == "Constant":
        values = _value_of(node)
        trace.constants[node.output[0]] = values
        trace.shapes[node.output[0]] = values.shape
    if any(
        a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute
    ):
        trace.refuse(node, "it holds a graph of its own")
    if all(trace.axis(i) is None for i in node.input if i):
        return  # the same for every lane
    rule = RULES.get(node.op_type)
    if rule is None or node.domain not in ("", "ai.onnx"):
        trace.refuse(node, "how it treats a batch is not known")
    rule(trace, node)


def _value_of(node: NodeProto) -> NDArray[Any]:
    """What a Constant node holds, in whichever attribute."""
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    whole = attribute.name in ("value_int", "value_ints")
    return np.array(value, dtype=np.int64 if whole else np.float32)


def _lanes_first(trace: BatchTrace, nodes: list[NodeProto]) -> None:
    """Adds nodes that bring the lanes to the front of each output where they interleave."""
    for value in trace.model.graph.output:
        axis, shape = trace.axis(value.name), trace.shapes.get(value.name)
        if axis is None or shape is None:
            raise CannotBatch(f"output {value.name!r} does not depend on the input")
        if prod(shape[:axis]) == 1:
            continue
        inner = f"{value.name}/interleaved"
        maker = next(node for node in nodes if value.name in node.output)
        for node in nodes:
            _rename(node, value.name, inner)
        trace.shapes[inner], trace.axes[inner] = shape, axis
        made = trace.moved(maker, inner, 0)
        for node in trace.before:
            _rename(node, made, value.name)
        nodes += trace.before
        trace.before = []
        trace.axes[value.name] = 0


def _rename(node: NodeProto, old: str, new: str) -> None:
    """Another name for a value, wherever a node takes or makes it."""
    for names in (node.input, node.output):
        for position, name in enumerate(names):
            if name == old:
                names[position] = new


def _finished(trace: BatchTrace) -> bytes:
    """The batched model, its shapes inferred again and held to what the rules say they are."""
    model, graph = trace.model, trace.model.graph
    used = {i for node in graph.node for i in node.input} | {o.name for o in graph.output}
    weights = [t for t in graph.initializer if t.name.removesuffix(EXACT) in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    model = infer_shapes(model)
    for value in [*model.graph.value_info, *model.graph.output]:
        _check_shape(trace, value.name, static_shape(value))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _check_shape(trace: BatchTrace, name: str, found: Shape | None) -> None:
    axis, single = trace.axis(name), trace.shapes.get(name)
    if single is None:
        return
    expected = single if axis is None else tuple(trace.batched_shape(single, axis))
    if found != expected:
        raise CannotBatch(
            f"value {name!r} has the shape {found} with {trace.lanes} lanes, expected {expected}"
        )
