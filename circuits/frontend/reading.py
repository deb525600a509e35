"""Parsing a model that nobody has vouched for.

Everything here takes time and memory in proportion to the file's size, never to a number written
inside it: an initialiser that declares terabytes is refused by arithmetic, not by trying.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from circuits.errors import ExternalData, ModelError, ModelTooLarge, NotOnnx, UnsupportedOperator
from circuits.frontend.functions import MAX_NODES, inline_own
from circuits.frontend.scans import unroll_scans

#: Protobuf itself cannot hold more than this in one message.
MAX_BYTES = (1 << 31) - 1
#: No tensor of a model that could be proved comes near this many elements.
MAX_ELEMENTS = 1 << 26
MAX_RANK = 16

#: Domains whose operators have a published meaning that we know.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})

#: What to do about control flow, by operator.
_UNROLLED = {
    "If": "Export with fixed shapes and one branch taken, as tracing does.",
    "Loop": "Export with the loop unrolled for its fixed number of steps, as tracing does.",
    "Scan": "Unroll it. Nearest neighbours of scikit-learn are exported so, and choose by sorting:"
    " fit a tree, a forest, a linear model or an SVM in their place.",
}

_BITS: dict[int, int] = {
    TensorProto.FLOAT: 32,
    TensorProto.DOUBLE: 64,
    TensorProto.FLOAT16: 16,
    TensorProto.BFLOAT16: 16,
    TensorProto.INT8: 8,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.UINT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.BOOL: 8,
}
#: In which field a tensor type keeps values that are not raw bytes.
_TYPED_FIELD: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}


def read_model(data: bytes) -> ModelProto:
    """The parsed model, structurally sound: every name defined, no cycle, every tensor whole.

    Raises ``NotOnnx``, ``ExternalData``, ``ModelTooLarge``, ``UnsupportedOperator`` (control flow,
    unknown domains, strings, sparse tensors) or ``ModelError``, with the node or tensor named.
    """
    model = _parse(data)
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise ModelTooLarge(
            f"the graph has {len(graph.node)} nodes; at most {MAX_NODES} are read",
            advice="Export a smaller model, or simplify the graph first.",
        )
    model = inline_own(model, MAX_NODES)
    graph = model.graph
    _check_tensors(graph)
    unroll_scans(model, MAX_NODES)
    for node in graph.node:
        _check_node(node)
    _check_graph(model)
    _name_nodes(graph)
    return model


def _name_nodes(graph: GraphProto) -> None:
    """Gives every node a name of its own, so that messages and passes can point at it.

    It is no value's name but that of its own output: the engine's importer keeps nodes and
    constants in one table, and takes a node for a constant of its name.
    """
    taken: set[str] = set()
    maker = {value: index for index, node in enumerate(graph.node) for value in node.output}
    maker |= dict.fromkeys([t.name for t in graph.initializer] + [i.name for i in graph.input], -1)
    for index, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{index}"
        while name in taken or maker.get(name, index) != index:
            name = f"{name}_{index}"
        node.name = name
        taken.add(name)


def node_label(node: NodeProto) -> str:
    """How messages name a node: its own name, or its first output's."""
    name = node.name or (node.output[0] if node.output else "")
    return f"{node.op_type} {name!r}"


def _parse(data: bytes) -> ModelProto:
    if not data:
        raise NotOnnx("the file is empty")
    if len(data) > MAX_BYTES:
        raise ModelTooLarge(f"the file has {len(data)} bytes; an ONNX file holds at most 2 GiB")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError, ValueError) as error:
        raise NotOnnx("the file is not an ONNX model: its protobuf cannot be read") from error
    if (field := next(_not_text(model), None)) is not None:
        raise NotOnnx(f"the file is not an ONNX model: its {field} is not UTF-8 text")
    # A few random bytes often parse as an empty message.
    if not model.HasField("graph") or not model.opset_import or model.ir_version <= 0:
        raise NotOnnx("the file is not an ONNX model: it holds no graph or names no opset")
    if not model.graph.output:
        raise ModelError("the graph has no output", advice="Export a model that returns a tensor.")
    return model


def _not_text(message: Message) -> Iterator[str]:
    """Paths of the strings that are no UTF-8, which protobuf parses and hands out as bytes."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            values = [value] if isinstance(value, (str, bytes)) else value
            yield from (field.name for text in values if isinstance(text, bytes))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                yield from (f"{field.name}.{path}" for path in _not_text(part))


def _check_tensors(graph: GraphProto) -> None:
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ModelError(
            f"initializer {name!r} is a sparse tensor", advice="Store it as a dense tensor."
        )
    seen: set[str] = set()
    for tensor in graph.initializer:
        if tensor.name in seen:
            raise ModelError(f"initializer {tensor.name!r} is defined twice")
        seen.add(tensor.name)
        _check_tensor(tensor, f"initializer {tensor.name!r}")


def _check_tensor(tensor: TensorProto, where: str) -> None:
    """Refuses a tensor whose declared size is not that of its bytes."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ExternalData(f"{where} keeps its values in another file", tensor=tensor.name)
    if tensor.data_type == TensorProto.STRING:
        raise UnsupportedOperator(
            f"{where} holds strings", advice="Export a model whose tensors are numbers."
        )
    if tensor.HasField("segment"):
        raise ModelError(f"{where} is split into segments, which ONNX does not define")
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        raise ModelError(
            f"{where} has element type {tensor.data_type}, which is not read here",
            advice="Export with float32 weights.",
        )
    count = checked_size(tensor.dims, where)
    if tensor.HasField("raw_data"):
        have = len(tensor.raw_data) * 8 // bits
        whole = len(tensor.raw_data) * 8 == count * bits
    else:
        field = _TYPED_FIELD.get(tensor.data_type, "int32_data")
        have = len(getattr(tensor, field))
        whole = have == count
    if not whole:
        raise ModelError(
            f"{where} declares {count} elements {list(tensor.dims)} but holds {have}",
            tensor=tensor.name,
        )


def checked_size(dims: object, where: str) -> int:
    """The product of ``dims``; refuses negative, overflowing and absurd shapes."""
    shape = [int(d) for d in dims]  # type: ignore[attr-defined]
    if len(shape) > MAX_RANK:
        raise ModelError(f"{where} has {len(shape)} dimensions; at most {MAX_RANK} are read")
    if any(d < 0 for d in shape):
        raise ModelError(f"{where} has a negative dimension: {shape}")
    size = math.prod(shape)
    if size > MAX_ELEMENTS or any(d > MAX_ELEMENTS for d in shape):
        raise ModelTooLarge(
            f"{where} declares {shape}: more than {MAX_ELEMENTS} elements",
            advice="No circuit holds a tensor of this size; export a smaller model.",
        )
    return size


def _check_node(node: NodeProto) -> None:
    label = node_label(node)
    if node.domain not in DOMAINS:
        raise UnsupportedOperator(
            f"node {label} is of domain {node.domain!r}, which is not known here",
            advice="Export with standard ONNX operators only.",
            node=node.name,
            op=node.op_type,
            domain=node.domain,
        )
    if _is_plain_scan(node):
        for body in _subgraphs(node):
            _check_tensors(body)
            for inner in body.node:
                _check_node(inner)
        return
    if node.op_type in CONTROL_FLOW or any(_subgraphs(node)):
        raise UnsupportedOperator(
            f"node {label} is control flow: a circuit has no branches or loops",
            advice=_UNROLLED.get(node.op_type, "Export with fixed shapes, as tracing does."),
            node=node.name,
            op=node.op_type,
        )
    for attribute in node.attribute:
        where = f"node {label}, attribute {attribute.name!r}"
        if attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
            raise ModelError(f"{where} is a sparse tensor", advice="Store it as a dense tensor.")
        if attribute.ref_attr_name:
            raise ModelError(f"{where} refers to an attribute outside any function")
        tensors = [attribute.t] if attribute.HasField("t") else []
        for tensor in [*tensors, *attribute.tensors]:
            # A label encoder may carry strings; they never enter the circuit.
            if node.domain == "ai.onnx.ml" and tensor.data_type == TensorProto.STRING:
                continue
            _check_tensor(tensor, where)


def _is_plain_scan(node: NodeProto) -> bool:
    """Whether it is a Scan, which is unrolled where its length is known, or refused by name."""
    return node.op_type == "Scan" and node.domain in ("", "ai.onnx")


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _check_graph(model: ModelProto) -> None:
    """Names, order and attributes, by the ONNX project's own checker."""
    _check_order(model.graph)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        first = f"{error}".strip().splitlines()[0][:300]
        raise ModelError(
            f"the model is not valid ONNX: {first}",
            advice="Run onnx.checker.check_model on it and export it again.",
        ) from error


def _check_order(graph: GraphProto) -> None:
    """Every name is defined once, before its use: so the graph has no cycle."""
    known = {t.name for t in graph.initializer} | {i.name for i in graph.input}
    makers = {name for node in graph.node for name in node.output if name}
    for node in graph.node:
        for name in node.input:
            if not name or name in known:
                continue
            why = (
                "which is made only later: the graph has a cycle or is not in order"
                if name in makers
                else "which nothing makes"
            )
            raise ModelError(
                f"node {node_label(node)} reads {name!r}, {why}", node=node.name, value=name
            )
        for name in node.output:
            if name and name in known:
                raise ModelError(
                    f"node {node_label(node)} makes {name!r}, which is already defined",
                    node=node.name,
                    value=name,
                )
            known.add(name)
    for output in graph.output:
        if output.name not in known:
            raise ModelError(f"output {output.name!r} is made by no node")
