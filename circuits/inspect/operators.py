"""Which operators the engine computes as ONNX means them, and which it does not.

One table serves both ends: ``inspect`` reports it to the user, and ``rewrite`` refuses with it
whatever no pass has taken away. It was made by running each operator through EZKL 23.0.5 and
comparing its witness with onnxruntime (docs/compiler.md, "What the engine mistranslates").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from circuits.inspect.shapes import known_dims

_INTEGERS = frozenset(
    {
        TensorProto.INT8,
        TensorProto.INT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.UINT8,
        TensorProto.UINT16,
        TensorProto.UINT32,
        TensorProto.UINT64,
    }
)


@dataclass(frozen=True)
class Refusal:
    """Why the engine cannot take a node, and what to export instead."""

    reason: str
    instead: str


@dataclass
class GraphFacts:
    """What can be looked up about values: element type, known shape, constant value."""

    types: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    constants: dict[str, TensorProto] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ModelProto) -> GraphFacts:
        facts = cls()
        graph = model.graph
        for value in [*graph.input, *graph.value_info, *graph.output]:
            facts.types[value.name] = value.type.tensor_type.elem_type
            facts.shapes[value.name] = known_dims(value)
        for tensor in graph.initializer:
            facts._learn(tensor.name, tensor)
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                facts._learn(node.output[0], node.attribute[0].t)
        return facts

    def _learn(self, name: str, tensor: TensorProto) -> None:
        self.types[name] = tensor.data_type
        self.shapes[name] = list(tensor.dims)
        self.constants[name] = tensor

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of a constant, or None."""
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)


def attributes(node: NodeProto) -> Mapping[str, object]:
    """The node's attributes as plain values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


# fmt: off
#: Laid out by the engine as ONNX means them; some only with attributes that ``_CHECKS`` looks at.
FAITHFUL = frozenset(
    {
        "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan",
        "Atanh", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat",
        "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "Cosh", "Div", "Dropout",
        "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "GRU", "Gather",
        "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater",
        "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LSTM",
        "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool",
        "Min", "Mish", "Mul", "Neg", "Not", "OneHot", "Or", "Pad", "Pow", "RNN", "Range",
        "Reciprocal", "ReduceL1", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "Round", "ScatterElements",
        "ScatterND", "Shape", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "Softmax", "Softplus",
        "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "Tile", "TopK", "Transpose",
        "Trilu", "Unsqueeze", "Where", "Xor",
    }
)
# fmt: on

_FLOAT_EXPORT = "Export the float model, before quantisation."

#: Taken for something else, or not known, by the engine.
REFUSED: Mapping[str, Refusal] = {
    "QuantizeLinear": Refusal("the engine takes it for an identity", _FLOAT_EXPORT),
    "DequantizeLinear": Refusal("the engine takes it for an identity", _FLOAT_EXPORT),
    "DynamicQuantizeLinear": Refusal("its scale depends on the input", _FLOAT_EXPORT),
    "BitShift": Refusal(
        "the engine takes it for an exact change of scale, without truncation",
        "Multiply or divide and take Floor.",
    ),
}

_UNKNOWN = "the engine has no such operator"


def refusal(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    """Why the engine cannot compute this node faithfully, or None when it can."""
    if node.domain not in ("", "ai.onnx"):
        return Refusal(_UNKNOWN, "Export the estimator's numeric part with standard operators.")
    if node.op_type in REFUSED:
        return REFUSED[node.op_type]
    if node.op_type not in FAITHFUL:
        return Refusal(_UNKNOWN, "Write it with simpler operators before export.")
    check = _CHECKS.get(node.op_type)
    return check(node, facts) if check else None


def _pow(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    exponent = facts.constant(node.input[1])
    if exponent is None:
        if facts.constant(node.input[0]) is not None:
            return None
        return Refusal("its exponent is not a constant", "Use a constant exponent, or Exp and Log.")
    if exponent.size != 1:
        return Refusal("its exponent is not one number", "Raise each part to its own power.")
    if float(exponent.reshape(-1)[0]) < 0:
        return Refusal("the engine computes negative powers wrongly", "Use Reciprocal and Pow.")
    return None


def _div(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    if facts.types.get(node.input[0]) in _INTEGERS:
        return Refusal(
            "the engine does not truncate integer division", "Divide floats and take Floor."
        )
    return None


def _conv(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    dilations = attributes(node).get("dilations", [])
    if any(d != 1 for d in dilations):  # type: ignore[attr-defined]
        return Refusal("the engine lays out no dilations", "Use dilation 1.")
    return None


def _average_pool(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    attrs = attributes(node)
    if attrs.get("count_include_pad") or attrs.get("ceil_mode"):
        return Refusal(
            "the engine averages over padding otherwise", "Pad explicitly, then pool without pads."
        )
    return _conv(node, facts)


def _pad(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    mode = attributes(node).get("mode", b"constant")
    value = facts.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if mode != b"constant" or (value is not None and np.any(value != 0)):
        return Refusal("the engine pads with zeros only", "Pad with zeros.")
    return None


def _resize(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    if attributes(node).get("mode", b"nearest") != b"nearest":
        return Refusal("the engine resizes by nearest neighbour only", "Use mode='nearest'.")
    return None


def _two_inputs(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    if len(node.input) > 2:
        return Refusal("the engine takes two inputs at most", "Nest it: Max(Max(a, b), c).")
    return None


_CHECKS: Mapping[str, Callable[[NodeProto, GraphFacts], Refusal | None]] = {
    "Pow": _pow,
    "Div": _div,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "MaxPool": _conv,
    "AveragePool": _average_pool,
    "Pad": _pad,
    "Resize": _resize,
    "Max": _two_inputs,
    "Min": _two_inputs,
}


def rewritten_by(node: NodeProto, facts: GraphFacts) -> str | None:
    """The pass that takes this node away before the engine sees it, or None."""
    return None
