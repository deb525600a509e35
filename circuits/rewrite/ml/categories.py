"""Categories by their places: what a model looks up of a text, looked up of the text's place.

A text input is the place of each text in a list, which the model begins with
(``circuits.frontend.inputs``). What only moves texts moves places, and a lookup is a table over
places: no text is left.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir import DataType, convenience

from circuits.errors import UnsupportedOperator
from circuits.frontend.inputs import MOVES, Lookup, lookup
from circuits.frontend.outputs import ML
from circuits.rewrite.edit import Builder, Pass, attr, names_in, replace
from circuits.rewrite.ml.encoders import looked_up, one_hot

Texts = tuple[str, ...]


def _run(model: ir.Model) -> bool:
    graph = model.graph
    taken = names_in(graph)
    texts: dict[ir.Value, Texts] = {}  # by the value that holds their places
    for node in list(graph):
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
        attributes = {name: attr(node, name) for name in node.attributes}
        found = lookup(node.op_type, _plain(attributes)) if node.domain == ML else None
        if found is None:
            raise _refused(node, "reads text")
        build = Builder(graph, node.outputs[0].name or node.op_type, taken)
        replace(node, build, [_answer(node, found, held[0], build)])
    return bool(texts)


def _table(node: ir.Node) -> Texts | None:
    """The texts that a Gather of places picks from."""
    if node.op_type != "Gather" or node.inputs[0] is None:
        return None
    tensor = convenience.get_const_tensor(node.inputs[0])
    if tensor is None or tensor.dtype != DataType.STRING:
        return None
    return tuple(t.decode() if isinstance(t, bytes) else str(t) for t in tensor.numpy().tolist())


def _plain(attributes: dict[str, object]) -> dict[str, object]:
    """Tensors as arrays of one dimension."""
    return {
        name: value.numpy().reshape(-1) if isinstance(value, ir.TensorProtocol) else value
        for name, value in attributes.items()
    }


def _answer(node: ir.Node, found: Lookup, texts: Texts, build: Builder) -> ir.Value:
    """What is looked up, of places among ``texts``."""
    places = node.inputs[0]
    assert places is not None
    if found.values is None:
        if not found.other and not set(texts) <= set(found.texts):
            raise _refused(node, "fails on categories of another column")
        where = {text: at for at, text in enumerate(texts)}
        return one_hot(build, places, [where[text] for text in found.texts])
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


NUMBER_CATEGORIES = Pass(
    name="number-categories",
    version=1,
    purpose="Replaces texts by their places among the model's own categories.",
    reference="ONNX-ML operator specification: OneHotEncoder, LabelEncoder, CategoryMapper",
    run=_run,
    touches=frozenset(("Gather",)),
)
