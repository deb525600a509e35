"""Inputs that are not just numbers, made so: values that may be missing, and categories as text.

A float input of which the model asks whether a value is there gets a mask as a second input. A text
input that the model looks up in lists of its own becomes the place of each text in their union. The
model then begins with what turns both back, ``Where(mask, NaN, x)`` and ``Gather(texts, places)``:
so onnxruntime still answers it, and passes carry both to where they are asked for
(``circuits.rewrite.ml.missing`` and ``circuits.rewrite.ml.categories``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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

from circuits.errors import ModelTooLarge, UnsupportedOperator
from circuits.format.tensors import MOST_CATEGORIES, TensorSpec
from circuits.frontend.fixed_shapes import real_inputs
from circuits.frontend.outputs import ML, name_opset
from circuits.frontend.reading import node_label

#: Characters of one category at most.
LONGEST = 256
#: Operators that only move what their first input holds; Concat, what all of them hold.
MOVES = frozenset(
    {"ArrayFeatureExtractor", "Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice"}
    | {"Split", "Squeeze", "Transpose", "Unsqueeze"}
)
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


@dataclass
class PlainInputs:
    """What was done, for people; what each new tensor's numbers stand for; and the names of the
    nodes that turn it back."""

    notes: list[str] = field(default_factory=list)
    nodes: set[str] = field(default_factory=set)
    meanings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def told(self, tensors: Iterable[TensorSpec]) -> list[TensorSpec]:
        """The inputs with what their numbers stand for."""
        return [replace(t, **self.meanings.get(t.name, {})) for t in tensors]


def plain_inputs(model: ModelProto, absent: Collection[str] = ()) -> PlainInputs:
    """Rewrites such inputs in place.

    Masks named in ``absent`` become inputs that nothing reads: no value is missing. Raises
    ``UnsupportedOperator`` for a text that something else than a list of texts is asked of,
    ``ModelTooLarge`` for too many or too long texts.
    """
    found = PlainInputs()
    inputs = real_inputs(model)
    texts = [i for i in inputs if i.type.tensor_type.elem_type == TensorProto.STRING]
    if texts:
        name_opset(model)
        _number_texts(model.graph, texts, found)
    for value in inputs:
        kind = value.type.tensor_type.elem_type
        if kind in _FLOATS and _asks_for_missing(model.graph, value.name):
            name_opset(model)
            _mask(model.graph, value, absent, found)
    return found


# --- missing values ----------------------------------------------------------------------------


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
    _begin(graph, value.name, helper.make_node("Where", inputs, [f"{value.name}/given"]), found)


def _begin(graph: GraphProto, name: str, node: NodeProto, found: PlainInputs) -> None:
    """Puts a node between an input and all that reads it."""
    node.name = node.output[0]
    found.nodes.add(node.name)
    for reader in graph.node:
        for at, read in enumerate(reader.input):
            if read == name:
                reader.input[at] = node.output[0]
    graph.node.insert(0, node)


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
        op, attributes = node.op_type, _attributes(node)
        if op == "IsNaN":
            asked[node.output[0]] = node.input[0], False
            found = True
        elif op == "Imputer" and _imputes(attributes):
            found = True
        elif op in TREES:
            found |= any(attributes.get("nodes_missing_value_tracks_true", ()))
            found |= any(abs(t) >= BEYOND for t in attributes.get("nodes_values", ()))
        elif op == "Where" and asked.get(node.input[0]) in (
            (node.input[2], False),
            (node.input[1], True),
        ):
            continue
        elif _hands_on(node, attributes, reached, constants):
            reached.update(node.output)
        else:
            return False
    return found and reached.isdisjoint(o.name for o in graph.output)


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


# --- categories --------------------------------------------------------------------------------


@dataclass
class _Vocabulary:
    """The texts that a model knows of inputs whose texts come together."""

    inputs: set[str]
    texts: dict[str, None] = field(default_factory=dict)  # in the order in which it lists them
    other: bool = True

    def learn(self, more: _Vocabulary) -> None:
        self.inputs |= more.inputs
        self.texts |= more.texts
        self.other &= more.other


def _number_texts(graph: GraphProto, inputs: list[ValueInfoProto], found: PlainInputs) -> None:
    known = _vocabularies(graph, [i.name for i in inputs])
    for value in inputs:
        vocabulary = known[value.name]
        texts = [*vocabulary.texts]
        _check_size(value.name, texts)
        value.type.tensor_type.elem_type = TensorProto.INT64
        rest = [_unheard(texts)] if vocabulary.other else []
        names = [f"{value.name}/categories", value.name]
        table = np.array([*texts, *rest], dtype=object)
        graph.initializer.append(numpy_helper.from_array(table, names[0]))
        node = helper.make_node("Gather", names, [f"{value.name}/text"], axis=0)
        _begin(graph, value.name, node, found)
        found.meanings[value.name] = {"categories": tuple(texts), "other": vocabulary.other}
        shown = ", ".join(repr(t) for t in texts[:8]) + (", …" if len(texts) > 8 else "")
        more = ", or any other" if vocabulary.other else ""
        found.notes.append(f"input {value.name!r}: text, one of {shown}{more}")


def _check_size(name: str, texts: list[str]) -> None:
    if len(texts) > MOST_CATEGORIES or any(len(text) > LONGEST for text in texts):
        what = f"{len(texts)} categories" if len(texts) > MOST_CATEGORIES else "a longer category"
        raise ModelTooLarge(
            f"input {name!r} has {what}; at most {MOST_CATEGORIES} of {LONGEST} characters each"
            " are taken",
            advice="Group rare categories, or encode this column before the model.",
            input=name,
        )


def _unheard(texts: list[str]) -> str:
    """A text that is none of these."""
    text = "other"
    while text in texts:
        text += "'"
    return text


def _vocabularies(graph: GraphProto, inputs: list[str]) -> dict[str, _Vocabulary]:
    """What the model knows of each text input. Raises ``UnsupportedOperator``."""
    known = {name: _Vocabulary({name}) for name in inputs}
    source = {name: name for name in inputs}  # of each value, one input whose texts it holds
    for node in graph.node:
        read = [source[name] for name in node.input if name in source]
        if not read:
            continue
        first = known[read[0]]
        for name in read[1:]:
            if known[name] is not first:
                first.learn(known[name])
                known |= dict.fromkeys(first.inputs, first)
        if node.op_type in MOVES:
            source |= dict.fromkeys(node.output, read[0])
            continue
        looked_up = lookup(node.op_type, _attributes(node)) if node.domain == ML else None
        if looked_up is None:
            raise UnsupportedOperator(
                f"node {node_label(node)} reads input {read[0]!r}, which holds text",
                advice="Text can be looked up by OneHotEncoder, LabelEncoder and CategoryMapper."
                " Encode it as numbers before the model, and export the part after that.",
                node=node.name,
                op=node.op_type,
            )
        first.texts |= dict.fromkeys(looked_up.texts)
        first.other &= looked_up.other
    for name, vocabulary in known.items():
        if not vocabulary.texts:
            raise UnsupportedOperator(
                f"input {name!r} holds text that nothing looks up",
                advice="Leave it out of the exported model.",
            )
    return known


@dataclass(frozen=True)
class Lookup:
    """A list of texts that a node looks up: its answers are ``values`` (None: a one at the text's
    place), and ``default`` for other texts, which it takes as ``other`` says."""

    texts: tuple[str, ...]
    other: bool
    values: tuple[float, ...] | None = None
    default: float = 0.0
    whole: bool = False


def lookup(op: str, attributes: Mapping[str, Any]) -> Lookup | None:
    """What an operator of ai.onnx.ml looks texts up in; None where it does something else."""
    if op == "OneHotEncoder" and attributes.get("cats_strings"):
        texts = tuple(_texts(attributes["cats_strings"]))
        return Lookup(texts, bool(attributes.get("zeros", 1)))
    if op == "CategoryMapper" and attributes.get("cats_strings"):
        texts = tuple(_texts(attributes["cats_strings"]))
        values = tuple(attributes["cats_int64s"])
        default = attributes.get("default_int64")
        other = -1 if default is None else default
        return Lookup(texts, default is not None, values, other, whole=True)
    if op != "LabelEncoder":
        return None
    keys = attributes.get("keys_strings") or attributes.get("keys_tensor")
    texts = () if keys is None else tuple(_texts(keys))
    for name, default_name in (
        ("values_int64s", "default_int64"),
        ("values_floats", "default_float"),
        ("values_tensor", "default_tensor"),
    ):
        answers: Any = attributes.get(name)
        if answers is None or len(answers) != len(texts) or not texts:
            continue
        whole = isinstance(answers[0], int | np.integer)
        if not whole and not isinstance(answers[0], float | np.floating):
            return None
        given = attributes.get(default_name)
        default = -1 if whole else 0.0
        if given is not None:
            default = float(given[0] if name == "values_tensor" else given)
        finite = bool(np.isfinite(default))
        numbers = tuple(v.item() if isinstance(v, np.generic) else v for v in answers)
        other = given is not None and finite
        return Lookup(texts, other, numbers, default if finite else 0.0, whole)
    return None


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes by name; tensors as arrays of one dimension."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {
        name: numpy_helper.to_array(value).reshape(-1) if isinstance(value, TensorProto) else value
        for name, value in found.items()
    }
