"""Functions written out: those that a model defines itself, and those that ONNX defines by a body.

PyTorch's exporter gives models functions of their own; newer operators (Attention,
RMSNormalization, the losses) are defined by what they are made of. The ONNX project's own inliner
writes both out. What a model claims to define is counted first: functions that call functions may
stand for more nodes than anybody can hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
from onnx import FunctionProto, ModelProto, NodeProto, TypeProto, defs, helper, inliner

from circuits.errors import ModelError, ModelTooLarge
from circuits.frontend.scans import unroll_scans

FunctionId = tuple[str, str]
#: Nodes that a graph may have at most.
MAX_NODES = 50_000

#: The domain of bodies while they are written out.
_DOMAIN = "zkml.bodies"
#: Bodies that use operators with bodies, so many times.
_DEPTH = 4

#: Operators that are defined by a body, and have no other form here.
WITH_BODIES = (
    "AffineGrid",
    "Attention",
    "BlackmanWindow",
    "CastLike",
    "CausalConvWithState",
    "Celu",
    "CenterCropPad",
    "DynamicQuantizeLinear",
    "FlexAttention",
    "HammingWindow",
    "HannWindow",
    "LinearAttention",
    "Mish",
    "NegativeLogLikelihoodLoss",
    "RMSNormalization",
    "RotaryEmbedding",
    "SoftmaxCrossEntropyLoss",
    "SwiGLU",
    "Swish",
)


def inline_own(model: ModelProto, most_nodes: int) -> ModelProto:
    """The model with the functions that it defines written out.

    Raises ``ModelTooLarge`` where they stand for more than ``most_nodes`` nodes, ``ModelError``
    where one calls itself or cannot be written out.
    """
    if not model.functions:
        return model
    functions = {(f.domain, f.name): f for f in model.functions}
    count = _count(model.graph.node, functions, {}, ())
    if count > most_nodes:
        raise ModelTooLarge(
            f"the model's functions stand for {count} nodes; at most {most_nodes} are read",
            advice="Export a smaller model.",
        )
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # the inliner raises what it likes for a broken model
        raise ModelError(
            f"the model's functions cannot be written out: {str(error).splitlines()[0][:200]}",
            advice="Inline them before: onnx.inliner.inline_local_functions(model).",
        ) from error


def _count(
    nodes: Iterable[NodeProto],
    functions: dict[FunctionId, FunctionProto],
    known: dict[FunctionId, int],
    within: tuple[FunctionId, ...],
) -> int:
    """Nodes once every call is written out."""
    total = 0
    for node in nodes:
        called = (node.domain, node.op_type)
        if called not in functions:
            total += 1
            continue
        if called in within or len(within) > len(functions):
            raise ModelError(f"the function {node.op_type!r} of the model calls itself")
        if called not in known:
            body = functions[called].node
            known[called] = _count(body, functions, known, (*within, called))
        total += known[called]
    return total


def write_out_bodies(model: ModelProto) -> ModelProto:
    """The model with operators that ONNX defines by a body written out, shapes inferred.

    Bodies that use such operators again are written out too. An operator whose body needs more than
    is known of its inputs stays.
    """
    for _ in range(_DEPTH):
        version = _opset(model)
        kinds = _kinds(model)
        bodies: list[FunctionProto] = []
        for node in model.graph.node:
            if node.domain not in ("", "ai.onnx") or node.op_type not in WITH_BODIES:
                continue
            body = _body(node, version, kinds)
            if body is None:
                continue
            body.domain, body.name = _DOMAIN, f"{node.op_type}_{len(bodies)}"
            node.domain, node.op_type = _DOMAIN, body.name
            bodies.append(body)
        if not bodies:
            break
        model.functions.extend(bodies)
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
        model = inliner.inline_local_functions(model)
        for position, imported in enumerate(model.opset_import):
            if imported.domain == _DOMAIN:
                del model.opset_import[position]
                break
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    unroll_scans(model, MAX_NODES)
    return model


def _opset(model: ModelProto) -> int:
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def _kinds(model: ModelProto) -> dict[str, TypeProto]:
    """The types of values, as far as they are known."""
    graph = model.graph
    kinds = {v.name: v.type for v in [*graph.value_info, *graph.output, *graph.input]}
    for tensor in graph.initializer:
        kinds[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    return kinds


def _body(node: NodeProto, version: int, kinds: dict[str, TypeProto]) -> FunctionProto | None:
    """What an operator is made of, in operators of one set; None where that is not known."""
    try:
        # onnx's stubs leave out what schemas say of bodies.
        schema: Any = defs.get_schema(node.op_type, version, "")
    except defs.SchemaError:
        return None
    body = FunctionProto()
    versions = [*schema.function_opset_versions]
    contextual = [*schema.context_dependent_function_opset_versions]
    if versions:
        fitting = max((v for v in versions if v <= version), default=versions[0])
        body.ParseFromString(schema.get_function_with_opset_version(fitting))
    elif contextual:
        fitting = max((v for v in contextual if v <= version), default=contextual[0])
        types = [kinds.get(name, TypeProto()).SerializeToString() for name in node.input]
        found = schema.get_context_dependent_function_with_opset_version(
            fitting, node.SerializeToString(), types
        )
        body.ParseFromString(found)
    if not body.node:
        return None
    for imported in body.opset_import:
        if imported.domain in ("", "ai.onnx"):
            imported.version = version  # the inliner writes out nothing of another set
    given = {a.name for a in node.attribute}
    # A body speaks of attributes that a call may leave out: then their defaults hold.
    for name, attribute in schema.attributes.items():
        if name not in given and attribute.default_value.name:
            node.attribute.append(attribute.default_value)
    return body
