"""Classical models, fitted by scikit-learn and written as plain tensor operators.

They avoid ai.onnx.ml operators, which tensor engines lack. A tree becomes comparisons and two
products (the GEMM form of Hummingbird's paper, OSDI 2020, section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from benchmarks.zoo.entry import Built, Entry, Floats, Labels
from benchmarks.zoo.layers import Shape
from benchmarks.zoo.network import write_model

_CALIBRATION = 64
TREES, TREE_DEPTH = 10, 4
STAGES, STAGE_DEPTH = 10, 2


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Standardised float32 features [N, F] and labels, split with a fixed seed."""

    train: Floats
    train_labels: Labels
    test: Floats
    test_labels: Labels

    @classmethod
    def of(cls, bundle: Any) -> _Table:
        order = np.random.default_rng(0).permutation(len(bundle.target))
        test, train = order[: len(order) // 3], order[len(order) // 3 :]
        data = bundle.data[train]
        scaled = ((bundle.data - data.mean(0)) / data.std(0)).astype(np.float32)
        labels = bundle.target.astype(np.int64)
        return cls(
            train=scaled[train],
            train_labels=labels[train],
            test=scaled[test],
            test_labels=labels[test],
        )

    def built(self, model: bytes) -> Built:
        return Built(
            onnx=model,
            calibration={"x": self.train[:_CALIBRATION, None]},
            held_out={"x": self.test[:, None]},
            labels=self.test_labels,
        )


def logistic_regression() -> Built:
    """Both classes' probabilities."""
    table = _Table.of(load_breast_cancer())
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(table.train, table.train_labels)
    weight = np.concatenate([-fitted.coef_, fitted.coef_]).T
    bias = np.concatenate([-fitted.intercept_, fitted.intercept_])
    nodes = [
        helper.make_node("Gemm", ["x", "weight", "bias"], ["z"], name="linear"),
        helper.make_node("Sigmoid", ["z"], ["y"], name="sigmoid"),
    ]
    return table.built(
        _model("logistic-regression", nodes, {"weight": weight, "bias": bias}, table)
    )


def support_vectors() -> Built:
    """A binary classifier with Gaussian kernels: the decision value and its negative."""
    table = _Table.of(load_breast_cancer())
    fitted = SVC(C=1.0, gamma=0.01).fit(table.train, table.train_labels)
    dual = np.concatenate([-fitted.dual_coef_, fitted.dual_coef_]).T
    nodes = [
        helper.make_node("Sub", ["vectors", "x"], ["difference"], name="difference"),
        helper.make_node("Mul", ["difference", "difference"], ["squares"], name="square"),
        helper.make_node("ReduceSum", ["squares", "axis"], ["distance"], name="sum", keepdims=0),
        helper.make_node("Mul", ["distance", "gamma"], ["exponent"], name="scale"),
        helper.make_node("Exp", ["exponent"], ["kernel"], name="exp"),
        helper.make_node("Reshape", ["kernel", "row"], ["kernels"], name="row"),
        helper.make_node("Gemm", ["kernels", "dual", "bias"], ["y"], name="decision"),
    ]
    arrays = {
        "vectors": fitted.support_vectors_,
        "gamma": np.array(-0.01),
        "dual": dual,
        "bias": np.concatenate([-fitted.intercept_, fitted.intercept_]),
    }
    shapes = {"axis": np.array([1]), "row": np.array([1, -1])}
    return table.built(_model("svm", nodes, arrays, table, shapes))


def random_forest() -> Built:
    """Class probabilities averaged over the trees."""
    table = _Table.of(load_wine())
    forest = RandomForestClassifier(n_estimators=TREES, max_depth=TREE_DEPTH, random_state=0)
    forest.fit(table.train, table.train_labels)
    trees = [estimator.tree_ for estimator in forest.estimators_]
    values = [tree.value[:, 0] / tree.value[:, 0].sum(1, keepdims=True) / TREES for tree in trees]
    nodes, arrays, shapes = _trees(trees, values, np.zeros(3))
    return table.built(_model("random-forest", nodes, arrays, table, shapes))


def gradient_boosting() -> Built:
    """Raw scores of the classes."""
    table = _Table.of(load_wine())
    boosted = GradientBoostingClassifier(
        n_estimators=STAGES, max_depth=STAGE_DEPTH, learning_rate=0.3, random_state=0
    )
    boosted.fit(table.train, table.train_labels)
    trees, values = [], []
    for stage in boosted.estimators_:
        for label, estimator in enumerate(stage):
            score = np.zeros((estimator.tree_.node_count, 3))
            score[:, label] = boosted.learning_rate * estimator.tree_.value[:, 0, 0]
            trees.append(estimator.tree_)
            values.append(score)
    # The ensemble's initial value, whose name depends on the scikit-learn version.
    start = boosted.decision_function(table.train[:1])[0] - sum(
        value[tree.apply(table.train[:1])[0]] for tree, value in zip(trees, values, strict=True)
    )
    nodes, arrays, shapes = _trees(trees, values, start)
    return table.built(_model("gradient-boosting", nodes, arrays, table, shapes))


def _trees(
    trees: Sequence[Any], values: Sequence[np.ndarray], start: np.ndarray
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Comparisons at all inner nodes; a leaf is reached if exactly its right branches are taken:
    turns·paths > needed − ½."""
    features: list[int] = []
    thresholds: list[float] = []
    paths: list[dict[int, int]] = []
    answers: list[np.ndarray] = []
    for tree, value in zip(trees, values, strict=True):
        waiting: list[tuple[int, dict[int, int]]] = [(0, {})]
        while waiting:
            node, path = waiting.pop()
            if tree.children_left[node] < 0:
                paths.append(path)
                answers.append(value[node])
                continue
            at = len(features)
            features.append(int(tree.feature[node]))
            thresholds.append(float(tree.threshold[node]))
            waiting.append((int(tree.children_left[node]), {**path, at: -1}))
            waiting.append((int(tree.children_right[node]), {**path, at: 1}))
    turns = np.zeros((len(features), len(paths)))
    for leaf, path in enumerate(paths):
        for at, sign in path.items():
            turns[at, leaf] = sign
    needed = np.array([sum(sign > 0 for sign in path.values()) - 0.5 for path in paths])
    nodes = [
        helper.make_node("Gather", ["x", "features"], ["tested"], name="test", axis=1),
        helper.make_node("Greater", ["tested", "thresholds"], ["is_right"], name="compare"),
        helper.make_node("Cast", ["is_right"], ["right"], name="turn", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["right", "turns"], ["taken"], name="paths"),
        helper.make_node("Greater", ["taken", "needed"], ["is_reached"], name="reach"),
        helper.make_node("Cast", ["is_reached"], ["leaf"], name="leaf", to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["leaf", "answers", "start"], ["y"], name="answer"),
    ]
    arrays = {
        "thresholds": np.array([thresholds]),
        "turns": turns,
        "needed": needed[None],
        "answers": np.array(answers),
        "start": start,
    }
    return nodes, arrays, {"features": np.array(features)}


def _model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    arrays: dict[str, np.ndarray],
    table: _Table,
    integers: dict[str, np.ndarray] | None = None,
) -> bytes:
    """``x`` [1, F] to ``y`` [1, classes]."""
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    tensors += [numpy_helper.from_array(a.astype(np.int64), n) for n, a in (integers or {}).items()]
    classes = int(table.test_labels.max()) + 1
    inputs: dict[str, Shape] = {"x": (1, table.train.shape[1])}
    return write_model(name, nodes, tensors, inputs, {"y": (1, classes)})


def entries() -> list[Entry]:
    """The numbers of nodes and vectors depend on the fit: counts are for these seeds."""
    return [
        Entry(
            name="logistic-regression",
            title="logistic regression, 30 features",
            build=logistic_regression,
            multiplications=60,
            activations=2,
            bound_by="its two table look-ups",
            tables="sigmoid",
        ),
        Entry(
            name="random-forest",
            title=f"random forest, {TREES} trees of depth {TREE_DEPTH}",
            build=random_forest,
            multiplications=6_630,
            activations=160,
            bound_by="comparisons at nodes",
        ),
        Entry(
            name="gradient-boosting",
            title=f"gradient boosting, {3 * STAGES} trees of depth {STAGE_DEPTH}",
            build=gradient_boosting,
            multiplications=10_948,
            activations=208,
            bound_by="comparisons at nodes",
        ),
        Entry(
            name="svm",
            title="SVM with Gaussian kernels",
            build=support_vectors,
            multiplications=2_706,
            activations=82,
            bound_by="squares of differences; one table look-up per support vector",
            tables="exp",
        ),
    ]
