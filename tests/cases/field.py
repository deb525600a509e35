"""Models as people export them, made small: what each is, and data like its inputs."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from onnxruntime.quantization import quantize_dynamic
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import AdaBoostRegressor, GradientBoostingClassifier, IsolationForest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    StandardScaler,
)
from sklearn.svm import SVR

Rows = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Field:
    """A model, and rows of its inputs, ``[N, …]`` each."""

    model: bytes
    rows: Rows

    def samples(self) -> list[dict[str, NDArray[Any]]]:
        count = len(next(iter(self.rows.values())))
        return [
            {name: values[i : i + 1] for name, values in self.rows.items()} for i in range(count)
        ]


def _exported(fitted: Any, kinds: list[tuple[str, Any]], **options: Any) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = convert_sklearn(
            fitted,
            initial_types=kinds,
            target_opset={"": 17, "ai.onnx.ml": 3},
            options=options or None,
        )
    return bytes(written.SerializeToString())


def _people(count: int = 240) -> dict[str, NDArray[Any]]:
    """Age, income and loan in dollars, a ratio, a code of five and one of three."""
    rng = np.random.default_rng(5)
    return {
        "age": rng.integers(18, 80, (count, 1)).astype(np.float32),
        "income": np.round(rng.lognormal(10.8, 0.5, (count, 1)), 2).astype(np.float32),
        "loan": np.round(rng.lognormal(9.5, 0.8, (count, 1)), 2).astype(np.float32),
        "used": np.round(rng.beta(2, 4, (count, 1)), 3).astype(np.float32),
        "purpose": rng.integers(0, 5, (count, 1)),
        "home": rng.integers(0, 3, (count, 1)),
    }


def _defaults(rows: Rows) -> NDArray[np.int64]:
    burden = rows["loan"] / rows["income"] + rows["used"] + 0.1 * (rows["purpose"] == 2)
    late: NDArray[np.int64] = (burden > np.median(burden)).astype(np.int64).reshape(-1)
    return late


def double_input() -> Field:
    rows = _people()
    x = np.concatenate([rows[n] for n in ("age", "income", "loan", "used")], axis=1)
    x = x.astype(np.float64)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, _defaults(rows))
    kinds = [("x", DoubleTensorType([None, 4]))]
    return Field(_exported(fitted, kinds, zipmap=False), {"x": x})


def gaussian_nb() -> Field:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (240, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int) + (x[:, 3] > 1)
    fitted = GaussianNB().fit(x, y)
    kinds = [("x", FloatTensorType([None, 4]))]
    return Field(_exported(fitted, kinds, zipmap=False), {"x": x})


def _prices(count: int = 200) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Area, rooms, age and distance of houses, and their price."""
    rng = np.random.default_rng(2)
    columns = (
        rng.integers(30, 250, count),
        rng.integers(1, 8, count),
        rng.integers(0, 90, count),
        np.round(rng.gamma(2, 4, count), 1),
    )
    x = np.stack(columns, axis=1).astype(np.float32)
    price = 3_000 * x[:, 0] + 8_000 * x[:, 1] - 900 * x[:, 2] - 4_000 * np.sqrt(x[:, 3])
    return x, price.astype(np.float64)


def svr_by_columns() -> Field:
    """An input for each column, as the advice for one tensor of all says."""
    x, price = _prices()
    fitted = make_pipeline(StandardScaler(), SVR(C=1e5)).fit(x, price)
    kinds = [(f"c{i}", FloatTensorType([None, 1])) for i in range(x.shape[1])]
    return Field(_exported(fitted, kinds), {f"c{i}": x[:, i : i + 1] for i in range(x.shape[1])})


def polynomial_ridge() -> Field:
    x, price = _prices()
    fitted = make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge()).fit(x, price)
    return Field(_exported(fitted, [("x", FloatTensorType([None, 4]))]), {"x": x})


def isolation_forest() -> Field:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (200, 4)).astype(np.float32)
    fitted = IsolationForest(n_estimators=20, max_samples=32, random_state=0).fit(x)
    kinds = [("x", FloatTensorType([None, 4]))]
    return Field(_exported(fitted, kinds), {"x": x})


def power_transformer() -> Field:
    rng = np.random.default_rng(0)
    drawn = (rng.lognormal(0, 1, 200), rng.normal(0, 1, 200), rng.gamma(2, 2, 200))
    x = np.stack(drawn, axis=1).astype(np.float32)
    y = (np.log1p(x[:, 0]) + x[:, 1] > 0.9).astype(int)
    fitted = make_pipeline(PowerTransformer(), LogisticRegression()).fit(x, y)
    kinds = [("x", FloatTensorType([None, 3]))]
    return Field(_exported(fitted, kinds, zipmap=False), {"x": x})


def neighbours() -> Field:
    rng = np.random.default_rng(4)
    x = np.round(rng.normal(0, 1, (60, 3)), 2).astype(np.float32)
    fitted = KNeighborsClassifier(3).fit(x[:24], (x[:24, 0] > x[:24, 1]).astype(int))
    kinds = [("x", FloatTensorType([None, 3]))]
    return Field(_exported(fitted, kinds, zipmap=False), {"x": x})


def codes() -> Field:
    """A ColumnTransformer of codes and numbers before boosting, with named columns."""
    rows = _people()
    names = list(rows)
    x = np.concatenate([rows[n].astype(np.float64) for n in names], axis=1)
    parts = [
        ("codes", OneHotEncoder(handle_unknown="ignore"), [4, 5]),
        ("numbers", StandardScaler(), [0, 1, 2, 3]),
    ]
    fitted = make_pipeline(
        ColumnTransformer(parts), GradientBoostingClassifier(n_estimators=15, random_state=0)
    ).fit(x, _defaults(rows))
    kinds = [
        (n, (Int64TensorType if rows[n].dtype.kind == "i" else FloatTensorType)([None, 1]))
        for n in names
    ]
    return Field(_exported(fitted, kinds, zipmap=False), rows)


def recommender() -> Field:
    """TopK's indices as the answer: the items that suit a user best."""
    rng = np.random.default_rng(6)
    items, width = 12, 4
    table = rng.normal(0, 1, (items, width))
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[1, {width}] user)
    => (float[1, 3] scores, int64[1, 3] chosen)
    <float[{width}, {items}] table = {{{", ".join(f"{v:.4f}" for v in table.T.reshape(-1))}}},
    int64[1] k = {{3}}>
    {{ all = MatMul(user, table) scores, chosen = TopK(all, k) }}"""
    model = bytes(parser.parse_model(text).SerializeToString())
    return Field(model, {"user": rng.normal(0, 1, (120, width)).astype(np.float32)})


def _iris() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order].astype(np.float32), y[order]


def discriminants() -> Field:
    """Its softmax is written as powers over their sum, of scores in the hundreds."""
    x, y = _iris()
    fitted = QuadraticDiscriminantAnalysis().fit(x, y)
    kinds = [("x", FloatTensorType([None, 4]))]
    return Field(_exported(fitted, kinds, zipmap=False), {"x": x})


def weighted_median() -> Field:
    """AdaBoost's regressor: predictions sorted, weights summed along them, one picked."""
    x, y = _prices()
    fitted = AdaBoostRegressor(n_estimators=4, random_state=0).fit(x, y)
    return Field(_exported(fitted, [("x", FloatTensorType([None, x.shape[1]]))]), {"x": x})


def mean_of_neighbours() -> Field:
    x, y = _prices(120)
    fitted = KNeighborsRegressor(3).fit(StandardScaler().fit_transform(x[:40]), y[:40])
    rows = StandardScaler().fit(x[:40]).transform(x).astype(np.float32)
    return Field(_exported(fitted, [("x", FloatTensorType([None, x.shape[1]]))]), {"x": rows})


def two_classifiers() -> Field:
    """Their probabilities are a sequence of tensors."""
    x, y = _iris()
    both = np.stack([y, y > 0], axis=1).astype(np.int64)
    fitted = MultiOutputClassifier(LogisticRegression(max_iter=300)).fit(x, both)
    return Field(_exported(fitted, [("x", FloatTensorType([None, 4]))], zipmap=False), {"x": x})


def dynamic_steps() -> Field:
    """A network as onnxruntime quantises it at run time."""
    rng = np.random.default_rng(3)
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 8] x) => (float y)
    { h = MatMul(x, a) r = Relu(h) y = MatMul(r, b) }"""
    model = parser.parse_model(text)
    for name, shape in (("a", (8, 16)), ("b", (16, 3))):
        weights = rng.normal(0, 0.4, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, name))
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/float.onnx")
        quantize_dynamic(f"{folder}/float.onnx", f"{folder}/int8.onnx")
        data = onnx.load(f"{folder}/int8.onnx").SerializeToString()
    return Field(data, {"x": rng.uniform(-1, 1, (120, 8)).astype(np.float32)})


def words() -> Field:
    """Embeddings of a text's tokens, the largest of each column, a linear layer."""
    rng = np.random.default_rng(7)
    text = """<ir_version: 8, opset_import: ["" : 17]> g (int64[1, 6] tokens) => (float y)
    { e = Gather(table, tokens) m = ReduceMax<axes = [1], keepdims = 0>(e) y = MatMul(m, w) }"""
    model = parser.parse_model(text)
    for name, shape in (("table", (20, 5)), ("w", (5, 3))):
        values = rng.normal(0, 1, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    tokens = rng.integers(0, 20, (120, 6))
    tokens[0, :2] = 0, 19
    return Field(model.SerializeToString(), {"tokens": tokens})


FIELD: dict[str, Callable[[], Field]] = {
    "codes and numbers": codes,
    "double precision": double_input,
    "naive Bayes": gaussian_nb,
    "support vectors on prices": svr_by_columns,
    "polynomials on prices": polynomial_ridge,
    "isolation forest": isolation_forest,
    "power transform": power_transformer,
    "nearest neighbours": neighbours,
    "recommender": recommender,
    "discriminants": discriminants,
    "weighted median": weighted_median,
    "mean of neighbours": mean_of_neighbours,
    "two classifiers": two_classifiers,
    "dynamic quantisation": dynamic_steps,
    "words": words,
}
