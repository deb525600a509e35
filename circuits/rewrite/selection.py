"""Choosing by rank or by place, as comparisons: indices that are computed never index anything.

TopK's indices, and tables looked up at places that depend on the input, have no form in the engine.
An element's rank is the number of elements that come before it, and a place is a row of zeros with
a single one, by which a table is multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir import DataType

from circuits.rewrite.edit import (
    Builder,
    Pass,
    attr,
    behind,
    constant,
    expand,
    has_shape,
    input_at,
    ints,
    is_float,
    made_by,
    shape_of,
)

#: Operators that keep the order of what they are given, on what they are defined for.
_MONOTONE = frozenset({"Sqrt", "Exp", "Log", "Sigmoid", "Tanh", "Identity"})
#: Operators that move elements about, or write them in another type.
_MOVES = frozenset(
    {"Cast", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
#: The most comparisons of a TopK, and the largest table that is multiplied by a place.
_MOST_PAIRS, _MOST_ENTRIES = 1 << 17, 1 << 20


def _top_k(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """Values and indices by rank. Of equal elements the first comes first, as ONNX has it."""
    x, k = node.inputs[0], constant(input_at(node, 1))
    if len(node.outputs) < 2 or not used(node.outputs[1]) or k is None or not has_shape(x):
        return None
    assert x is not None
    values_used = used(node.outputs[0])
    shape, count = shape_of(x), int(k.reshape(-1)[0])
    axis = attr(node, "axis", -1) % len(shape)
    extent = shape[axis]
    rows = math.prod(shape) // extent
    if rows * extent * min(extent, 6 * count) > 2 * _MOST_PAIRS:
        return None
    ordered = x if values_used else without_monotone(x)
    last = [i for i in range(len(shape)) if i != axis] + [axis]
    flat = _flattened(ordered, last, rows, extent, build)
    if flat.dtype is not None and not is_float(ordered):
        flat = build.op("Cast", flat, to=int(DataType.FLOAT))
    if extent > 6 * count:
        chosen = _one_by_one(flat, rows, extent, count, attr(node, "largest", 1), build)
    else:
        chosen = _chosen(flat, rows, extent, count, attr(node, "largest", 1), build)
    places = build.const(np.arange(extent, dtype=np.float32).reshape(1, extent, 1))
    found = build.op(
        "ReduceSum", build.op("Mul", chosen, places), build.const(ints([1])), keepdims=0
    )
    indices = build.op("Cast", found, to=int(DataType.INT64))
    outer = [shape[i] for i in last[:-1]]
    back = [last.index(i) for i in range(len(shape))]

    def unflattened(value: ir.Value) -> ir.Value:
        whole = build.op("Reshape", value, build.const(ints([*outer, count])))
        return whole if back == sorted(back) else build.op("Transpose", whole, perm=back)

    if not values_used:
        return [build.op("Identity", x), unflattened(indices)]
    wide = build.op("Reshape", flat, build.const(ints([rows, extent, 1])))
    picked = build.op("Mul", chosen, wide)
    values = build.op("ReduceSum", picked, build.const(ints([1])), keepdims=0)
    if not is_float(x):
        assert x.dtype is not None
        values = build.op("Cast", values, to=int(x.dtype))
    return [unflattened(values), unflattened(indices)]


def used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def without_monotone(value: ir.Value) -> ir.Value:
    """What has the same order: nearest neighbours are chosen by distances, as by their squares."""
    while (node := value.producer()) is not None and node.op_type in _MONOTONE:
        before = node.inputs[0]
        if before is None or not has_shape(before):
            break
        value = before
    return value


def _flattened(
    value: ir.Value, order: list[int], rows: int, extent: int, build: Builder
) -> ir.Value:
    """``[rows, extent]``, the axis that is chosen from last."""
    if order != sorted(order):
        value = build.op("Transpose", value, perm=order)
    return build.op("Reshape", value, build.const(ints([rows, extent])))


def _chosen(
    flat: ir.Value, rows: int, extent: int, count: int, largest: int, build: Builder
) -> ir.Value:
    """``[rows, extent, count]``: one where an element has that rank. Each pair is compared once."""
    first, second = np.triu_indices(extent, 1)
    if len(first) == 0:
        rank = build.op("Mul", flat, build.const(0.0))
    else:
        left = build.op("Gather", flat, build.const(first.astype(np.int64)), axis=1)
        right = build.op("Gather", flat, build.const(second.astype(np.int64)), axis=1)
        later = build.op("Greater", right, left) if largest else build.op("Greater", left, right)
        beaten = build.op("Cast", later, to=int(DataType.FLOAT))
        # The first of a pair has one more before it where it is beaten, the second where not.
        counts = np.zeros((len(first), extent), dtype=np.float32)
        counts[np.arange(len(first)), first] = 1.0
        counts[np.arange(len(first)), second] = -1.0
        before = build.const(np.arange(extent, dtype=np.float32))
        rank = build.op("Add", build.op("MatMul", beaten, build.const(counts)), before)
    wide = build.op("Reshape", rank, build.const(ints([rows, extent, 1])))
    ranks = build.const(np.arange(count, dtype=np.float32).reshape(1, 1, count))
    gap = build.op("Abs", build.op("Sub", wide, ranks))
    # Ranks are integers: one where the rank is that one, else zero.
    return build.op("Relu", build.op("Sub", build.const(1.0), gap))


def _one_by_one(
    flat: ir.Value, rows: int, extent: int, count: int, largest: int, build: Builder
) -> ir.Value:
    """The same for few of many: the first of the largest, taken below all others, and so on."""
    top, bottom = highest(flat, build), highest(build.op("Neg", flat), build)
    reach = build.op("Add", build.op("Add", top, bottom), build.const(1.0))
    left = flat if largest else build.op("Neg", flat)
    hot = []
    for number in range(count):
        place = build.op("ArgMax", left, axis=1, keepdims=1)
        hot.append(_row_of(place, extent, build))
        if number < count - 1:
            left = build.op("Sub", left, build.op("Mul", hot[-1], reach))
    columns = [build.op("Reshape", h, build.const(ints([rows, extent, 1]))) for h in hot]
    return columns[0] if count == 1 else build.op("Concat", *columns, axis=2)


def highest(flat: ir.Value, build: Builder) -> ir.Value:
    """The largest of each row; its axis was an attribute before opset 18."""
    if build.graph.opset_imports.get("", 18) < 18:
        return build.op("ReduceMax", flat, axes=[1], keepdims=1)
    return build.op("ReduceMax", flat, build.const(ints([1])), keepdims=1)


def _row_of(place: ir.Value, extent: int, build: Builder) -> ir.Value:
    """Rows of zeros with a one at each place: ``[n, extent]`` for ``[n, 1]``."""
    number = build.op("Cast", place, to=int(DataType.FLOAT))
    gap = build.op("Sub", number, build.const(np.arange(extent, dtype=np.float32)[None]))
    return build.op("Relu", build.op("Sub", build.const(1.0), build.op("Abs", gap)))


def _one_hot(node: ir.Node, build: Builder) -> ir.Value | None:
    """Places that are computed, and never negative, as rows with a single one."""
    places, depth = node.inputs[0], constant(input_at(node, 1))
    levels = constant(input_at(node, 2))
    if places is None or depth is None or levels is None or not has_shape(places):
        return None
    shape = shape_of(places)
    last = attr(node, "axis", -1) in (-1, len(shape))
    if [float(v) for v in levels] != [0.0, 1.0] or not last or not _chosen_place(places):
        return None
    extent = int(depth.reshape(-1)[0])
    wide = build.op("Reshape", places, build.const(ints([math.prod(shape), 1])))
    hot = build.op("Reshape", _row_of(wide, extent, build), build.const(ints([*shape, extent])))
    kind = node.outputs[0].dtype
    return hot if kind in (None, DataType.FLOAT) else build.op("Cast", hot, to=int(kind))


def _chosen_place(value: ir.Value) -> bool:
    """Whether it is a place that ArgMax found, moved about or not."""
    found = behind(value, _MOVES)
    return any(made_by(found, op) is not None for op in ("ArgMax", "ArgMin", "ReduceSum"))


def _gather(node: ir.Node, build: Builder) -> ir.Value | None:
    places = node.inputs[1]
    return look_up(node, build) if places is not None and _computed(places) else None


def look_up(node: ir.Node, build: Builder) -> ir.Value | None:
    """A constant table at places that depend on the input and are within it: products with rows of
    a single one."""
    table, places = constant(node.inputs[0]), node.inputs[1]
    if table is None or places is None or constant(places) is not None or not has_shape(places):
        return None
    if table.dtype.kind not in "fiu":
        return None
    axis = attr(node, "axis", 0) % max(table.ndim, 1)
    extent = table.shape[axis]
    asked = shape_of(places)
    if math.prod(asked) * extent > _MOST_ENTRIES or extent < 2:
        return None
    moved = np.moveaxis(table, axis, 0).reshape(extent, -1).astype(np.float32)
    wide = build.op("Reshape", places, build.const(ints([math.prod(asked), 1])))
    hot = _row_of(wide, extent, build)
    picked = build.op("MatMul", hot, build.const(moved))
    rest = [n for i, n in enumerate(table.shape) if i != axis]
    whole = build.op("Reshape", picked, build.const(ints([*asked, *rest])))
    source = list(range(len(asked), len(asked) + axis))
    order = [*source, *range(len(asked)), *range(len(asked) + axis, len(asked) + len(rest))]
    if order != sorted(order):
        whole = build.op("Transpose", whole, perm=order)
    kind = node.outputs[0].dtype
    if kind is not None and kind != DataType.FLOAT:
        whole = build.op("Cast", whole, to=int(kind))
    return whole


def _gather_elements(node: ir.Node, build: Builder) -> ir.Value | None:
    """Elements at computed places along an axis: sums of products with rows of a single one."""
    data, places = node.inputs[0], node.inputs[1]
    if data is None or places is None or not (has_shape(data) and has_shape(places)):
        return None
    if constant(places) is not None or not _computed(places) or data.dtype is None:
        return None
    shape, asked = shape_of(data), shape_of(places)
    axis = attr(node, "axis", 0) % len(shape)
    extent, count = shape[axis], asked[axis]
    if any(shape[i] != asked[i] for i in range(len(shape)) if i != axis):
        return None
    rows = math.prod(asked) // count
    if rows * count * extent > _MOST_ENTRIES or extent < 2:
        return None
    last = [i for i in range(len(shape)) if i != axis] + [axis]
    flat = build.op("Reshape", _flattened(data, last, rows, extent, build),
                    build.const(ints([rows, 1, extent])))  # fmt: skip
    hot = _row_of(_flattened(places, last, rows * count, 1, build), extent, build)
    chosen = build.op("Reshape", hot, build.const(ints([rows, count, extent])))
    if data.dtype != DataType.FLOAT:
        chosen = build.op("Cast", chosen, to=int(data.dtype))
    picked = build.op(
        "ReduceSum", build.op("Mul", chosen, flat), build.const(ints([2])), keepdims=0
    )
    whole = build.op("Reshape", picked, build.const(ints([asked[i] for i in last])))
    back = [last.index(i) for i in range(len(shape))]
    return whole if back == sorted(back) else build.op("Transpose", whole, perm=back)


def source(value: ir.Value | None) -> ir.Value | None:
    """What was only moved about, or written in another type, to be this value."""
    while value is not None and (node := value.producer()) is not None and _moves(node):
        value = node.inputs[0]
    return value


def _moves(node: ir.Node) -> bool:
    picks = node.op_type == "Gather" and constant(node.inputs[1]) is not None
    return node.op_type in _MOVES or picks


def _computed(places: ir.Value) -> bool:
    """Whether places come of a choice made in the graph: an input's own may be negative, or beyond
    the table (``circuits.lower.preparing`` knows its bounds)."""
    seen, stack = set(), [places]
    while stack:
        value = source(stack.pop())
        node = None if value is None else value.producer()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type != "Concat":
            return True
        stack.extend(v for v in node.inputs if v is not None)
    return False


def _run(model: ir.Model) -> None:
    expand(model, {"TopK": _top_k})
    expand(model, {"Gather": _gather, "GatherElements": _gather_elements, "OneHot": _one_hot})


DECOMPOSE_SELECTION = Pass(
    name="decompose-selection",
    version=2,
    purpose="Computes TopK's indices by rank, and lookups at computed indices as products.",
    reference="ONNX operator specification, TopK: of equal elements the lower index comes first",
    run=_run,
    touches=frozenset(("Gather", "GatherElements", "OneHot", "TopK")),
)
