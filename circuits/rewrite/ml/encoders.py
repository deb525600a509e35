"""Preprocessing: scaling, imputing, encoding and putting features together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike
from onnx_ir import DataType

from circuits.frontend.categories import Lookup, lookup
from circuits.rewrite.edit import Builder, attr, constant, ints
from circuits.rewrite.ml.scores import place_to_label
from circuits.rewrite.selection import source


def as_float(build: Builder, value: ir.Value | None) -> ir.Value:
    """The value as float32."""
    assert value is not None
    if value.dtype == DataType.FLOAT:
        return value
    return build.op("Cast", value, to=int(DataType.FLOAT))


def scaler(node: ir.Node, build: Builder) -> ir.Value:
    """(x - offset) · scale."""
    x = as_float(build, node.inputs[0])
    offset = np.array(attr(node, "offset") or [0.0], dtype=np.float32)
    factor = np.array(attr(node, "scale") or [1.0], dtype=np.float32)
    moved = build.op("Sub", x, build.const(offset)) if np.any(offset) else x
    return build.op("Mul", moved, build.const(factor))


def normalizer(node: ir.Node, build: Builder) -> ir.Value:
    """x over its largest magnitude, sum of magnitudes or length, along the last axis."""
    x = as_float(build, node.inputs[0])
    last = build.const(ints([-1]))
    kind = attr(node, "norm", "MAX")
    if kind == "L1":
        norm = build.op("ReduceSum", build.op("Abs", x), last, keepdims=1)
    elif kind == "L2":
        norm = build.op("Sqrt", build.op("ReduceSum", build.op("Mul", x, x), last, keepdims=1))
    else:
        raise ValueError(f"norm {kind!r}")
    return build.op("Div", x, norm)


def imputer(node: ir.Node, build: Builder) -> ir.Value:
    """Replaces a marked value. Where the mark is NaN there is none: missing values have masks
    (``circuits.rewrite.ml.missing``)."""
    x = node.inputs[0]
    assert x is not None
    mark = attr(node, "replaced_value_float")
    if mark is None or np.isnan(mark):
        if attr(node, "imputed_value_int64s"):
            raise ValueError("integer values")
        return x
    values = np.array(attr(node, "imputed_value_floats"), dtype=np.float32)
    marked = build.op("Equal", x, build.const(np.array([mark], dtype=np.float32)))
    return build.op("Where", marked, build.const(values), x)


def one_hot_encoder(node: ir.Node, build: Builder) -> ir.Value:
    """1 in the place of the category, 0 elsewhere: ``[..., categories]``."""
    categories = attr(node, "cats_int64s")
    x = node.inputs[0]
    if not categories or x is None:
        raise ValueError("categories that are text")
    if not attr(node, "zeros", 1):
        raise ValueError(
            "unknown categories are an error, and something else asks for the number too, or makes"
            " it; fit it with handle_unknown='ignore'"
        )
    return one_hot(build, x, categories)


def one_hot(build: Builder, x: ir.Value, categories: Sequence[float]) -> ir.Value:
    """1 in the place of the category that x equals: ``[..., categories]``."""
    column = build.op("Unsqueeze", as_float(build, x), build.const(ints([-1])))
    level = build.const(np.array(categories, dtype=np.float32))
    return as_float(build, build.op("Equal", column, level))


def plain_attributes(node: ir.Node) -> dict[str, Any]:
    """A node's attributes, tensors as arrays of one dimension."""
    found = {name: attr(node, name) for name in node.attributes}
    return {
        name: value.numpy().reshape(-1) if isinstance(value, ir.TensorProtocol) else value
        for name, value in found.items()
    }


def numbers_for_numbers(node: ir.Node) -> Lookup | None:
    """What a LabelEncoder looks numbers up in, if it does and answers with numbers."""
    found = lookup(node.op_type, plain_attributes(node)) if node.op_type == "LabelEncoder" else None
    text = found is None or any(isinstance(key, str) for key in found.texts)
    return None if text else found


def label_encoder(node: ir.Node, build: Builder) -> ir.Value:
    """A table from numbers to numbers, as a product with one-hot rows."""
    found, x, target = numbers_for_numbers(node), node.inputs[0], node.outputs[0].dtype
    if found is None or found.values is None or x is None or target is None:
        raise ValueError("keys or values that are text")
    return looked_up(build, x, found.texts, found.values, found.default, target)


def looked_up(
    build: Builder,
    x: ir.Value,
    keys: Sequence[float],
    values: ArrayLike,
    default: float,
    target: DataType,
) -> ir.Value:
    """The value of the key that x equals, or the default, in the target's type."""
    found = one_hot(build, x, keys)
    offsets = (np.array(values, dtype=np.float64) - default).astype(np.float32)
    mapped = build.op("MatMul", found, build.const(offsets[:, None]))
    flat = build.op("Squeeze", mapped, build.const(ints([-1])))
    total = build.op("Add", flat, build.const(float(default)))
    return total if target == DataType.FLOAT else build.op("Cast", total, to=int(target))


def feature_vectorizer(node: ir.Node, build: Builder) -> ir.Value:
    """The inputs side by side."""
    return build.op("Concat", *(as_float(build, v) for v in node.inputs), axis=1)


def binarizer(node: ir.Node, build: Builder) -> ir.Value:
    limit = build.const(float(attr(node, "threshold", 0.0)))
    return as_float(build, build.op("Greater", as_float(build, node.inputs[0]), limit))


def _is_ranked(places: ir.Value) -> bool:
    """Whether places are TopK's, or chosen by a mask: what is made of these is simplified as it
    stands."""
    value = source(places)
    node = None if value is None else value.producer()
    return node is not None and node.op_type in ("TopK", "Where")


def feature_extractor(node: ir.Node, build: Builder) -> ir.Value:
    """Entries along the last axis of the first input, at the places that the second one holds."""
    data, where = node.inputs[0], node.inputs[1]
    assert data is not None
    assert where is not None
    picks, table = constant(where), constant(data)
    if picks is not None:
        places = build.const(picks.reshape(-1).astype(np.int64))
    else:
        places = build.op("Reshape", where, build.const(ints([-1])))
    labels = None if table is None or table.size > table.shape[-1] else table.reshape(-1)
    named = labels is not None and np.issubdtype(labels.dtype, np.integer)
    if picks is None and named and labels is not None and not _is_ranked(where):
        found = place_to_label(build, places, labels.astype(np.int64))
        found = build.op("Cast", found, to=int(data.dtype or DataType.INT64))
    else:
        found = build.op("Gather", data, places, axis=-1)
    return build.op("Reshape", found, build.const(ints([1, -1]))) if _is_flat(data) else found


def _is_flat(data: ir.Value) -> bool:
    """Whether it has one row, which the operator answers as one of two dimensions."""
    return data.shape is not None and all(n == 1 for n in list(data.shape)[:-1])
