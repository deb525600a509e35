"""Estimators as scikit-learn's exporters write them, built without the exporters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

ML = "ai.onnx.ml"


def model(nodes: list[onnx.NodeProto], features: int, outputs: Mapping[str, int]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "estimator",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", features])],
        [
            helper.make_tensor_value_info(n, t, ["N"] if t == TensorProto.INT64 else ["N", "C"])
            for n, t in outputs.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def tree_attributes(tree: Any, weights: np.ndarray, kind: str) -> dict[str, Any]:
    """A fitted scikit-learn tree as TreeEnsemble attributes (what an exporter writes)."""
    inner = tree.children_left >= 0
    nodes = range(tree.node_count)
    leaves = [n for n in nodes if not inner[n]]
    rows = [(n, c, float(weights[n, c])) for n in leaves for c in range(weights.shape[1])]
    return {
        "nodes_treeids": [0] * tree.node_count,
        "nodes_nodeids": list(nodes),
        "nodes_featureids": [int(f) if i else 0 for f, i in zip(tree.feature, inner, strict=True)],
        "nodes_values": [
            float(np.float32(t)) if i else 0.0 for t, i in zip(tree.threshold, inner, strict=True)
        ],
        "nodes_modes": ["BRANCH_LEQ" if i else "LEAF" for i in inner],
        "nodes_truenodeids": [max(int(c), 0) for c in tree.children_left],
        "nodes_falsenodeids": [max(int(c), 0) for c in tree.children_right],
        f"{kind}_treeids": [0] * len(rows),
        f"{kind}_nodeids": [r[0] for r in rows],
        f"{kind}_ids": [r[1] for r in rows],
        f"{kind}_weights": [r[2] for r in rows],
    }


def iris() -> tuple[np.ndarray, np.ndarray]:
    data = load_iris(return_X_y=True)
    return data[0].astype(np.float32), data[1]


def iris_tree(**labels: Any) -> bytes:
    x, y = iris()
    fitted = DecisionTreeClassifier(max_depth=4, random_state=0).fit(x, y).tree_
    attributes = tree_attributes(fitted, fitted.value[:, 0, :], "class")
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "scores"], domain=ML, **attributes, **labels
    )
    zipped = helper.make_node(
        "ZipMap", ["scores"], ["probabilities"], domain=ML, classlabels_int64s=[0, 1, 2]
    )
    data = model(
        [node, zipped], 4, {"label": TensorProto.INT64, "probabilities": TensorProto.FLOAT}
    )
    written = onnx.load_model_from_string(data)
    mapped = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(1, []))
    written.graph.output[1].type.CopyFrom(helper.make_sequence_type_proto(mapped))
    return bytes(written.SerializeToString())
