"""Forests that were exported as tensor programs: sums of tests along paths, as flows of ones.

Such a program multiplies all tests of a tree by a matrix of its paths (1: the test holds on the way
to the leaf, -1: it does not, 0: it is not asked) and finds the leaf whose sum is the number of
tests that have to hold, which no sum exceeds. Where the matrix is that of trees, one multiplication
for each test does the same (``circuits.rewrite.ml.trees``), and what is looked up at the leaf's
place is a product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
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
    made_by,
    shape_of,
)
from circuits.rewrite.ml.trees import Forest, flow

#: Operators that move elements about, or write them in another type.
_MOVES = frozenset(
    {"Cast", "Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze"}
    | {"Transpose", "Unsqueeze"}
)
_CARRY = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
#: How sums are compared with what they reach at most: which operand they are (of Equal, any).
_REACHES = {"Equal": None, "Greater": 0, "GreaterOrEqual": 0, "Less": 1, "LessOrEqual": 1}
#: Leaves of one tree at most: each pair of them is compared.
_MOST_LEAVES = 1 << 10
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Paths:
    """Trees of equal size: ``matrix`` ``[trees, tests, leaves]`` of -1, 0 and 1; ``tests`` are all
    truths, tree by tree. ``always``: which leaves stand for nothing and are always, or never,
    reached (``[trees, leaves]`` of 1, 0 and, for true leaves, -1)."""

    tests: ir.Value
    matrix: Matrix
    always: NDArray[np.int64]


def _cast(node: ir.Node, build: Builder) -> ir.Value | None:
    """``Equal(MatMul(tests, paths), tests that hold)`` in numbers, as flows of ones."""
    reached = next(filter(None, (_maker(node.inputs[0], op) for op in _REACHES)), None)
    paths = None if reached is None or not has_shape(node.outputs[0]) else _paths(reached)
    grown = None if paths is None else _forest(paths)
    if paths is None or grown is None:
        return None
    forest, column, number = grown
    trees, tests, leaves = paths.matrix.shape
    flat = build.op("Reshape", paths.tests, build.const([1, trees * tests]))
    flat = build.op("Cast", flat, to=int(DataType.FLOAT))
    flows, ended = flow(build, flat, column, forest)
    ones = build.op("Concat", *flows, axis=1) if len(flows) > 1 else flows[0]
    place = {number[leaf]: at for at, leaf in enumerate(ended)}
    order = [place.get(at, 0) for at in range(trees * leaves)]
    ordered = build.op("Gather", ones, build.const(ints(order)), axis=1)
    fixed = paths.always.reshape(-1)
    if np.any(fixed >= 0):
        kept = build.op("Mul", ordered, build.const((fixed < 0).astype(np.float32)[None]))
        ordered = build.op("Add", kept, build.const((fixed > 0).astype(np.float32)[None]))
    shaped = build.op("Reshape", ordered, build.const(ints(shape_of(node.outputs[0]))))
    kind = node.outputs[0].dtype
    return shaped if kind in (None, DataType.FLOAT) else build.op("Cast", shaped, to=int(kind))


def _paths(node: ir.Node) -> Paths | None:
    """What a node compares, where it is sums along paths with what they reach at most."""
    side = _REACHES[node.op_type]
    for place, (found, wanted) in enumerate((node.inputs[:2], node.inputs[1::-1])):
        if side not in (None, place):
            continue
        sums, level = _maker(found, "MatMul"), constant(wanted)
        if sums is None or level is None or not has_shape(found):
            continue
        left, right = sums.inputs
        for truths, known, first in ((left, right, False), (right, left, True)):
            weights = constant(known)
            if weights is None or truths is None or not has_shape(truths) or not _truth(truths):
                continue
            assert found is not None
            matrix = np.asarray(weights, dtype=np.float64)
            matrix = np.swapaxes(matrix, -1, -2) if first else matrix
            matrix = matrix.reshape(-1, *matrix.shape[-2:])
            out = shape_of(found)
            if math.prod(shape_of(truths)) != matrix.shape[0] * matrix.shape[1]:
                continue
            if math.prod(out) != matrix.shape[0] * matrix.shape[2]:
                continue
            needed = np.broadcast_to(level, out).reshape(matrix.shape[0], -1).astype(np.float64)
            return _read(truths, matrix, _least(node.op_type, needed), equal=side is None)
    return None


def _least(op: str, level: Matrix) -> Matrix:
    """The integer that a sum has to be, or to be at least."""
    if op in ("Greater", "Less"):
        return np.floor(level) + 1
    return level if op == "Equal" else np.ceil(level)


def _read(truths: ir.Value, matrix: Matrix, needed: Matrix, *, equal: bool) -> Paths | None:
    """The paths, where every sum is compared with the number of tests that have to hold."""
    if not np.isin(matrix, (-1.0, 0.0, 1.0)).all() or matrix.shape[2] > _MOST_LEAVES:
        return None
    empty = ~matrix.any(axis=1)
    holding = (matrix > 0).sum(axis=1)
    if np.any((needed != holding) & ~empty):
        return None
    reaches = (needed == 0) if equal else (needed <= 0)
    always = np.where(empty, reaches.astype(np.int64), -1)
    return Paths(truths, matrix, always)


def _truth(value: ir.Value) -> bool:
    """Whether it is 0 or 1: truths, moved about."""
    stack: list[ir.Value] = [value]
    seen: set[int] = set()
    while stack:
        value = stack.pop()
        if value.dtype == DataType.BOOL:
            continue
        node = value.producer()
        if node is None or node.op_type not in _MOVES or len(seen) > 1_000:
            return False
        moved = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        if id(node) not in seen:
            seen.add(id(node))
            stack.extend(v for v in moved if v is not None)
    return True


def _forest(
    paths: Paths, *, alone: bool = False
) -> tuple[Forest, dict[int, int], dict[int, int]] | None:
    """The trees that the paths are of, each node's test and each leaf's place; None where they are
    of none: then two leaves could be reached, or none. ``alone``: no matrix is of several trees."""
    trees, tests, leaves = paths.matrix.shape
    on_true: list[int] = []
    on_false: list[int] = []
    column: dict[int, int] = {}
    number: dict[int, int] = {}

    def grow(tree: int, group: NDArray[np.int64]) -> int | None:
        """The node above these leaves."""
        node = len(on_true)
        on_true.append(-1)
        on_false.append(-1)
        rows = paths.matrix[tree][:, group]
        asked = np.flatnonzero(rows.all(axis=1) & (rows != rows[:, :1]).any(axis=1))
        if len(group) == 1:
            number[node] = tree * leaves + int(group[0])
            return node
        if not len(asked):
            return None
        at = int(asked[0])
        column[node] = tree * tests + at
        for side, children in ((1.0, on_true), (-1.0, on_false)):
            child = grow(tree, group[rows[at] == side])
            if child is None:
                return None
            children[node] = child
        return node

    for tree in range(trees):
        parted = _parted(paths.matrix[tree], np.flatnonzero(paths.always[tree] < 0))
        if not parted or (alone and len(parted) > 1):
            return None
        for own in parted:
            if not _covers(paths.matrix[tree][:, own]) or grow(tree, own) is None:
                return None
    count = len(on_true)
    forest = Forest(
        features=np.zeros(count, dtype=np.int64),
        thresholds=np.zeros(count, dtype=np.float32),
        modes=["BRANCH_LEQ"] * count,
        on_true=np.array(on_true),
        on_false=np.array(on_false),
        weights=np.zeros((count, 1), dtype=np.float32),
    )
    return forest, column, number


def _parted(matrix: Matrix, leaves: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Leaves whose paths share tests, directly or by others: those of one tree each."""
    asked = (matrix[:, leaves] != 0).astype(np.float64)
    beside = asked.T @ asked > 0
    found, left = [], np.ones(len(leaves), dtype=bool)
    while left.any():
        own = np.zeros(len(leaves), dtype=bool)
        own[np.argmax(left)] = True
        while (grown := beside[own].any(axis=0) | own).sum() > own.sum():
            own = grown
        found.append(leaves[own])
        left &= ~own
    return found


def _covers(matrix: Matrix) -> bool:
    """Whether exactly one leaf is reached whatever the tests say: no two at once, and all cases."""
    above, below = (matrix > 0).astype(np.float64), (matrix < 0).astype(np.float64)
    apart = above.T @ below
    apart += apart.T
    np.fill_diagonal(apart, 1.0)
    depth = np.abs(matrix).sum(axis=0)
    return bool(np.all(apart > 0) and np.sum(np.exp2(-depth)) == 1.0)


def _maker(value: ir.Value | None, op: str) -> ir.Node | None:
    """The operator that made a value, behind what only writes it differently."""
    return made_by(behind(value, _CARRY), op)


def _arg_max(node: ir.Node, build: Builder) -> ir.Value | None:
    """The place of the leaf that is reached, among those of its tree, as a sum."""
    found = _one_hot(node)
    if found is None:
        return None
    rows, leaves = found
    numbers = build.const(np.arange(leaves, dtype=np.float32)[:, None])
    place = build.op("MatMul", _rows(node.inputs[0], rows, leaves, build), numbers)
    whole = build.op("Cast", place, to=int(DataType.INT64))
    return build.op("Reshape", whole, build.const(ints(shape_of(node.outputs[0]))))


def _gather(node: ir.Node, build: Builder) -> ir.Value | None:
    """A constant table at the place of the leaf that is reached, or so much further."""
    table, where = constant(node.inputs[0]), node.inputs[1]
    if table is None or where is None or attr(node, "axis", 0) != 0 or table.dtype.kind not in "fi":
        return None
    chosen, offset = _maker(where, "ArgMax"), np.zeros(1, dtype=np.int64)
    if chosen is None and (moved := _maker(where, "Add")) is not None:
        for value, known in (moved.inputs[:2], moved.inputs[1::-1]):
            by = constant(known)
            if by is not None and value is not None and has_shape(value):
                chosen = _maker(value, "ArgMax")
                offset = np.broadcast_to(by, shape_of(value)).reshape(-1)
                break
    found = None if chosen is None else _one_hot(chosen)
    if chosen is None or found is None or not has_shape(node.outputs[0]):
        return None
    rows, leaves = found
    places = np.arange(leaves) + np.broadcast_to(offset, (rows,))[:, None]
    if places.max() >= len(table) or places.min() < 0:
        return None
    entries = table.reshape(len(table), -1)[places].astype(np.float32)
    hot = _rows(chosen.inputs[0], rows, leaves, build)
    wide = build.op("Reshape", hot, build.const([rows, 1, leaves]))
    picked = build.op("MatMul", wide, build.const(entries))
    shaped = build.op("Reshape", picked, build.const(ints(shape_of(node.outputs[0]))))
    kind = node.outputs[0].dtype
    return shaped if kind in (None, DataType.FLOAT) else build.op("Cast", shaped, to=int(kind))


def _sum(node: ir.Node, build: Builder) -> ir.Value | None:
    """The sum over trees of products with a constant matrix for each: one product."""
    total, axes = node.inputs[0], constant(input_at(node, 1))
    product = None if total is None else total.producer()
    if product is None or product.op_type != "MatMul" or not has_shape(node.outputs[0]):
        return None
    left, weights = product.inputs[0], constant(product.inputs[1])
    if left is None or weights is None or weights.ndim != 3 or not has_shape(left):
        return None
    trees, leaves, outputs = weights.shape
    named = attr(node, "axes") if axes is None else axes.reshape(-1)
    if shape_of(left) != (trees, 1, leaves) or named is None or [int(a) for a in named] != [0]:
        return None
    flat = build.op("Reshape", left, build.const([1, trees * leaves]))
    whole = build.op("MatMul", flat, build.const(weights.reshape(-1, outputs)))
    return build.op("Reshape", whole, build.const(ints(shape_of(node.outputs[0]))))


def _one_hot(node: ir.Node) -> tuple[int, int] | None:
    """Of an ArgMax over the leaves of trees: how many trees, and leaves of each."""
    value = node.inputs[0]
    reached = _maker(value, "Equal")
    if value is None or reached is None or not has_shape(value) or not has_shape(node.outputs[0]):
        return None
    paths = _paths(reached)
    if paths is None or np.any(paths.always > 0) or _forest(paths, alone=True) is None:
        return None
    rows, leaves = paths.matrix.shape[0], paths.matrix.shape[2]
    shape = shape_of(value)
    axis = attr(node, "axis", 0) % len(shape)
    last = shape[axis] == leaves and math.prod(shape[axis + 1 :]) == 1
    return (rows, leaves) if last and not attr(node, "select_last_index", 0) else None


def _rows(value: ir.Value | None, rows: int, leaves: int, build: Builder) -> ir.Value:
    flat = build.op("Reshape", value, build.const([rows, leaves]))
    return build.op("Cast", flat, to=int(DataType.FLOAT))


def _run(model: ir.Model) -> None:
    expand(model, {"Gather": _gather})
    expand(model, {"ArgMax": _arg_max})
    expand(model, {"Cast": _cast})
    expand(model, {"ReduceSum": _sum})


RECOVER_TREES = Pass(
    name="recover-trees",
    version=2,
    purpose="Recovers decision trees from forests that are written as products with path matrices.",
    reference="Hummingbird (OSDI 2020), section 4.1: GEMM strategy",
    run=_run,
    touches=frozenset(_REACHES),
)
