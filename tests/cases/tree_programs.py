"""Forests as tensor programs, the way compilers of estimators write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier

FEATURES, CLASSES = 6, 3


def data(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    x = np.round(rng.uniform(-2, 2, (count, FEATURES)), 2).astype(np.float32)
    return x, np.digitize(x[:, 0] + x[:, 1] * x[:, 2], [-0.8, 0.8])


def forest_program(trees: int, *, kind: str = "sums", depth: int = 4) -> bytes:
    """A random forest. ``kind``: ``sums`` multiplies the leaves by their classes' shares (Equal and
    MatMul); ``places`` looks each tree's leaf up (ArgMax and Gather), ``votes`` counts classes."""
    x, y = data(600)
    fitted = RandomForestClassifier(trees, max_depth=depth, random_state=0).fit(x, y)
    paths = [_paths(estimator.tree_) for estimator in fitted.estimators_]
    nodes, leaves = (max(p[i].shape[0] for p in paths) for i in (0, 4))
    picks, levels = np.zeros((trees, nodes), np.int64), np.zeros((1, trees, nodes), np.float32)
    matrix = np.zeros((trees, leaves, nodes), np.float32)
    holding = np.full((trees, leaves, 1), -1, np.float32)
    shares = np.zeros((trees, leaves, CLASSES), np.float32)
    for at, (features, thresholds, signs, held, values) in enumerate(paths):
        picks[at, : len(features)], levels[0, at, : len(features)] = features, thresholds
        matrix[at, : len(signs), : len(features)] = signs
        holding[at, : len(signs), 0], shares[at, : len(values)] = held, values
    constants = {
        "picks": picks.reshape(-1),
        "levels": levels,
        "matrix": matrix,
        "holding": holding,
        "column": np.array([trees, nodes, 1]),
        "square": np.array([1, trees, nodes]),
        "row": np.array([trees, 1, leaves]),
        "shares": shares,
        "blocks": np.array([trees, 1, CLASSES]),
        "each": np.array(1 / trees, np.float32),
        "first": np.array([0]),
        "table": shares.reshape(-1, CLASSES),
        "offsets": (np.arange(trees) * leaves)[:, None],
        "classes": shares.argmax(axis=2).reshape(-1),
        "every": np.arange(CLASSES)[None, None].astype(np.int64),
    }
    made = [
        helper.make_node("Gather", ["x", "picks"], ["picked"], axis=1),
        helper.make_node("Reshape", ["picked", "square"], ["wide"]),
        helper.make_node("LessOrEqual", ["wide", "levels"], ["truth"]),
        helper.make_node("Cast", ["truth"], ["tests"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["tests", "column"], ["columns"]),
        helper.make_node("MatMul", ["matrix", "columns"], ["found"]),
        helper.make_node("Equal", ["found", "holding"], ["reached"]),
        helper.make_node("Cast", ["reached"], ["ones"], to=TensorProto.FLOAT),
    ]
    made += {"sums": _sums, "places": _places, "votes": _votes}[kind]()
    used = {name for node in made for name in node.input}
    graph = helper.make_graph(
        made,
        "forest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", FEATURES])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["M"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["M", "C"]),
        ],
        [numpy_helper.from_array(a, n) for n, a in constants.items() if n in used],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())


def _scored(total: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceSum", [total, "first"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "each"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=-1, keepdims=0),
    ]


def _sums() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Reshape", ["ones", "row"], ["rows"]),
        helper.make_node("MatMul", ["rows", "shares"], ["parts"]),
        *_scored("parts"),
    ]


def _places() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ArgMax", ["ones"], ["leaf"], axis=1, keepdims=0),
        helper.make_node("Add", ["leaf", "offsets"], ["place"]),
        helper.make_node("Gather", ["table", "place"], ["parts"], axis=0),
        *_scored("parts"),
    ]


def _votes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ArgMax", ["ones"], ["leaf"], axis=1, keepdims=0),
        helper.make_node("Add", ["leaf", "offsets"], ["place"]),
        helper.make_node("Gather", ["classes", "place"], ["vote"], axis=0),
        helper.make_node("Equal", ["vote", "every"], ["same"]),
        helper.make_node("Cast", ["same"], ["counted"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["counted", "blocks"], ["parts"]),
        *_scored("parts"),
    ]


def _paths(tree: Any) -> tuple[NDArray[Any], ...]:
    """Features and thresholds of the tests; signs ``[leaves, tests]``, tests that hold, values."""
    inner = np.flatnonzero(tree.children_left >= 0)
    column = {int(n): at for at, n in enumerate(inner)}
    signs, held, values = [], [], []
    stack: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    while stack:
        node, path = stack.pop()
        if node not in column:
            row = np.zeros(len(inner))
            for at, sign in path:
                row[at] = sign
            signs.append(row)
            held.append(sum(sign > 0 for _, sign in path))
            values.append(tree.value[node, 0])
            continue
        for sign, child in ((1, tree.children_left[node]), (-1, tree.children_right[node])):
            stack.append((int(child), [*path, (column[node], sign)]))
    thresholds = tree.threshold[inner].astype(np.float32)
    return tree.feature[inner], thresholds, np.array(signs), np.array(held), np.array(values)
