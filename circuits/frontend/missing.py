"""Values that may be missing: a mask beside the input, of which the model asks them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from circuits.frontend.fixed_shapes import real_inputs
from circuits.frontend.outputs import name_opset
from circuits.frontend.plain import MOVES, PlainInputs, attributes_of

#: Operators that compute of a missing value a missing one, element by element.
ELEMENTWISE = frozenset({"Cast", "FeatureVectorizer", "Neg", "Scaler"})
#: The same where the other operand is a constant.
WITH_CONSTANT = frozenset({"Add", "Div", "Mul", "Sub"})
TREES = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
#: Thresholds from here on, and infinite ones, are beyond all values: CatBoost and LightGBM write
#: them to ask whether a value is missing.
BEYOND = 1e37
_FLOATS: Mapping[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.FLOAT16: np.float16,
}


def mask_missing(model: ModelProto, absent: Collection[str], found: PlainInputs) -> None:
    """A mask for each input of floats of which the model asks whether a value is there; for those
    named in ``absent`` one that nothing reads."""
    for value in real_inputs(model):
        kind = value.type.tensor_type.elem_type
        if kind in _FLOATS and _asks_for_missing(model.graph, value.name):
            name_opset(model)
            _mask(model.graph, value, absent, found)


def _mask(
    graph: GraphProto, value: ValueInfoProto, absent: Collection[str], found: PlainInputs
) -> None:
    """A mask beside the input, and NaN again where it is true."""
    mask = graph.input.add()
    mask.CopyFrom(value)
    mask.name = f"{value.name}/missing"
    mask.type.tensor_type.elem_type = TensorProto.BOOL
    found.meanings[mask.name] = {"missing_of": value.name}
    found.notes.append(f"input {value.name!r}: values may be missing (null, NaN)")
    if mask.name in absent:
        return
    nan = np.array(np.nan, dtype=_FLOATS[value.type.tensor_type.elem_type])
    graph.initializer.append(numpy_helper.from_array(nan, f"{value.name}/nan"))
    inputs = [mask.name, f"{value.name}/nan", value.name]
    found.begin(graph, value.name, helper.make_node("Where", inputs, [f"{value.name}/given"]))


def _asks_for_missing(graph: GraphProto, name: str) -> bool:
    """Whether the model asks of this input which values are missing, and everything that it
    computes of it has an answer for those that are."""
    constants = {t.name for t in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    reached = {name}
    asked: dict[str, tuple[str, bool]] = {}  # of which value, and whether it tells what is there
    found = False
    for node in graph.node:
        if node.op_type == "Not" and node.input[0] in asked:
            of, there = asked[node.input[0]]
            asked[node.output[0]] = of, not there
        if reached.isdisjoint(node.input):
            continue
        op, attributes = node.op_type, attributes_of(node)
        if op == "IsNaN":
            asked[node.output[0]] = node.input[0], False
            found = True
        elif op == "Imputer" and _imputes(attributes):
            found = True
        elif op in TREES:
            found |= any(attributes.get("nodes_missing_value_tracks_true", ()))
            found |= any(abs(t) >= BEYOND for t in attributes.get("nodes_values", ()))
        elif op == "Where" and _chooses(node, asked, reached):
            continue
        elif _hands_on(node, attributes, reached, constants):
            reached.update(node.output)
        else:
            return False
    return found and reached.isdisjoint(o.name for o in graph.output)


def _chooses(node: NodeProto, asked: Mapping[str, tuple[str, bool]], reached: set[str]) -> bool:
    """Whether it takes a value only where that is there, and another where it is missing."""
    of, there = asked.get(node.input[0], ("", False))
    given, other = node.input[1:] if there else node.input[:0:-1]
    return given == of and other not in reached


def _imputes(attributes: Mapping[str, Any]) -> bool:
    return bool(np.isnan(attributes.get("replaced_value_float", 0.0))) and bool(
        attributes.get("imputed_value_floats")
    )


def _hands_on(
    node: NodeProto, attributes: Mapping[str, Any], reached: set[str], constants: set[str]
) -> bool:
    """Whether a missing value stays a missing one in the same place, or a place of its own."""
    op = node.op_type
    if op in MOVES:
        return op == "Concat" or reached.isdisjoint(node.input[1:])
    if op == "Cast":
        return attributes["to"] in _FLOATS
    if op in WITH_CONSTANT:
        return all(name in reached or name in constants for name in node.input) and (
            node.input[0] in constants or node.input[1] in constants
        )
    return op in ELEMENTWISE
