"""Categories by their places: what a model looks up of a text, or of a number that is one of a few,
looked up of its place.

A text input is the place of each text in a list, which the model begins with
(``circuits.frontend.inputs``), and a column of categories the place of its number. What only moves
texts moves places, and a lookup is a table over places: no text is left, and no category is
unknown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir import DataType, convenience

from circuits.errors import UnsupportedOperator
from circuits.frontend.categories import Lookup, lookup
from circuits.frontend.outputs import ML
from circuits.frontend.plain import MOVES
from circuits.rewrite.edit import Builder, Pass, attr, constant, names_in, replace
from circuits.rewrite.ml.encoders import looked_up, one_hot, plain_attributes

Categories = tuple[str, ...] | tuple[int, ...]
#: For each column of a value what it may hold.
Possible = list[frozenset[float]]


def _run(model: ir.Model) -> bool:
    graph = model.graph
    taken = names_in(graph)
    texts: dict[ir.Value, Categories] = {}  # by the value that holds their places
    numbers: dict[ir.Value, Possible] = {}
    changed = False
    for node in list(graph):
        if (held_numbers := _possible(node, numbers)) is not None:
            numbers[node.outputs[0]] = held_numbers
        elif _knows_all(node, numbers):
            build = Builder(graph, node.outputs[0].name or node.op_type, taken)
            assert node.inputs[0] is not None
            replace(node, build, [one_hot(build, node.inputs[0], attr(node, "cats_int64s"))])
            changed = True
            continue
        table = _table(node)
        if table is not None:
            places, output = node.inputs[1], node.outputs[0]
            assert places is not None
            convenience.replace_all_uses_with(output, places)
            texts[places] = table
            continue
        held = [texts[v] for v in node.inputs if v in texts]
        if not held:
            continue
        if node.op_type in MOVES:
            if node.op_type == "Concat" and (len(held) < len(node.inputs) or len(set(held)) > 1):
                raise _refused(node, "puts texts of different lists together")
            for output in node.outputs:
                texts[output] = held[0]
                output.dtype = DataType.INT64
            continue
        found = _lookup(node.op_type, plain_attributes(node)) if node.domain == ML else None
        if found is None:
            raise _refused(node, "reads text")
        build = Builder(graph, node.outputs[0].name or node.op_type, taken)
        replace(node, build, [_answer(node, found, held[0], build)])
    return changed or bool(texts)


def _possible(node: ir.Node, known: dict[ir.Value, Possible]) -> Possible | None:
    """All numbers that a node's output may hold, where these are the leaves of single trees."""
    op, first = node.op_type, known.get(node.inputs[0]) if node.inputs and node.inputs[0] else None
    if op == "TreeEnsembleRegressor" and node.domain == ML:
        leaves = _leaves(node)
        return None if leaves is None else [leaves]
    if first is None or op in ("Cast", "Identity"):
        return first
    if op == "Concat" and attr(node, "axis") in (1, -1):
        parts = [known.get(v) for v in node.inputs if v is not None]
        return [one for part in parts for one in part or ()] if all(parts) else None
    places = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if op == "Reshape" and places is not None:
        return first if len(first) == 1 and places.reshape(-1)[-1] == 1 else None
    if op == "Gather" and places is not None and attr(node, "axis", 0) in (1, -1):
        return [first[int(place)] for place in places.reshape(-1)]
    return None


def _leaves(node: ir.Node) -> frozenset[float] | None:
    """The outputs of a single tree, if each of its leaves has one integer."""
    modes, ends = attr(node, "nodes_modes", []), attr(node, "target_nodeids", [])
    leaves = [n for n, mode in zip(attr(node, "nodes_nodeids", []), modes, strict=False)
              if mode in ("LEAF", b"LEAF")]  # fmt: skip
    plain = (
        len({*attr(node, "nodes_treeids", [])}) == 1
        and attr(node, "n_targets", 1) == 1
        and attr(node, "post_transform", "NONE") in ("NONE", b"NONE")
        and attr(node, "aggregate_function", "SUM") in ("SUM", b"SUM")
        and not attr(node, "base_values")
        and sorted(ends) == sorted(leaves)
    )
    weights = frozenset(attr(node, "target_weights", []))
    return weights if plain and all(float(w).is_integer() for w in weights) else None


def _knows_all(node: ir.Node, known: dict[ir.Value, Possible]) -> bool:
    """Whether an encoder that fails for unknown categories never meets one."""
    possible = known.get(node.inputs[0]) if node.inputs and node.inputs[0] else None
    if possible is None or node.op_type != "OneHotEncoder" or attr(node, "zeros", 1):
        return False
    return frozenset().union(*possible) <= {*(attr(node, "cats_int64s") or ())}


def _table(node: ir.Node) -> Categories | None:
    """The texts, or the categories of a column, that a Gather of places picks from."""
    if node.op_type != "Gather" or node.inputs[0] is None or node.inputs[1] is None:
        return None
    tensor = convenience.get_const_tensor(node.inputs[0])
    if tensor is None:
        return None
    if (
        node.inputs[0].name == f"{node.inputs[1].name}/categories"
        and tensor.dtype == DataType.INT64
    ):
        return tuple(tensor.numpy().tolist())
    if tensor.dtype != DataType.STRING:
        return None
    return tuple(t.decode() if isinstance(t, bytes) else str(t) for t in tensor.numpy().tolist())


def _lookup(op: str, attributes: dict[str, Any]) -> Lookup | None:
    """The same of numbers, where it encodes them."""
    if op == "OneHotEncoder" and attributes.get("cats_int64s"):
        return Lookup(tuple(attributes["cats_int64s"]), bool(attributes.get("zeros", 1)))
    return lookup(op, attributes)


def _answer(node: ir.Node, found: Lookup, texts: Categories, build: Builder) -> ir.Value:
    """What is looked up, of places among ``texts``."""
    places = node.inputs[0]
    assert places is not None
    if not found.other and not set(texts) <= set(found.texts):
        raise _refused(node, "has no answer for categories of another column")
    if found.values is None:
        where = {text: at for at, text in enumerate(texts)}
        return one_hot(build, places, [where.get(text, -1) for text in found.texts])
    known = dict(zip(found.texts, found.values, strict=True))
    values = np.array([known.get(text, found.default) for text in texts], dtype=np.float64)
    target = DataType.INT64 if found.whole else DataType.FLOAT
    steps = np.diff(values)
    if len(steps) and np.all(steps == steps[0]):  # a straight line: codes in the list's own order
        line = build.op("Cast", places, to=int(DataType.FLOAT))
        if steps[0] != 1:
            line = build.op("Mul", line, build.const(float(steps[0])))
        if values[0]:
            line = build.op("Add", line, build.const(float(values[0])))
        return line if target == DataType.FLOAT else build.op("Cast", line, to=int(target))
    return looked_up(build, places, range(len(texts)), values, 0.0, target)


def _refused(node: ir.Node, why: str) -> UnsupportedOperator:
    advice = "Give each column of text an input of its own, or encode it before the model."
    return UnsupportedOperator.at(node.op_type, node.name or "", f"it {why}", advice=advice)


ENCODE_CATEGORIES = Pass(
    name="encode-categories",
    version=2,
    purpose="Replaces texts, and numbers that are categories, by their indices among the"
    " categories.",
    reference="ONNX-ML operator specification: OneHotEncoder, LabelEncoder, CategoryMapper",
    run=_run,
    touches=frozenset(("Gather", "OneHotEncoder")),
)
