"""Which operators the engine computes as ONNX means them, and which it does not.

One table serves both ends: ``inspect`` reports it to the user, and ``rewrite`` refuses with it
whatever no pass has taken away. It was made by running each operator through EZKL 23.0.5 and
comparing its witness with onnxruntime (docs/compiler.md, "What the engine mistranslates").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from circuits.frontend.fixed_shapes import known_dims

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
    """What can be looked up about values: element type, known shape, constant value, use."""

    types: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    constants: dict[str, TensorProto] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, model: ModelProto) -> GraphFacts:
        facts = cls()
        graph = model.graph
        for value in [*graph.input, *graph.value_info, *graph.output]:
            facts.types[value.name] = value.type.tensor_type.elem_type
            facts.shapes[value.name] = known_dims(value)
        facts.used = {o.name for o in graph.output} | {i for n in graph.node for i in n.input}
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
        "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh",
        "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant",
        "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "Cosh", "CumSum", "DepthToSpace", "Div",
        "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor",
        "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
        "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
        "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual",
        "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mul", "Neg", "Not",
        "OneHot", "Or", "PRelu", "Pad", "Pow", "Range", "Reciprocal", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Round", "Selu", "Shape", "Shrink",
        "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax", "Softplus", "Softsign",
        "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu",
        "TopK", "Transpose", "Unsqueeze", "Where", "Xor",
    }
)
# fmt: on

_FLOAT_EXPORT = "Export the float model, before quantisation."

#: Taken for something else by the engine, without a word.
REFUSED: Mapping[str, Refusal] = {
    "QuantizeLinear": Refusal("the engine takes it for an identity", _FLOAT_EXPORT),
    "DequantizeLinear": Refusal("the engine takes it for an identity", _FLOAT_EXPORT),
    "DynamicQuantizeLinear": Refusal("its scale depends on the input", _FLOAT_EXPORT),
    "BitShift": Refusal("the engine does not truncate", "Divide by a power of two, take Floor."),
    "Trilu": Refusal("the engine ignores its diagonal", "Multiply by a constant mask."),
    **dict.fromkeys(
        ("GRU", "LSTM", "RNN"),
        Refusal(
            "it has sequence lengths, or activations with parameters",
            "Export it with the usual activations and no lengths.",
        ),
    ),
    **dict.fromkeys(
        ("ScatterElements", "ScatterND"),
        Refusal(
            "an index that occurs twice would make the engine's prover wait for ever",
            "Use ScatterElements with indices as long as the data on every other axis, or Where.",
        ),
    ),
    "Dropout": Refusal("it is in training mode", "Export in evaluation mode: model.eval()."),
}

_UNKNOWN = "the engine has no such operator"


def refusal(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    """Why the engine cannot compute this node faithfully, or None when it can."""
    if node.domain not in ("", "ai.onnx"):
        return Refusal(_UNKNOWN, "Export the estimator's numeric part with standard operators.")
    if node.op_type in REFUSED:
        return REFUSED[node.op_type]
    if node.op_type == "Scan":
        return Refusal(
            "it is control flow: a circuit has no branches or loops, and its steps are not known",
            "Unroll it: fix the length of what it goes over (--shape), as tracing does.",
        )
    if node.op_type not in FAITHFUL:
        return Refusal(_UNKNOWN, "Write it with simpler operators before export.")
    for name in node.input:
        if _holds_nan(facts.constant(name)):
            return Refusal(
                f"its constant {name!r} holds NaN",
                "A training run that diverges leaves such weights: export another one.",
            )
    check = _CHECKS.get(node.op_type)
    return check(node, facts) if check else None


def _holds_nan(values: NDArray[Any] | None) -> bool:
    return values is not None and values.dtype.kind == "f" and bool(np.isnan(values).any())


def _pow(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    exponent = facts.constant(node.input[1])
    if exponent is None:
        if facts.constant(node.input[0]) is not None:
            return None
        return Refusal("its exponent is not a constant", "Use a constant exponent, or Exp and Log.")
    if exponent.size != 1:
        return Refusal("its exponent is not one number", "Raise each part to its own power.")
    power = float(exponent.reshape(-1)[0])
    if power <= 0 and power.is_integer():
        return Refusal("the engine computes negative powers wrongly", "Use Reciprocal and Pow.")
    return None


def _div(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    if facts.types.get(node.input[0]) in _INTEGERS:
        return Refusal(
            "the engine does not truncate integer division", "Divide floats and take Floor."
        )
    return None


def _windows(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    attrs = attributes(node)
    if any(d != 1 for d in _numbers(attrs, "dilations")):
        return Refusal("the engine lays out no dilations", "Use dilation 1 or constant weights.")
    if not attrs.get("strides"):
        return Refusal("it has no strides", "Write the strides down.")
    pooling = node.op_type in ("MaxPool", "AveragePool")
    if pooling and (any(_numbers(attrs, "pads")) or attrs.get("ceil_mode")):
        return Refusal("the engine pads with zeros before it pools", "Pool without padding.")
    if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
        return Refusal("the engine gives no indices of maxima", "Export without the indices.")
    if node.op_type == "ConvTranspose" and attrs.get("group", 1) != 1:
        return Refusal("the engine has no grouped one", "Use constant weights, or one group.")
    return None


def _numbers(attrs: Mapping[str, object], name: str) -> list[int]:
    values = attrs.get(name)
    return [int(v) for v in values] if isinstance(values, list) else []


def _pad(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    pads = facts.constant(node.input[1]) if len(node.input) > 1 else None
    given = len(node.input) > 2 and bool(node.input[2])
    value = facts.constant(node.input[2]) if given else None
    if given and value is None:
        return Refusal("what it pads with is not constant", "Pad with zeros.")
    if pads is None or bool(np.any(pads.astype(np.int64) < 0)):
        return Refusal("its pads are not constant", "Pad by constant amounts.")
    mode = attributes(node).get("mode", b"constant")
    if mode != b"constant" or (value is not None and bool(np.any(value != 0))):
        return Refusal("the engine pads with zeros only", "Pad with zeros.")
    return None


def _two_inputs(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    if len(node.input) > 2:
        return Refusal("the engine takes two inputs at most", "Nest it: Max(Max(a, b), c).")
    for name in node.input:
        tensor = facts.constants.get(name)
        if tensor is not None and int(np.prod(tensor.dims)) > 1:
            return Refusal("the engine compares with one number only", "Use a float constant.")
    return None


def _cast(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    target = facts.types.get(node.output[0])
    source = facts.types.get(node.input[0])
    if target == TensorProto.BOOL and source != TensorProto.BOOL:
        return Refusal("the engine keeps the number", "Compare with zero.")
    return None


def _indices(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    where = facts.constant(node.input[1])
    if where is not None and bool(np.any(where.astype(np.int64) < 0)):
        return Refusal("the engine counts from the front only", "Use non-negative indices.")
    return None


def _one_hot(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    levels = facts.constant(node.input[2])
    if levels is None or [float(str(v)) for v in levels] != [0.0, 1.0]:
        return Refusal("the engine knows the levels 0 and 1 only", "Scale it afterwards.")
    return None


def _arg(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    if attributes(node).get("select_last_index"):
        return Refusal("the engine finds the first one only", "Use select_last_index=0.")
    return None


def _top_k(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    if len(node.output) > 1 and node.output[1] in facts.used:
        return Refusal(
            "the engine gives the values, not their indices", "Use ArgMax for the first."
        )
    return None


def _expand(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    if len(facts.shapes.get(node.input[0], [])) < len(facts.shapes.get(node.output[0], [])):
        return Refusal("the engine repeats the wrong axis", "Add the new axes with Reshape first.")
    return None


def _cum_sum(node: NodeProto, facts: GraphFacts) -> Refusal | None:
    attrs = attributes(node)
    if attrs.get("exclusive") or attrs.get("reverse"):
        return Refusal("the engine sums forwards, with each element itself", "Sum a turned value.")
    return None


_CHECKS: Mapping[str, Callable[[NodeProto, GraphFacts], Refusal | None]] = {
    "ArgMax": _arg,
    "ArgMin": _arg,
    "AveragePool": _windows,
    "Cast": _cast,
    "Conv": _windows,
    "ConvTranspose": _windows,
    "CumSum": _cum_sum,
    "Div": _div,
    "Expand": _expand,
    "Gather": _indices,
    "GatherElements": _indices,
    "GatherND": _indices,
    "Max": _two_inputs,
    "MaxPool": _windows,
    "Min": _two_inputs,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Pow": _pow,
    "TopK": _top_k,
}


def has_conditions(op: str) -> bool:
    """Whether attributes or constants decide if the engine computes the operator faithfully."""
    return op in _CHECKS
