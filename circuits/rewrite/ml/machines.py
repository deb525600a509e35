"""Support vector machines: kernel values by one matrix product, then sums, votes and labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir import DataType

from circuits.errors import UnsupportedOperator
from circuits.rewrite.edit import Builder, attr, ints
from circuits.rewrite.ml.encoders import as_float
from circuits.rewrite.ml.scores import (
    class_labels,
    label_of,
    mirrored,
    place_to_label,
    post_transform,
    transformed,
)

_Floats = NDArray[np.float32]


def svm_regressor(node: ir.Node, build: Builder) -> ir.Value:
    """sum of coefficients times kernel values, plus rho."""
    if attr(node, "one_class", 0):
        raise ValueError("one-class SVM")
    supports = attr(node, "n_supports", 0)
    coefficients = _floats(node, "coefficients").reshape(-1, 1)
    rho = _floats(node, "rho").reshape(1, -1)
    x = as_float(build, node.inputs[0])
    if supports == 0:
        scores = build.op("MatMul", x, build.const(coefficients))
    else:
        vectors = _floats(node, "support_vectors").reshape(supports, -1)
        scores = build.op("MatMul", kernel(node, build, x, vectors), build.const(coefficients))
    return transformed(build, build.op("Add", scores, build.const(rho)), post_transform(node))


def svm_classifier(node: ir.Node, build: Builder) -> Sequence[ir.Value]:
    """One classifier for each pair of classes; the label is the class with most votes.

    Raises ``UnsupportedOperator`` for calibrated probabilities: onnxruntime stops libsvm's
    iteration for them at a tolerance of its own, so that no formula gives its answers.
    """
    if attr(node, "prob_a"):
        raise UnsupportedOperator.at(
            node.op_type,
            node.name or "",
            "its probabilities come from an iteration, not from a formula",
            advice="Fit it with probability=False: its label and its decision scores prove.",
            domain=node.domain,
        )
    labels, post = class_labels(node), post_transform(node)
    counts = attr(node, "vectors_per_class")
    if not counts:
        raise ValueError("a linear SVMClassifier without support vectors")
    vectors = _floats(node, "support_vectors").reshape(sum(counts), -1)
    x = as_float(build, node.inputs[0])
    pairs = pair_weights(_floats(node, "coefficients").reshape(-1, len(vectors)), counts)
    product = build.op("MatMul", kernel(node, build, x, vectors), build.const(pairs))
    scores = build.op("Add", product, build.const(_floats(node, "rho").reshape(1, -1)))
    if len(labels) == 2:
        # A positive score is a vote for the first class.
        place = build.op("Cast", _at_most_zero(build, scores), to=int(DataType.INT64))
        flat = build.op("Squeeze", place, build.const(ints([1])))
        outputs = mirrored(build, scores)
        return [place_to_label(build, flat, labels), transformed(build, outputs, post)]
    label = label_of(build, _votes(build, scores, len(labels)), labels)
    return [label, transformed(build, scores, post)]


def pair_weights(coefficients: _Floats, counts: Sequence[int]) -> _Floats:
    """Weights ``[S, P]`` of every support vector in the classifier of every pair of classes.

    ``coefficients`` is ``[C - 1, S]``, vectors in the order of their classes, as libsvm keeps them.
    """
    ends = np.cumsum([0, *counts])
    pairs = list(combinations(range(len(counts)), 2))
    weights = np.zeros((int(ends[-1]), len(pairs)), dtype=np.float32)
    for column, (first, second) in enumerate(pairs):
        a, b = slice(*ends[first : first + 2]), slice(*ends[second : second + 2])
        weights[a, column] = coefficients[second - 1, a]
        weights[b, column] = coefficients[first, b]
    return weights


def _votes(build: Builder, scores: ir.Value, classes: int) -> ir.Value:
    """Votes ``[N, C]`` of scores ``[N, P]``: the pair's second class has it unless the score is
    positive."""
    pairs = list(combinations(range(classes), 2))
    matrix = np.zeros((len(pairs), classes), dtype=np.float32)
    base = np.zeros((1, classes), dtype=np.float32)
    for row, (first, second) in enumerate(pairs):
        matrix[row, first], matrix[row, second] = -1, 1
        base[0, first] += 1
    lost = build.op("Cast", _at_most_zero(build, scores), to=int(DataType.FLOAT))
    return build.op("Add", build.op("MatMul", lost, build.const(matrix)), build.const(base))


def _at_most_zero(build: Builder, scores: ir.Value) -> ir.Value:
    positive = build.op("Greater", scores, build.const(np.zeros(1, dtype=np.float32)))
    return build.op("Not", positive)


def kernel(node: ir.Node, build: Builder, x: ir.Value, vectors: _Floats) -> ir.Value:
    """Kernel values of x ``[N, F]`` with every support vector: ``[N, S]``."""
    kind = attr(node, "kernel_type", "LINEAR")
    kind = kind.decode() if isinstance(kind, bytes) else kind
    gamma, coef0, degree = (attr(node, "kernel_params") or [0.0, 0.0, 0.0])[:3]
    product = build.op("MatMul", x, build.const(vectors.T.copy()))
    if kind == "LINEAR":
        return product
    if kind == "RBF":
        # |x - v|² = |x|² - 2 x·v + |v|²: one matrix product in place of a difference each.
        square = build.op("ReduceSum", build.op("Mul", x, x), build.const(ints([1])), keepdims=1)
        norms = (vectors.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)[None]
        cross = build.op("Mul", product, build.const(2.0))
        distance = build.op("Add", build.op("Sub", square, cross), build.const(norms))
        return build.op("Exp", build.op("Mul", distance, build.const(-float(gamma))))
    scaled = build.op("Mul", product, build.const(float(gamma)))
    shifted = build.op("Add", scaled, build.const(float(coef0)))
    if kind == "POLY":
        return build.op("Pow", shifted, build.const(float(degree)))
    if kind == "SIGMOID":
        return build.op("Tanh", shifted)
    raise ValueError(f"kernel {kind!r}")


def _floats(node: ir.Node, name: str) -> _Floats:
    return np.array(attr(node, name), dtype=np.float32)
