"""From raw scores to labels and probabilities, as onnxruntime does it for every classifier."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir import DataType

from circuits.rewrite.edit import Builder, attr, ints
from circuits.rewrite.identities import SATURATED
from circuits.rewrite.selection import highest


def transformed(build: Builder, scores: ir.Value, post: str) -> ir.Value:
    """The named post transform, over the last axis; raises ``ValueError`` for one not known."""
    if post == "NONE":
        return scores
    if post == "LOGISTIC":
        return sigmoid(build, scores)
    if post == "SOFTMAX":
        return _softmax(build, scores)
    raise ValueError(f"post transform {post!r}")


def sigmoid(build: Builder, scores: ir.Value) -> ir.Value:
    """Scores bent into 0…1, those beyond 16 as 16: the scores of unscaled features go into the
    thousands, and a table of all of them would be longer than any circuit."""
    return build.op(
        "Sigmoid", build.op("Clip", scores, build.const(-SATURATED), build.const(SATURATED))
    )


def _softmax(build: Builder, scores: ir.Value) -> ir.Value:
    """Softmax of scores not more than 16 below the largest, for the same reason."""
    largest = highest(scores, build)
    below = build.op("Sub", scores, largest)
    near = build.op("Clip", below, build.const(-SATURATED), build.const(0.0))
    return build.op("Softmax", near, axis=-1)


def post_transform(node: ir.Node) -> str:
    value = attr(node, "post_transform", "NONE")
    return value.decode() if isinstance(value, bytes) else str(value)


def class_labels(node: ir.Node) -> NDArray[np.int64]:
    """The classes as integers (text labels were numbered before)."""
    labels = attr(node, "classlabels_int64s") or attr(node, "classlabels_ints")
    if not labels:
        raise ValueError("no integer class labels")
    return ints(labels)


def label_of(build: Builder, scores: ir.Value, labels: NDArray[np.int64]) -> ir.Value:
    """The label of the largest score, the first of equal ones: ``[N]``."""
    place = build.op("ArgMax", scores, axis=1, keepdims=0)
    return place_to_label(build, place, labels)


def place_to_label(build: Builder, place: ir.Value, labels: NDArray[np.int64]) -> ir.Value:
    """``labels[place]``, without indexing by a value: a product with a one-hot row."""
    start = int(labels[0])
    if np.array_equal(labels, np.arange(start, start + len(labels))):
        return place if start == 0 else build.op("Add", place, build.const(ints([start])))
    depth = build.const(np.array(len(labels), dtype=np.int64))
    levels = build.const(np.array([0, 1], dtype=np.float32))
    hot = build.op("OneHot", place, depth, levels, axis=-1)
    value = build.op("MatMul", hot, build.const(labels.astype(np.float32)[:, None]))
    flat = build.op("Squeeze", value, build.const(ints([-1])))
    return build.op("Cast", flat, to=int(DataType.INT64))


def two_way_label(
    build: Builder, score: ir.Value, limit: float, labels: NDArray[np.int64]
) -> ir.Value:
    """``labels[1]`` where the single score ``[N, 1]`` is over the limit, else ``labels[0]``."""
    over = build.op("Greater", score, build.const(np.array([limit], dtype=np.float32)))
    place = build.op("Cast", over, to=int(DataType.INT64))
    flat = build.op("Squeeze", place, build.const(ints([1])))
    return place_to_label(build, flat, labels)


def complement(build: Builder, score: ir.Value) -> ir.Value:
    """``[1 - s, s]``."""
    other = build.op("Sub", build.const(np.ones((1, 1), np.float32)), score)
    return build.op("Concat", other, score, axis=1)


def mirrored(build: Builder, score: ir.Value) -> ir.Value:
    """``[-s, s]``."""
    return build.op("Concat", build.op("Neg", score), score, axis=1)
