"""Categories as text: an input of text becomes the place of each text among those that the model
knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto, ValueInfoProto, helper, numpy_helper

from circuits.errors import ModelTooLarge, UnsupportedOperator
from circuits.format.tensors import MOST_CATEGORIES
from circuits.frontend.outputs import ML
from circuits.frontend.plain import MOVES, PlainInputs, attributes_of, listed
from circuits.frontend.reading import node_label

#: Characters of one category at most.
LONGEST = 256


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


def number_texts(graph: GraphProto, inputs: list[ValueInfoProto], found: PlainInputs) -> None:
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
        found.begin(graph, value.name, node)
        found.meanings[value.name] = {"categories": tuple(texts), "other": vocabulary.other}
        shown = listed([repr(t) for t in texts])
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
        looked_up = lookup(node.op_type, attributes_of(node)) if node.domain == ML else None
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
