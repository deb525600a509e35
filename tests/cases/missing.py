"""Models that ask which values are missing, or look texts up, as people export them; and rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tests.cases.estimators import ML, model

Raw = dict[str, NDArray[Any]]
_PURPOSES = ["car", "house", "business", "education"]
_NODES = [
    *("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids"),
    "missing_value_tracks_true",
]
_HOMES = ["rent", "own", "family"]


@dataclass(frozen=True)
class Case:
    """A model, and rows of its inputs as they are sent, ``[N, columns]`` each."""

    onnx: bytes
    rows: Raw

    def answers(self, rows: Raw | None = None) -> list[list[NDArray[np.float64]]]:
        """onnxruntime's, for each row, of the model as it is."""
        import onnxruntime

        session = onnxruntime.InferenceSession(self.onnx, providers=["CPUExecutionProvider"])
        rows = self.rows if rows is None else rows
        count = len(next(iter(rows.values())))
        feeds = ({n: v[i : i + 1] for n, v in rows.items()} for i in range(count))
        return [[np.asarray(o, dtype=np.float64) for o in session.run(None, f)] for f in feeds]


def numbers(count: int, seed: int, columns: int = 5, missing: float = 0.2) -> NDArray[np.float32]:
    """Ages, dollars, ratios, counts and more, of which some are missing."""
    rng = np.random.default_rng(seed)
    x = np.stack(
        [
            rng.integers(18, 80, count),
            np.round(rng.lognormal(10, 0.6, count), 0),
            np.round(rng.beta(2, 4, count), 3),
            rng.integers(0, 6, count),
            *(np.round(rng.normal(0, 2, count), 2) for _ in range(columns - 4)),
        ],
        axis=1,
    ).astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def _late(x: NDArray[np.float32], classes: int = 2) -> NDArray[np.int64]:
    score = np.nan_to_num(x[:, 2], nan=0.9) + np.nan_to_num(x[:, 0], nan=10.0) / 60
    cuts = np.quantile(score, np.arange(1, classes) / classes)
    return np.digitize(score, cuts)


def _exported(fitted: Any, kinds: list[tuple[str, Any]], opset: int = 17) -> bytes:
    options = {"zipmap": False} if hasattr(fitted, "classes_") else {}
    written = to_onnx(
        fitted,
        initial_types=kinds,
        target_opset={"": opset, "ai.onnx.ml": 3},
        options={id(fitted): options} if options else None,
    )
    return bytes(written.SerializeToString())


def _floats(columns: int) -> list[tuple[str, Any]]:
    return [("x", FloatTensorType([None, columns]))]


# --- missing values ----------------------------------------------------------------------------


def _histogram(fitted: Any, kind: str) -> dict[str, Any]:
    """The trees of a histogram booster as its exporter means to write them."""
    a: dict[str, list[Any]] = {f"nodes_{name}": [] for name in _NODES}
    ends: list[tuple[int, int, int, float]] = []
    trees = [(k, t) for step in fitted._predictors for k, t in enumerate(step)]
    for number, (output, tree) in enumerate(trees):
        for place, node in enumerate(tree.nodes):
            leaf = bool(node["is_leaf"])
            a["nodes_treeids"].append(number)
            a["nodes_nodeids"].append(place)
            a["nodes_featureids"].append(int(node["feature_idx"]) * (not leaf))
            a["nodes_values"].append(0.0 if leaf else float(np.float32(node["num_threshold"])))
            a["nodes_modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            a["nodes_truenodeids"].append(int(node["left"]))
            a["nodes_falsenodeids"].append(int(node["right"]))
            a["nodes_missing_value_tracks_true"].append(int(node["missing_go_to_left"]))
            if leaf:
                ends.append((number, place, output, float(node["value"])))
    return a | {
        f"{kind}_treeids": [e[0] for e in ends],
        f"{kind}_nodeids": [e[1] for e in ends],
        f"{kind}_ids": [e[2] for e in ends],
        f"{kind}_weights": [e[3] for e in ends],
        "base_values": [float(b) for b in np.ravel(fitted._baseline_prediction)],
    }


def histogram_boosting(classes: int, columns: int, ml_opset: int) -> Case:
    x = numbers(400, 1, columns)
    fitted = HistGradientBoostingClassifier(max_iter=6, max_leaf_nodes=6, random_state=0)
    fitted.fit(x, _late(x, classes))
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "scores"],
        domain=ML,
        classlabels_int64s=list(range(classes)),
        post_transform="LOGISTIC" if classes == 2 else "SOFTMAX",
        **_histogram(fitted, "class"),
    )
    outputs = {"label": TensorProto.INT64, "scores": TensorProto.FLOAT}
    return _case(model([node], columns, outputs), ml_opset, numbers(1000, 2, columns))


def histogram_regression() -> Case:
    x = numbers(400, 3, 6)
    y = np.nan_to_num(x[:, 4]) * 3 + np.nan_to_num(x[:, 2], nan=2.0)
    fitted = HistGradientBoostingRegressor(max_iter=8, max_depth=3, random_state=0).fit(x, y)
    attributes = _histogram(fitted, "target")
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain=ML, n_targets=1, **attributes
    )
    return _case(model([node], 6, {"y": TensorProto.FLOAT}), 3, numbers(1000, 4, 6))


def _case(data: bytes, ml_opset: int, rows: NDArray[np.float32]) -> Case:
    written = onnx.load_model_from_string(data)
    written.opset_import[1].version = ml_opset
    return Case(bytes(written.SerializeToString()), {"x": rows})


def boosted(mode: str, trees: int, depth: int, ml_opset: int, beyond: float = 0.0) -> Case:
    """Trees as XGBoost's (BRANCH_LT) and LightGBM's (BRANCH_LEQ) exporters write them: two classes,
    a weight for one, and a way for missing values at every node. Some thresholds are ``beyond`` all
    values, as CatBoost's (BRANCH_GT) and LightGBM's: these ask only whether there is one."""
    rng = np.random.default_rng(trees)
    spread = numbers(400, 5, missing=0.0)
    inner, leaves = 2**depth - 1, 2**depth
    count = inner + leaves
    a: dict[str, Any] = {name: [] for name in _NODES}
    for tree in range(trees):
        features = rng.integers(0, 5, count)
        for node in range(count):
            leaf = node >= inner
            a["treeids"].append(tree)
            a["nodeids"].append(node)
            a["featureids"].append(0 if leaf else int(features[node]))
            picked = float(rng.choice(spread[:, features[node]]))
            far = beyond and node % 3 == 1
            near = picked + 0.25 * (mode == "BRANCH_LEQ")
            a["values"].append(0.0 if leaf else beyond if far else near)
            a["modes"].append("LEAF" if leaf else mode)
            a["truenodeids"].append(0 if leaf else 2 * node + 1)
            a["falsenodeids"].append(0 if leaf else 2 * node + 2)
            a["missing_value_tracks_true"].append(0 if leaf else int(rng.integers(0, 2)))
    ends = [(tree, node) for tree in range(trees) for node in range(inner, count)]
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "scores"],
        domain=ML,
        **{f"nodes_{name}": values for name, values in a.items()},
        class_treeids=[tree for tree, _ in ends],
        class_nodeids=[leaf for _, leaf in ends],
        class_ids=[0] * len(ends),
        class_weights=[float(w) for w in rng.normal(0, 0.3, len(ends)).round(4)],
        base_values=[-0.1],
        classlabels_int64s=[0, 1],
        post_transform="LOGISTIC",
    )
    data = model([node], 5, {"label": TensorProto.INT64, "scores": TensorProto.FLOAT})
    return _case(data, ml_opset, numbers(1000, 6))


def imputed_regression() -> Case:
    x = numbers(400, 7)
    fitted = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    fitted.fit(x, _late(x))
    return Case(_exported(fitted, _floats(5)), {"x": numbers(1000, 8)})


def imputed_columns() -> Case:
    """Each group of columns imputed in its own way, of two inputs."""
    x = numbers(400, 9, 6)
    split = ColumnTransformer(
        [
            ("middle", SimpleImputer(strategy="median"), [0, 1, 2]),
            ("none", SimpleImputer(strategy="constant", fill_value=-1.0), [3, 4, 5]),
        ]
    )
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    fitted = make_pipeline(split, forest).fit(x, _late(x, 3))
    kinds = [("a", FloatTensorType([None, 3])), ("b", FloatTensorType([None, 3]))]
    rows = numbers(1000, 10, 6)
    return Case(_exported(fitted, kinds, 15), {"a": rows[:, :3], "b": rows[:, 3:]})


def asked_by_hand(turned: bool) -> Case:
    """As PyTorch writes ``torch.where(x.isnan(), mean, x)``, with a note of what was missing."""
    ask = (
        "there = Not(none) given = Where(there, x, mean)"
        if turned
        else "given = Where(none, mean, x)"
    )
    text = f"""
        <ir_version: 9, opset_import: ["": 20]>
        g (float[1, 5] x) => (float[1, 2] y)
        <float[5] mean = {{40, 25000, 0.3, 2, 0.1}}, float[5] by = {{50, 30000, 0.5, 3, 2}},
         float[10, 2] w = {{0.1, -0.2, 0.3, 0.5, -0.4, 0.2, 0.6, 0.1, -0.3, 0.7,
                            0.5, 0.1, -0.2, 0.3, 0.4, -0.1, 0.2, 0.2, 0.1, -0.6}}>
        {{
            none = IsNaN(x)
            {ask}
            scaled = Div(given, by)
            noted = Cast<to = 1>(none)
            all = Concat<axis = 1>(scaled, noted)
            y = MatMul(all, w)
        }}
    """
    written = onnx.parser.parse_model(text)
    return Case(bytes(written.SerializeToString()), {"x": numbers(1000, 11)})


MISSING: dict[str, Callable[[], Case]] = {
    "histogram-binary": lambda: histogram_boosting(2, 5, 1),
    "histogram-three-classes": lambda: histogram_boosting(3, 7, 3),
    "histogram-regression": histogram_regression,
    "less-small": lambda: boosted("BRANCH_LT", 3, 3, 1),
    "less-large": lambda: boosted("BRANCH_LT", 20, 4, 3),
    "at-most": lambda: boosted("BRANCH_LEQ", 12, 3, 3),
    "greater": lambda: boosted("BRANCH_GT", 5, 2, 1),
    "beyond-most": lambda: boosted("BRANCH_GT", 6, 3, 2, 3.4028234663852886e38),
    "beyond-least": lambda: boosted("BRANCH_GT", 6, 3, 2, -3.4028234663852886e38),
    "infinite": lambda: boosted("BRANCH_LEQ", 6, 3, 3, float("inf")),
    "imputer-linear": imputed_regression,
    "imputer-columns": imputed_columns,
    "where": lambda: asked_by_hand(False),
    "where-not": lambda: asked_by_hand(True),
}


# --- categories --------------------------------------------------------------------------------


def people(count: int, seed: int, unknown: Sequence[str] = ()) -> Raw:
    rng = np.random.default_rng(seed)
    return {
        "age": rng.integers(18, 80, (count, 1)).astype(np.float32),
        "used": np.round(rng.beta(2, 4, (count, 1)), 3).astype(np.float32),
        "purpose": rng.choice([*_PURPOSES, *unknown], (count, 1)).astype(object),
        "home": rng.choice([*_HOMES, *unknown], (count, 1)).astype(object),
    }


def _kinds() -> list[tuple[str, Any]]:
    return [
        ("age", FloatTensorType([None, 1])),
        ("used", FloatTensorType([None, 1])),
        ("purpose", StringTensorType([None, 1])),
        ("home", StringTensorType([None, 1])),
    ]


def encoded(encoder: Any, estimator: Any, unknown: Sequence[str], opset: int = 17) -> Case:
    rows = people(400, 12)
    table = np.concatenate([rows[n] for n in rows], axis=1)
    burden = rows["used"] + 0.3 * (rows["purpose"] == "car") + 0.2 * (rows["home"] == "rent")
    late = (burden > np.median(burden)).astype(np.int64).reshape(-1)
    split = ColumnTransformer([("text", encoder, [2, 3])], remainder="passthrough")
    fitted = make_pipeline(split, estimator).fit(table, late)
    return Case(_exported(fitted, _kinds(), opset), people(1000, 13, unknown))


def text_matrix() -> Case:
    """Both columns in one tensor."""
    rows = people(400, 14)
    table = np.concatenate([rows["purpose"], rows["home"]], axis=1)
    late = ((table[:, 0] == "car") ^ (table[:, 1] == "rent")).astype(np.int64)
    fitted = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"), GradientBoostingClassifier(n_estimators=5)
    ).fit(table, late)
    sent = people(1000, 15, ["boat"])
    matrix = np.concatenate([sent["purpose"], sent["home"]], axis=1)
    return Case(_exported(fitted, [("x", StringTensorType([None, 2]))]), {"x": matrix})


def mapped() -> Case:
    """CategoryMapper, and a table of floats by LabelEncoder."""
    nodes = [
        helper.make_node(
            "CategoryMapper",
            ["home"],
            ["code"],
            domain=ML,
            cats_strings=_HOMES,
            cats_int64s=[5, 2, 9],
            default_int64=-3,
        ),
        helper.make_node("Cast", ["code"], ["first"], to=TensorProto.FLOAT),
        helper.make_node(
            "LabelEncoder",
            ["purpose"],
            ["second"],
            domain=ML,
            keys_strings=_PURPOSES,
            values_floats=[0.5, -1.25, 3.0, 0.125],
            default_float=7.5,
        ),
        helper.make_node("Concat", ["first", "second"], ["both"], axis=1),
        helper.make_node(
            "LinearRegressor",
            ["both"],
            ["y"],
            domain=ML,
            coefficients=[0.5, 1.5, -0.25, 2.0],
            intercepts=[1.0, -1.0],
            targets=2,
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "mapped",
        [
            helper.make_tensor_value_info("home", TensorProto.STRING, ["N", 1]),
            helper.make_tensor_value_info("purpose", TensorProto.STRING, ["N", 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid(ML, 2)]
    written = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    sent = people(1000, 16, ["castle"])
    return Case(
        bytes(written.SerializeToString()), {"home": sent["home"], "purpose": sent["purpose"]}
    )


def _forest() -> RandomForestClassifier:
    return RandomForestClassifier(5, max_depth=4, random_state=0)


TEXT: dict[str, Callable[[], Case]] = {
    "one-hot-linear": lambda: encoded(
        OneHotEncoder(handle_unknown="ignore"), LogisticRegression(), ["boat"]
    ),
    "one-hot-strict": lambda: encoded(OneHotEncoder(), _forest(), [], 13),
    "codes-strict": lambda: encoded(OrdinalEncoder(), _forest(), []),
    "codes-other": lambda: encoded(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        GradientBoostingClassifier(n_estimators=6, random_state=0),
        ["boat", ""],
        15,
    ),
    "codes-linear": lambda: encoded(OrdinalEncoder(), LogisticRegression(), []),
    "matrix": text_matrix,
    "tables": mapped,
}


# --- columns of categories ---------------------------------------------------------------------


def codes(count: int, seed: int) -> NDArray[np.float32]:
    """Codes beside measurements: columns 0 and 2, and 1 and 3."""
    rng = np.random.default_rng(seed)
    measured = rng.normal(0, 2, (2, count))
    columns = [rng.integers(4, 8, count), measured[0], 10 * rng.integers(-1, 2, count), measured[1]]
    return np.stack(columns, axis=1).astype(np.float32)


def coded_columns() -> Case:
    """Two columns are encoded, and the others of the same tensor scaled."""
    x = codes(400, 21)
    price = 3 * (x[:, 0] == 5) - 2 * (x[:, 2] == 0) + x[:, 1] - x[:, 3] / 2
    split = ColumnTransformer([
        ("codes", OneHotEncoder(), [0, 2]),
        ("rest", StandardScaler(), [1, 3]),
    ])  # fmt: skip
    fitted = make_pipeline(split, Ridge()).fit(x, price)
    return Case(_exported(fitted, _floats(4)), {"x": codes(1000, 22)})


def coded_alone() -> Case:
    """Every column is encoded: of the tensor itself nothing is read."""
    x = codes(400, 23)[:, [0, 2]].astype(np.int64)
    fitted = OneHotEncoder(sparse_output=False).fit(x)
    sent = codes(1000, 24)[:, [0, 2]].astype(np.int64)
    return Case(_exported(fitted, [("x", Int64TensorType([None, 2]))]), {"x": sent})


CODES: dict[str, Callable[[], Case]] = {
    "codes-beside-measurements": coded_columns,
    "codes-alone": coded_alone,
}
