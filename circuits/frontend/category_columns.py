"""Columns of numbers that are nothing but categories: each becomes an input of places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from circuits.format.tensors import MOST_CATEGORIES
from circuits.frontend.outputs import ML
from circuits.frontend.plain import PlainInputs, attributes_of, listed

#: Types of inputs whose columns may be categories.
_NUMBERS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32})


def number_columns(graph: GraphProto, value: ValueInfoProto, found: PlainInputs) -> bool:
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
        known = [attributes_of(n)["cats_int64s"] for n, picked in encoders if picked == column]
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
    attributes = attributes_of(node) if encodes else {}
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
        return columns if attributes_of(node)["to"] in _NUMBERS else None
    if columns.ndim != 1 or len(node.input) != 2 or node.input[1] not in constants:
        return None
    places = numpy_helper.to_array(constants[node.input[1]])
    if node.op_type == "ArrayFeatureExtractor":
        places = places.reshape(-1)
    elif node.op_type != "Gather" or attributes_of(node).get("axis", 0) not in (1, -1):
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
    found.notes.append(f"input {value.name!r}, column {column}: one of {listed(texts)}")
    return f"{place.name}/number"
