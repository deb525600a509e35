"""Classifiers and regressors: scores by trees or planes, then labels and probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import Builder, attr
from circuits.rewrite.ml.encoders import as_float
from circuits.rewrite.ml.scores import (
    class_labels,
    complement,
    label_of,
    mirrored,
    post_transform,
    sigmoid,
    transformed,
    two_way_label,
)
from circuits.rewrite.ml.trees import leaf_scores, read_forest


def tree_regressor(node: ir.Node, build: Builder, there: ir.Value | None = None) -> ir.Value:
    """TreeEnsembleRegressor with SUM or AVERAGE. ``there``: 0 where a value is missing, else 1."""
    targets = attr(node, "n_targets", 1)
    forest = read_forest(node, "target", targets, missing=there is not None)
    aggregate = attr(node, "aggregate_function", "SUM")
    if aggregate not in ("SUM", "AVERAGE"):
        raise ValueError(f"aggregate function {aggregate!r}")
    scores = leaf_scores(build, as_float(build, node.inputs[0]), forest, there)
    if aggregate == "AVERAGE":
        scores = build.op("Mul", scores, build.const(1.0 / len(forest.roots)))
    return transformed(build, _with_base(node, build, scores), post_transform(node))


def _with_base(node: ir.Node, build: Builder, scores: ir.Value) -> ir.Value:
    base = attr(node, "base_values")
    if not base or not any(base):
        return scores
    return build.op("Add", scores, build.const(np.array([base], dtype=np.float32)))


def tree_classifier(
    node: ir.Node, build: Builder, there: ir.Value | None = None
) -> Sequence[ir.Value]:
    """TreeEnsembleClassifier; two classes with weights for one of them have rules of their own.
    ``there``: 0 where a value is missing, else 1."""
    missing = there is not None
    labels, post = class_labels(node), post_transform(node)
    ids = sorted(set(attr(node, "class_ids")))
    x = as_float(build, node.inputs[0])
    if len(labels) != 2 or len(ids) != 1:
        forest = read_forest(node, "class", len(labels), missing=missing)
        scores = _with_base(node, build, leaf_scores(build, x, forest, there))
        return [label_of(build, scores, labels), transformed(build, scores, post)]
    forest = read_forest(node, "class", max(ids) + 1, missing=missing)
    one = type(forest)(**{**vars(forest), "weights": forest.weights[:, ids]})
    score = leaf_scores(build, x, one, there)
    base = attr(node, "base_values")
    if base:
        bias = np.array([[base[-1] if len(base) == 1 else base[ids[0]]]], dtype=np.float32)
        score = build.op("Add", score, build.const(bias))
    positive = all(w >= 0 for w in attr(node, "class_weights"))
    label = two_way_label(build, score, 0.5 if positive else 0.0, labels)
    if positive:
        return [label, complement(build, transformed(build, score, post))]
    if post == "LOGISTIC":
        return [label, sigmoid(build, mirrored(build, score))]
    return [label, transformed(build, mirrored(build, score), post)]


def linear_regressor(node: ir.Node, build: Builder) -> ir.Value:
    targets = attr(node, "targets", 1)
    scores = _planes(node, build, targets)
    return transformed(build, scores, post_transform(node))


def linear_classifier(node: ir.Node, build: Builder) -> Sequence[ir.Value]:
    labels, post = class_labels(node), post_transform(node)
    intercepts = attr(node, "intercepts") or [0.0]
    scores = _planes(node, build, len(intercepts))
    if len(intercepts) > 1:
        return [label_of(build, scores, labels), transformed(build, scores, post)]
    label = two_way_label(build, scores, 0.0, labels)
    if post == "LOGISTIC":
        return [label, sigmoid(build, mirrored(build, scores))]
    # onnxruntime completes a single score so whatever other transform is named.
    return [label, complement(build, scores)]


def _planes(node: ir.Node, build: Builder, outputs: int) -> ir.Value:
    matrix = np.array(attr(node, "coefficients"), dtype=np.float32).reshape(outputs, -1)
    product = build.op("MatMul", as_float(build, node.inputs[0]), build.const(matrix.T.copy()))
    intercepts = attr(node, "intercepts")
    if not intercepts:
        return product
    return build.op("Add", product, build.const(np.array([intercepts], dtype=np.float32)))
