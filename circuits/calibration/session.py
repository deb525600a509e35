"""onnxruntime sessions whose outputs do not depend on the processor.

On x86-64 without VNNI, onnxruntime multiplies unsigned by signed 8-bit numbers with an instruction
that adds two products in 16 bits and saturates there: a quantised model then has other answers than
ONNX defines, and other ones than elsewhere. Products of two unsigned numbers are exact everywhere.
So weights are shifted to unsigned numbers here, with their zero points, which changes no answer;
and QuantizeLinear and DequantizeLinear are computed as they stand instead of being fused into such
products. The session option for the former (``session.x64quantprecision``) fails where layers share
a zero point, and does nothing without graph optimisations.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why do I
need to try U8U8?".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

#: Where each operator has its left side, its weights and their zero points.
_PRODUCTS = {
    "ConvInteger": (0, 1, 3),
    "MatMulInteger": (0, 1, 3),
    "QGemm": (0, 3, 5),
    "QLinearConv": (0, 3, 5),
    "QLinearMatMul": (0, 3, 5),
}


def open_session(onnx: bytes, *, optimised: bool = True) -> Any:
    """An onnxruntime session on one thread. Raises onnxruntime's exceptions, which share no base.

    ``optimised=False`` runs the graph as written, where that itself is being judged.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not optimised:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    if any(op.encode() in onnx for op in _PRODUCTS):
        onnx = _with_unsigned_weights(onnx)
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def _with_unsigned_weights(data: bytes) -> bytes:
    import onnx
    from onnx import inliner, shape_inference

    model = onnx.load_model_from_string(data)
    if model.functions:
        model = inliner.inline_local_functions(model)
    model = shape_inference.infer_shapes(model)
    _shift_weights(model.graph, {}, count())
    return bytes(model.SerializeToString())


def _shift_weights(graph: GraphProto, outer: dict[str, int], numbers: Iterator[int]) -> None:
    """``outer`` are the types of values around the graph, ``numbers`` tell new names apart."""
    from onnx import NodeProto, TensorProto

    types = outer | {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    nodes: list[NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _shift_weights(attribute.g, types, numbers)
        if node.op_type in _PRODUCTS:
            left, right, zero = _PRODUCTS[node.op_type]
            if (types.get(node.input[left]), types.get(node.input[right])) == (
                TensorProto.UINT8,
                TensorProto.INT8,
            ):
                node.input.extend([""] * (zero + 1 - len(node.input)))
                for i in (right, zero):
                    name = f"{node.input[i]}:unsigned:{next(numbers)}"
                    nodes.extend(_shift(node.input[i], name))
                    node.input[i] = name
        nodes.append(NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(nodes)


def _shift(name: str, to: str) -> list[NodeProto]:
    """Signed 8-bit numbers plus 128, as unsigned ones; of no name, 128 itself."""
    from onnx import TensorProto, helper

    def scalar(dtype: int, called: str) -> NodeProto:
        return helper.make_node(
            "Constant", [], [called], value=helper.make_tensor("", dtype, (), [128])
        )

    if not name:
        return [scalar(TensorProto.UINT8, to)]
    wide, half, moved = (f"{to}:{step}" for step in ("wide", "half", "moved"))
    return [
        helper.make_node("Cast", [name], [wide], to=TensorProto.INT32),
        scalar(TensorProto.INT32, half),
        helper.make_node("Add", [wide, half], [moved]),
        helper.make_node("Cast", [moved], [to], to=TensorProto.UINT8),
    ]
