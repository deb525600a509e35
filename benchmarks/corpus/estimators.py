"""scikit-learn's estimators that skl2onnx converts, and boosted trees of other libraries.

``make(FOLDER)`` fits every one on data bundled with scikit-learn (iris; for regressors diabetes in
the units it was measured in) and exports it. It returns those that could not be exported, with the
exporter's words.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import onnx
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common import _container
from sklearn.base import is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

from benchmarks.corpus.writing import save_rows

_FEW: dict[str, Any] = {"n_estimators": 8, "max_depth": 3, "random_state": 0}
_LOGISTIC, _TREE = LogisticRegression(), DecisionTreeClassifier(max_depth=3, random_state=0)
_RIDGE, _SHALLOW = Ridge(), DecisionTreeRegressor(max_depth=3, random_state=0)

#: Arguments without which an estimator is not of a size, or not of a kind, that has any use here.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "AdaBoostClassifier": {"n_estimators": 5},
    "AdaBoostRegressor": {"n_estimators": 5},
    "BaggingClassifier": {"estimator": _TREE, "n_estimators": 5},
    "BaggingRegressor": {"estimator": _SHALLOW, "n_estimators": 5},
    "CalibratedClassifierCV": {"estimator": _LOGISTIC, "cv": 2},
    "ColumnTransformer": {
        "transformers": [("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), [2, 3])]
    },
    "DecisionTreeClassifier": {"max_depth": 4},
    "DecisionTreeRegressor": {"max_depth": 4},
    "ExtraTreesClassifier": _FEW,
    "ExtraTreesRegressor": _FEW,
    "ExtraTreeClassifier": {"max_depth": 4},
    "ExtraTreeRegressor": {"max_depth": 4},
    "FeatureUnion": {"transformer_list": [("a", StandardScaler()), ("b", MinMaxScaler())]},
    "FunctionTransformer": {},
    "GaussianMixture": {"n_components": 3},
    "BayesianGaussianMixture": {"n_components": 3},
    "GaussianRandomProjection": {"n_components": 2},
    "GenericUnivariateSelect": {"mode": "k_best", "param": 2},
    "GradientBoostingClassifier": _FEW,
    "GradientBoostingRegressor": _FEW,
    "GridSearchCV": {"estimator": _LOGISTIC, "param_grid": {"C": [0.1, 1.0]}},
    "HistGradientBoostingClassifier": {"max_iter": 8, "max_depth": 3},
    "HistGradientBoostingRegressor": {"max_iter": 8, "max_depth": 3},
    "IsolationForest": {"n_estimators": 10, "max_samples": 32},
    "IncrementalPCA": {"n_components": 2},
    "KBinsDiscretizer": {"encode": "onehot-dense", "quantile_method": "averaged_inverted_cdf"},
    "KMeans": {"n_clusters": 3},
    "KernelPCA": {"n_components": 2, "kernel": "rbf"},
    "LocalOutlierFactor": {"novelty": True},
    "MLPClassifier": {"hidden_layer_sizes": (16,), "max_iter": 400},
    "MLPRegressor": {"hidden_layer_sizes": (16,), "max_iter": 400},
    "MiniBatchKMeans": {"n_clusters": 3},
    "MultiOutputClassifier": {"estimator": _LOGISTIC},
    "MultiOutputRegressor": {"estimator": _RIDGE},
    "NearestNeighbors": {"radius": None},
    "OneVsOneClassifier": {"estimator": _LOGISTIC},
    "OneVsRestClassifier": {"estimator": _LOGISTIC},
    "PCA": {"n_components": 2},
    "Pipeline": {"steps": [("scale", StandardScaler()), ("fit", _LOGISTIC)]},
    "QuantileTransformer": {"n_quantiles": 20},
    "RadiusNeighborsClassifier": {"radius": 4.0},
    "RadiusNeighborsRegressor": {"radius": 500.0},
    "RandomForestClassifier": _FEW,
    "RandomForestRegressor": _FEW,
    "RandomTreesEmbedding": {"n_estimators": 4, "max_depth": 3, "sparse_output": False},
    "RFE": {"estimator": _LOGISTIC, "n_features_to_select": 2},
    "RFECV": {"estimator": _LOGISTIC},
    "SelectFromModel": {"estimator": _LOGISTIC},
    "SelectKBest": {"k": 2},
    "StackingClassifier": {"estimators": [("a", _LOGISTIC), ("b", _TREE)]},
    "StackingRegressor": {"estimators": [("a", _RIDGE), ("b", _SHALLOW)]},
    "TunedThresholdClassifierCV": {"estimator": _LOGISTIC},
    "VotingClassifier": {
        "estimators": [("a", _LOGISTIC), ("b", _TREE)],
        "voting": "soft",
        "flatten_transform": False,
    },
    "VotingRegressor": {"estimators": [("a", _RIDGE), ("b", _SHALLOW)]},
}
#: Whose rows are not measurements: documents, pairs, labels, kernels.
NO_TABLE = {"CountVectorizer", "TfidfVectorizer", "DictVectorizer", "FeatureHasher", "LabelEncoder",
            "LabelBinarizer"}  # fmt: skip
_TWO_CLASSES = {"GaussianProcessClassifier", "TargetEncoder", "TunedThresholdClassifierCV"}
_COUNTS = {"CategoricalNB", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}

#: Pipelines as people write them.
PIPELINES: dict[str, Callable[[], Any]] = {
    "scaler, logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "normaliser, logistic regression": lambda: make_pipeline(Normalizer(), LogisticRegression()),
    "polynomial features, logistic regression": lambda: make_pipeline(
        PolynomialFeatures(2), LogisticRegression(max_iter=500)
    ),
    "imputer, scaler, RBF kernel": lambda: make_pipeline(SimpleImputer(), StandardScaler(), SVC()),
    "logarithm, best two columns, forest": lambda: make_pipeline(
        FunctionTransformer(), SelectKBest(k=2), RandomForestClassifier(5, max_depth=3)
    ),
    "one-hot codes, linear regression": lambda: make_pipeline(
        ColumnTransformer([("a", OneHotEncoder(), [0]), ("b", StandardScaler(), [1, 2, 3])]),
        LinearRegression(),
    ),
}


def _plainly(op: str, *args: Any, **attributes: Any) -> Any:
    """onnx's ``make_node``, for attributes that skl2onnx leaves as numpy's numbers and as booleans,
    as it does for histogram gradient boosting."""
    plain: dict[str, Any] = {
        name: [_plain_number(v) for v in values]
        if isinstance(values, list | np.ndarray)
        else values
        for name, values in attributes.items()
    }
    return onnx.helper.make_node(op, *args, **plain)


def _plain_number(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, bool) else value


def make(folder: Path) -> dict[str, str]:
    """Fits and exports all of them. Returns what could not be, with the reason, by name."""
    failed = {}
    _container.make_node = _plainly
    for name, one in (*_plain(), *_pipelines(), *_boosted()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                save_rows(folder / name, *one())
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return failed


def _plain() -> Iterator[tuple[str, Callable[[], tuple[Any, np.ndarray]]]]:
    """Every estimator with a converter, by kind and class."""
    for name, kind in all_estimators():
        if name in NO_TABLE or kind not in sklearn_operator_name_map:
            continue

        def one(name: str = name, kind: Any = kind) -> tuple[Any, np.ndarray]:
            arguments = dict(ARGUMENTS.get(name, {}))
            estimator = kind(**arguments)
            if "random_state" in estimator.get_params():
                estimator.set_params(random_state=0)
            x, y = _data(name, estimator)
            return _converted(estimator.fit(x, y), x)

        yield f"sklearn-{name}", one


def _data(name: str, estimator: Any) -> tuple[np.ndarray, np.ndarray]:
    iris = load_iris(return_X_y=True)
    x, y = iris[0].astype(np.float32), iris[1]
    if is_regressor(estimator) and name != "CalibratedClassifierCV":
        x, y = load_diabetes(return_X_y=True, scaled=False)
        x = x.astype(np.float32)
        if name.startswith("MultiTask") or name in ("MultiOutputRegressor", "PLSRegression"):
            y = np.stack([y, x[:, 2]], axis=1)
    elif name == "MultiOutputClassifier":
        y = np.stack([y, y > 0], axis=1).astype(np.int64)
    elif name in _TWO_CLASSES:
        y = (y > 0).astype(np.int64)
    elif name == "KernelCenterer":
        x, y = x[:20] @ x[:20].T, y[:20]
    if name in _COUNTS:
        x = np.round(x)
    return x, y


def _converted(estimator: Any, x: np.ndarray) -> tuple[Any, np.ndarray]:
    options = {"zipmap": False} if is_classifier(estimator) else None
    # The opset before trees got attributes that no exporter writes yet.
    opsets = {"": 18, "ai.onnx.ml": 3}
    try:
        return to_onnx(estimator, x[:1], options=options, target_opset=opsets), x
    except (NameError, ValueError):  # an estimator without this option
        return to_onnx(estimator, x[:1], target_opset=opsets), x


def _pipelines() -> Iterator[tuple[str, Callable[[], tuple[Any, np.ndarray]]]]:
    x, y = load_iris(return_X_y=True)
    rows = x.astype(np.float32)
    for number, (name, build) in enumerate(PIPELINES.items()):
        data = np.round(rows) if "one-hot" in name else rows

        def one(build: Any = build, data: np.ndarray = data) -> tuple[Any, np.ndarray]:
            return _converted(build().fit(data, y), data)

        yield f"pipeline-{number}-{name.replace(', ', '-').replace(' ', '_')}", one
    words = np.array(["setosa", "versicolor", "virginica"])[y]

    def labelled() -> tuple[Any, np.ndarray]:
        forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(rows, words)
        return to_onnx(forest, rows[:1]), rows

    yield "pipeline-forest-text_labels_and_ZipMap", labelled


def _boosted() -> Iterator[tuple[str, Callable[[], tuple[Any, np.ndarray]]]]:
    for suffix, load, kind in (
        ("three_classes", load_iris, "Classifier"),
        ("two_classes", load_breast_cancer, "Classifier"),
        ("regressor", load_diabetes, "Regressor"),
    ):
        loaded = load(return_X_y=True, **({"scaled": False} if kind == "Regressor" else {}))
        x, y = loaded[0].astype(np.float32), loaded[1]
        types = [("x", FloatTensorType([None, x.shape[1]]))]

        def of_xgboost(x: Any = x, y: Any = y, kind: str = kind, types: Any = types) -> Any:
            fitted = getattr(xgboost, f"XGB{kind}")(**_FEW).fit(x, y)
            return onnxmltools.convert_xgboost(fitted, initial_types=types), x

        def of_lightgbm(x: Any = x, y: Any = y, kind: str = kind, types: Any = types) -> Any:
            fitted = getattr(lightgbm, f"LGBM{kind}")(**_FEW, verbose=-1).fit(x, y)
            return onnxmltools.convert_lightgbm(fitted, initial_types=types, zipmap=True), x

        def of_catboost(x: Any = x, y: Any = y, kind: str = kind, suffix: str = suffix) -> Any:
            import tempfile

            fitted = getattr(catboost, f"CatBoost{kind}")(
                iterations=8, depth=3, random_seed=0, verbose=0, allow_writing_files=False
            ).fit(x, y)
            with tempfile.TemporaryDirectory() as place:
                fitted.save_model(f"{place}/{suffix}.onnx", format="onnx")
                return onnx.load(f"{place}/{suffix}.onnx"), x

        yield f"xgboost-{suffix}", of_xgboost
        yield f"lightgbm-{suffix}", of_lightgbm
        yield f"catboost-{suffix}", of_catboost
