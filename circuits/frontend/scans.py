"""Scan unrolled: the exporters of nearest neighbours write one over the training data.

Only what has a fixed number of steps and no state that the file leaves open. Where each step does
the same to one row, and no state changes, all rows are taken at once; else the body's nodes are
copied for each step, and counted before.
"""

from __future__ import annotations

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from circuits.errors import ModelTooLarge

#: Operators that do to each row of many what they do to one, and those that do along a row.
_EACH = frozenset({"Abs", "Add", "Div", "Exp", "Identity", "Mul", "Neg", "Pow", "Sqrt", "Sub"})
_ALONG = frozenset({"ReduceL1", "ReduceL2", "ReduceSum", "ReduceSumSquare"})
#: Before this set a Scan had a batch, and lengths as its first input.
_FIRST = 9


def unroll_scans(model: ModelProto, most_nodes: int) -> None:
    """Writes out, in place, the graph's Scans whose scanned inputs are constants, or inputs of a
    fixed length; others stay. Raises ``ModelTooLarge`` for more than ``most_nodes`` nodes."""
    graph = model.graph
    if not any(node.op_type == "Scan" for node in graph.node):
        return
    lengths = _lengths(graph)
    opset = next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _FIRST:
        return
    # Before version 4 every constant had to be an input as well.
    model.ir_version = max(model.ir_version, 4)
    nodes: list[NodeProto] = []
    for node in graph.node:
        written = None
        if _is_scan(node):
            written = _unrolled(graph, node, f"{node.output[0]}/scan", lengths, most_nodes, opset)
        if written is None:
            nodes.append(node)
        else:
            nodes.extend(written)
        if len(nodes) > most_nodes:
            raise ModelTooLarge(
                f"the model's Scan stands for more than {most_nodes} nodes",
                advice="Export fewer training rows, or a tree or a linear model in their place.",
            )
    del graph.node[:]
    graph.node.extend(nodes)


def _is_scan(node: NodeProto) -> bool:
    return node.op_type == "Scan" and node.domain in ("", "ai.onnx")


def _lengths(graph: GraphProto) -> dict[str, list[int]]:
    """The shapes of constants, and of inputs as far as they are fixed (a batch is one)."""
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    for value in graph.value_info:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value:
            shapes[value.name] = [d.dim_value for d in dims]
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        shapes.setdefault(
            value.name, [d.dim_value or (1 if i == 0 else 0) for i, d in enumerate(dims)]
        )
    return shapes


def _unrolled(
    graph: GraphProto,
    node: NodeProto,
    stem: str,
    lengths: dict[str, list[int]],
    most_nodes: int,
    opset: int,
) -> list[NodeProto] | None:
    """The nodes that a Scan stands for, or None where it cannot be written out."""
    body = next((a.g for a in node.attribute if a.name == "body"), None)
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name != "body"}
    count = int(attributes.pop("num_scan_inputs", 0))
    plain = all(not any(values) for values in attributes.values() if isinstance(values, list))
    if body is None or not count or not plain or any(map(_has_graph, body.node)):
        return None
    states = list(node.input[: len(node.input) - count])
    scanned = list(node.input[len(node.input) - count :])
    steps = {lengths[name][0] for name in scanned if lengths.get(name)}
    if len(steps) != 1 or any(name not in lengths for name in scanned) or not min(steps):
        return None
    if (at_once := _at_once(graph, node, body, states, scanned, stem, opset)) is not None:
        return at_once
    if min(steps) * len(body.node) > most_nodes:
        raise ModelTooLarge(
            f"the Scan {node.name!r} stands for {min(steps) * len(body.node)} nodes; at most"
            f" {most_nodes} are read",
            advice="Export fewer training rows, or a tree or a linear model in their place.",
        )
    out: list[NodeProto] = []
    collected: list[list[str]] = [[] for _ in node.output[len(states) :]]
    constants = {t.name for t in body.initializer}
    for tensor in body.initializer:
        copy = graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = f"{stem}/{tensor.name}"
    # Before opset 13 the axes were an attribute.
    axis = _constant(graph, f"{stem}/axis", [0]) if opset >= 13 else None
    for step in range(min(steps)):
        names = {name: f"{stem}/{name}" for name in constants}
        inputs = [i.name for i in body.input]
        names |= dict(zip(inputs, states, strict=False))
        where = _constant(graph, f"{stem}/{step}/at", step)
        for name, source in zip(inputs[len(states) :], scanned, strict=False):
            names[name] = f"{stem}/{step}/{name}"
            out.append(helper.make_node("Gather", [source, where], [names[name]], axis=0))
        for inner in body.node:
            copy_node = NodeProto()
            copy_node.CopyFrom(inner)
            names |= {value: f"{stem}/{step}/{value}" for value in inner.output if value}
            copy_node.name = f"{stem}/{step}/{inner.name or inner.op_type}/{inner.output[0]}"
            copy_node.input[:] = [names.get(value, value) for value in inner.input]
            copy_node.output[:] = [names.get(value, "") for value in inner.output]
            out.append(copy_node)
        results = [names.get(o.name, o.name) for o in body.output]
        states = results[: len(states)]
        for column, value in zip(collected, results[len(states) :], strict=True):
            row = f"{stem}/{step}/row/{len(column)}/{value}"
            out.append(_row(value, row, axis))
            column.append(row)
    out.extend(_kept(states, node))
    for column, output in zip(collected, node.output[len(states) :], strict=True):
        if output:
            out.append(helper.make_node("Concat", column, [output], axis=0))
    return out


def _kept(states: list[str], node: NodeProto) -> list[NodeProto]:
    """The states as they are at the end."""
    pairs = [(s, o) for s, o in zip(states, node.output, strict=False) if o]
    return [helper.make_node("Identity", [state], [output]) for state, output in pairs]


def _at_once(
    graph: GraphProto,
    node: NodeProto,
    body: GraphProto,
    states: list[str],
    scanned: list[str],
    stem: str,
    opset: int,
) -> list[NodeProto] | None:
    """The body on all rows of one matrix, where it holds only what does the same to each: states
    that stay, of one row, and numbers."""
    inputs = [i.name for i in body.input]
    rows = {i.name: len(i.type.tensor_type.shape.dim) for i in body.input}
    one = [i.type.tensor_type.shape.dim[:1] for i in body.input[: len(states)]]
    if len(scanned) != 1 or rows[inputs[-1]] != 1 or any(rows[n] != 2 for n in inputs[:-1]):
        return None
    if any(dim[0].dim_value not in (0, 1) for dim in one):
        return None
    names = dict(zip(inputs, [*states, *scanned], strict=True))
    # From opset 13, or 18, on the axes are an input.
    numbers = {t.name: numpy_helper.to_array(t) for t in body.initializer}
    same = dict(zip(inputs, inputs, strict=True))
    many = {inputs[-1]}
    out = []
    for inner in body.node:
        axes = [list(a.ints) for a in inner.attribute if a.name == "axes"]
        axes += [numbers[name].tolist() for name in inner.input[1:] if name in numbers]
        along = inner.op_type in _ALONG and axes == [[1]]
        if not along and (inner.op_type not in _EACH or numbers.keys() & {*inner.input}):
            return None
        if inner.op_type == "Identity":
            same[inner.output[0]] = same.get(inner.input[0], "")
        copied = NodeProto()
        copied.CopyFrom(inner)
        if many.intersection(inner.input):
            many.update(inner.output)
        names |= {value: f"{stem}/{value}" for value in inner.output}
        names |= {name: f"{stem}/{name}" for name in numbers}
        copied.name = f"{stem}/{inner.output[0]}"
        copied.input[:] = [names[value] for value in inner.input]
        copied.output[:] = [names[value] for value in inner.output]
        out.append(copied)
    kept = zip(body.output, inputs[: len(states)], strict=False)
    if any(same.get(value.name) != state for value, state in kept):
        return None
    for tensor in body.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = f"{stem}/{tensor.name}"
    out.extend(_kept(states, node))
    axis = _constant(graph, f"{stem}/axis", [1]) if opset >= 13 else None
    for value, output in zip(body.output[len(states) :], node.output[len(states) :], strict=True):
        if value.name not in many or value.name in inputs:
            return None
        if output:
            out.append(_row(names[value.name], output, axis, at=1))
    return out


def _row(value: str, row: str, axis: str | None, at: int = 0) -> NodeProto:
    """What a step gives out, as one row of all that is collected."""
    if axis is None:
        return helper.make_node("Unsqueeze", [value], [row], axes=[at])
    return helper.make_node("Unsqueeze", [value, axis], [row])


def _has_graph(node: NodeProto) -> bool:
    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)


def _constant(graph: GraphProto, name: str, value: int | list[int]) -> str:
    tensor: TensorProto = numpy_helper.from_array(np.array(value, dtype=np.int64), name)
    graph.initializer.append(tensor)
    return name
