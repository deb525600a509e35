"""Ten tree models of dollars, ratios and counts: circuits decide as onnxruntime does.

Rows are decided in the circuit's own integers, without the engine. A class may differ only where
the receipt says so: where a compared value lies within a quantum of its threshold, or where the
model's own scores are as close as the circuit's numbers are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn import ensemble, tree

from circuits.calibration.samples import Range
from circuits.format.tensors import quantised
from circuits.lower import GraphVariant, choose_bits, lower, run_integers
from circuits.lower.committed.choosing.candidates import committed_quanta
from circuits.lower.thresholds import near_counts, near_graph
from circuits.rewrite import rewrite
from tests.cases.committed_lowering import answers, lowered
from tests.effort import sampled

WIDTH = 6
CHUNK = 5_000
MODELS: dict[str, Any] = {
    "tree": tree.DecisionTreeClassifier(max_depth=8),
    "extra tree": tree.ExtraTreeClassifier(max_depth=8),
    "stump": tree.DecisionTreeClassifier(max_depth=1),
    "tree, three classes": tree.DecisionTreeClassifier(max_leaf_nodes=24),
    "forest": ensemble.RandomForestClassifier(12, max_depth=5),
    "extra trees": ensemble.ExtraTreesClassifier(12, max_depth=5),
    "deep tree": tree.DecisionTreeClassifier(max_depth=14, criterion="entropy"),
    "boosting": ensemble.GradientBoostingClassifier(n_estimators=20, max_depth=3),
    "boosting, three classes": ensemble.GradientBoostingClassifier(n_estimators=6, max_depth=3),
    "wide forest": ensemble.RandomForestClassifier(30, max_depth=3, max_features=2),
}


def rows(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Income and balance in dollars, two ratios of four digits, two counts."""
    columns = [
        rng.integers(0, 2_000, count) * 100.0,
        np.round(rng.lognormal(9, 1.2, count), 2),
        np.round(rng.uniform(0, 2, count), 4),
        np.round(rng.beta(2, 5, count), 3),
        rng.integers(0, 12, count),
        rng.poisson(3, count),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def labels(x: NDArray[np.float32], classes: int) -> NDArray[np.int64]:
    risk = x[:, 2] + x[:, 4] / 12 - x[:, 0] / 200_000 + np.where(x[:, 1] > 12_000, 0.3, 0.0)
    return np.digitize(risk, np.quantile(risk, np.arange(1, classes) / classes))


def exported(name: str) -> bytes:
    rng = np.random.default_rng(len(name))
    x = rows(rng, 1_500)
    y = labels(x, 3 if "three" in name else 2)
    fitted = MODELS[name].set_params(random_state=0).fit(x, y)
    written = convert_sklearn(
        fitted,
        initial_types=[("x", FloatTensorType([None, WIDTH]))],
        options={"zipmap": False},
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    return bytes(written.SerializeToString())


def samples(x: NDArray[np.float32]) -> list[dict[str, NDArray[Any]]]:
    return [{"x": row[None]} for row in x]


def thresholds(data: bytes) -> list[tuple[int, float]]:
    """Column and threshold of every inner node."""
    found = []
    for node in onnx.load_model_from_string(data).graph.node:
        if "TreeEnsemble" in node.op_type:
            has = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            names = ("nodes_featureids", "nodes_values", "nodes_modes")
            inner = zip(*(has[name] for name in names), strict=True)
            found += [(column, value) for column, value, mode in inner if mode != b"LEAF"]
    return found


def tied(rng: np.random.Generator, x: NDArray[np.float32], data: bytes) -> NDArray[np.float32]:
    """One row in ten with an element on one of the model's thresholds."""
    pairs = thresholds(data)
    for at in np.flatnonzero(rng.random(len(x)) < 0.1):
        column, value = pairs[rng.integers(len(pairs))]
        x[at, column] = value
    return x


def decided(variant: GraphVariant, x: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """The circuit's label and scores for each row."""
    parts = []
    for start in range(0, len(x), CHUNK):
        feed = quantised(x[start : start + CHUNK, None], variant.input_scales[0])
        parts.append(run_integers(variant, {"x": feed}))
    return [
        np.ldexp(np.concatenate([p[i] for p in parts]).astype(np.float64), -scale)
        for i, scale in enumerate(variant.output_scales)
    ]


def committed_decided(
    data: bytes, planned: NDArray[np.float32], accepted: dict[str, Range], x: NDArray[np.float32]
) -> tuple[list[NDArray[np.float64]], bytes | None]:
    """The same of a circuit with committed hints, and what tells how near it was."""
    graph, made = lowered(data, samples(planned), accepted)
    assert made.recipe is not None
    quantum = committed_quanta(graph, made.recipe, samples(planned))
    return answers(graph, made, samples(x)), near_graph(graph.plain, quantum)


@pytest.mark.parametrize("name", sampled(MODELS, 4))
@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_no_class_changes_but_where_the_receipt_says_so(
    name: str, committed: bool, count: int
) -> None:
    data = exported(name)
    rng = np.random.default_rng(7)
    planned, x = rows(rng, 64), tied(rng, rows(rng, count), data)
    accepted: dict[str, Range] = {"x": (-50_000.0, 1_500_000.0)}
    graph = rewrite(data, samples(planned)).onnx
    if committed:
        (got, got_scores), telling = committed_decided(data, planned, accepted, x)
    else:
        chosen = choose_bits(graph, samples(planned), accepted, 0.01, 0.99)[0]
        variant = lower(graph, chosen, accepted)
        got, got_scores = decided(variant, x)
        telling = near_graph(graph, variant.compared)
    label, scores = onnxruntime.InferenceSession(data).run(None, {"x": x})
    exact = np.abs(got_scores.reshape(scores.shape) - scores).max(axis=1)
    ordered = np.sort(scores, axis=1)
    close = ordered[:, -1] - ordered[:, -2] <= 2 * exact
    assert telling is not None
    changed = np.flatnonzero(got.reshape(-1) != label)
    near = np.array(near_counts(telling, samples(x[changed])), dtype=int) > 0
    assert not changed[~near & ~close[changed]].size
    # Where nothing is near, no score is off by more than all may be.
    off = np.flatnonzero(exact > 0.01)
    assert np.all(np.array(near_counts(telling, samples(x[off])), dtype=int) > 0)
    # Little is excused.
    assert np.mean(near_counts(telling, samples(rows(rng, 1_000)))) < 0.02
    # A committed circuit's scores are as coarse as the tolerance lets them be.
    assert np.mean(close) < (0.04 if committed else 0.02)
    assert len(changed) < count / 200
