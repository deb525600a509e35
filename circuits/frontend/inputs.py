"""Inputs that are not just numbers, made so: values that may be missing, and categories as text.

A float input of which the model asks whether a value is there gets a mask as a second input. A text
input that the model looks up in lists of its own becomes the place of each text in their union, and
so does a column of numbers that are nothing but categories. The model then begins with what turns
them back, ``Where(mask, NaN, x)`` and ``Gather(categories, places)``: so onnxruntime still answers
it, and passes carry them to where they are asked for
(``circuits.rewrite.ml.missing`` and ``circuits.rewrite.ml.categories``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
#: Types of inputs whose columns may be categories.
_NUMBERS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32})
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
        if _number_columns(model.graph, value, found):
            name_opset(model)
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


# --- columns of categories -----------------------------------------------------------------------


def _number_columns(graph: GraphProto, value: ValueInfoProto, found: PlainInputs) -> bool:
    """Takes columns apart of which the model asks nothing but which category a number is, and has
    no answer for any other: their places become inputs. Whether there are any.

    Such a model begins with what a place's number is. Where a column is asked something else too it
    stays as it is.
    """
    width = _columns(value)
    nested = any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
    if not width or nested or not any(_is_strict(node) for node in graph.node):
        return False  # what is nested reads values of the graph without naming them as its inputs
    encoders, held, read = _encoded_columns(graph, value.name, width)
    places: dict[int, str] = {}
    for column in sorted({int(picked.reshape(())) for _, picked in encoders} - read):
        known = [_attributes(n)["cats_int64s"] for n, picked in encoders if picked == column]
        numbers = [n for n in known[0] if all(n in others for others in known[1:])]
        if 0 < len({*numbers}) == len(numbers) <= MOST_CATEGORIES:
            places[column] = _add_column(graph, value, column, numbers, found)
    for node, picked in encoders:
        if (name := places.get(int(picked.reshape(())))) is not None:
            shaped = f"{node.output[0]}/number"
            graph.initializer.append(
                numpy_helper.from_array(np.zeros(picked.shape, dtype=np.int64), f"{shaped}/places")
            )
            move = helper.make_node("Gather", [name, f"{shaped}/places"], [shaped], shaped, axis=1)
            graph.node.insert([n.output[0] for n in graph.node].index(node.output[0]), move)
            node.input[0] = shaped
            found.nodes.add(shaped)
    _drop_unread(graph, held - {value.name})
    return bool(places)


def _columns(value: ValueInfoProto) -> int:
    """How many columns an input of rows has; 0 where it is none, or nobody knows."""
    kind, dims = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
    return dims[1].dim_value if kind in _NUMBERS and len(dims) == 2 else 0


def _encoded_columns(
    graph: GraphProto, name: str, width: int
) -> tuple[list[tuple[NodeProto, NDArray[np.int64]]], set[str], set[int]]:
    """The encoders that read one column of an input and fail for unknown categories, each with that
    column in the shape in which it reads it; the values that hold columns; and the columns that
    are read by anything else."""
    constants = {t.name: t for t in graph.initializer}
    fixed = [node for node in graph.node if node.op_type == "Constant"]
    constants |= {node.output[0]: node.attribute[0].t for node in fixed if node.attribute}
    held = {name: np.arange(width)}  # by value: which column each element of a row is
    encoders: list[tuple[NodeProto, NDArray[np.int64]]] = []
    read: set[int] = set()
    for node in graph.node:
        columns = held.get(node.input[0]) if node.input else None
        picked = None if columns is None else _picked(node, columns, constants)
        if picked is not None:
            held[node.output[0]] = picked
        elif columns is not None and columns.size == 1 and _is_strict(node):
            encoders.append((node, columns))
        else:
            for other in node.input:
                read |= {*held.get(other, np.zeros(0, dtype=np.int64)).reshape(-1).tolist()}
    for output in graph.output:
        read |= {*held.get(output.name, np.zeros(0, dtype=np.int64)).reshape(-1).tolist()}
    return encoders, {*held}, read


def _drop_unread(graph: GraphProto, values: Collection[str]) -> None:
    """Takes the nodes out that make one of these values for nobody."""
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    for node in reversed([*graph.node]):
        if node.output[0] in values and not uses[node.output[0]]:
            uses.subtract(node.input)
            graph.node.remove(node)


def _is_strict(node: NodeProto) -> bool:
    """Whether it encodes numbers, and fails for those that it does not know."""
    encodes = (node.domain, node.op_type) == (ML, "OneHotEncoder")
    attributes = _attributes(node) if encodes else {}
    return bool(attributes.get("cats_int64s")) and not attributes.get("zeros", 1)


def _picked(
    node: NodeProto, columns: NDArray[np.int64], constants: Mapping[str, TensorProto]
) -> NDArray[np.int64] | None:
    """Which columns a node hands on; None where it does something else than that."""
    if node.domain not in ("", "ai.onnx", ML):
        return None
    if node.op_type == "Identity":
        return columns
    if node.op_type == "Cast":
        return columns if _attributes(node)["to"] in _NUMBERS else None
    if columns.ndim != 1 or len(node.input) != 2 or node.input[1] not in constants:
        return None
    places = numpy_helper.to_array(constants[node.input[1]])
    if node.op_type == "ArrayFeatureExtractor":
        places = places.reshape(-1)
    elif node.op_type != "Gather" or _attributes(node).get("axis", 0) not in (1, -1):
        return None
    whole = places.dtype.kind in "iu" and bool(np.all((places >= 0) & (places < len(columns))))
    return columns[places] if whole else None


def _add_column(
    graph: GraphProto, value: ValueInfoProto, column: int, numbers: list[int], found: PlainInputs
) -> str:
    """Makes an input of the places of a column's numbers; the name of these, ``[rows, 1]``."""
    rows = value.type.tensor_type.shape.dim[0]
    if not rows.dim_param and not rows.dim_value:
        rows.dim_param = f"{value.name}/rows"  # which both inputs have as many of
    place = graph.input.add()
    place.CopyFrom(value)
    place.name = f"{value.name}/{column}"
    place.type.tensor_type.elem_type = TensorProto.INT64
    place.type.tensor_type.shape.dim[1].dim_value = 1
    names = [f"{place.name}/categories", place.name]
    graph.initializer.append(numpy_helper.from_array(np.array(numbers, dtype=np.int64), names[0]))
    node = helper.make_node(
        "Gather", names, [f"{place.name}/number"], f"{place.name}/number", axis=0
    )
    graph.node.insert(0, node)
    found.nodes.add(node.name)
    texts = tuple(str(n) for n in numbers)
    found.meanings[place.name] = {"categories": texts, "column_of": value.name, "column": column}
    found.notes.append(f"input {value.name!r}, column {column}: one of {_listed(texts)}")
    return f"{place.name}/number"


def _listed(texts: Sequence[str]) -> str:
    """A few of them."""
    return ", ".join(texts[:8]) + (", …" if len(texts) > 8 else "")


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
        shown = _listed([repr(t) for t in texts])
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
    """A list of texts, or numbers, that a node looks up: its answers are ``values`` (None: a one at
    the text's place), and ``default`` for other texts, which it takes as ``other`` says."""

    texts: tuple[Any, ...]
    other: bool
    values: tuple[float, ...] | None = None
    default: float = 0.0
    whole: bool = False


def lookup(op: str, attributes: Mapping[str, Any]) -> Lookup | None:
    """What an operator of ai.onnx.ml looks texts up in, and LabelEncoder numbers too; None where it
    does something else."""
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
    kinds = ("keys_strings", "keys_int64s", "keys_floats")
    listed = next((attributes[kind] for kind in kinds if attributes.get(kind)), None)
    keys = attributes.get("keys_tensor") if listed is None else listed
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


def _texts(values: Iterable[Any]) -> Iterator[Any]:
    """Texts as such; numbers as they are."""
    for value in values:
        if isinstance(value, int | float | np.number):
            yield value
        else:
            yield value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes by name; tensors as arrays of one dimension."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {
        name: numpy_helper.to_array(value).reshape(-1) if isinstance(value, TensorProto) else value
        for name, value in found.items()
    }
