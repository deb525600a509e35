"""Trains estimators on bundled data sets and exports them: ``python export_estimators.py FOLDER``.

Needs scikit-learn, skl2onnx, xgboost, lightgbm and onnxmltools, which this project does not depend
on. Writes ``FOLDER/NAME/network.onnx`` with ``input.json`` and ``calibration.npz``, which is what
``python -m benchmarks.prove_folder FOLDER`` reads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    BayesianRidge,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

_SAMPLES = 200
_BOOSTED: dict[str, Any] = {"n_estimators": 8, "max_depth": 3, "random_state": 0}

CLASSIFIERS: dict[str, Any] = {
    "ada": AdaBoostClassifier(n_estimators=5, random_state=0),
    "bag": BaggingClassifier(n_estimators=5, random_state=0),
    "extra": ExtraTreesClassifier(10, max_depth=5, random_state=0),
    "forest": RandomForestClassifier(10, max_depth=5, random_state=0),
    "gb": GradientBoostingClassifier(n_estimators=10, random_state=0),
    "gnb": GaussianNB(),
    "knn": KNeighborsClassifier(),
    "kmeans": KMeans(3, random_state=0),
    "lda": LinearDiscriminantAnalysis(),
    "linsvc": LinearSVC(random_state=0),
    "logreg": LogisticRegression(max_iter=500),
    "logreg_pipe": make_pipeline(StandardScaler(), LogisticRegression()),
    "minmax": make_pipeline(MinMaxScaler(), LogisticRegression()),
    "mlp": MLPClassifier((16,), max_iter=500, random_state=0),
    "norml2": make_pipeline(Normalizer(), LogisticRegression()),
    "perc": Perceptron(random_state=0),
    "poly": make_pipeline(PolynomialFeatures(2), LogisticRegression(max_iter=200)),
    "ridgec": RidgeClassifier(),
    "sgd": SGDClassifier(random_state=0),
    "svc_prob": SVC(probability=True, random_state=0),
    "svc_rbf": SVC(),
    "tree": DecisionTreeClassifier(max_depth=5, random_state=0),
}
ON_CANCER = ("forest", "gb", "linsvc", "logreg", "mlp", "svc_rbf", "tree")
REGRESSORS: dict[str, Any] = {
    "bayes": BayesianRidge(),
    "forestr": RandomForestRegressor(10, max_depth=4, random_state=0),
    "gbr": GradientBoostingRegressor(n_estimators=10, random_state=0),
    "huber": HuberRegressor(),
    "lasso": Lasso(),
    "linreg": LinearRegression(),
    "pcar": make_pipeline(PCA(3), LinearRegression()),
    "ridge": Ridge(),
    "svr_lin": SVR(kernel="linear"),
    "svr_rbf": SVR(),
    "treer": DecisionTreeRegressor(max_depth=4, random_state=0),
}


def main(folder: Path) -> None:
    iris, cancer = load_iris(return_X_y=True), load_breast_cancer(return_X_y=True)
    diabetes = load_diabetes(return_X_y=True)
    for data, prefix, estimators in (
        (iris, "iris", CLASSIFIERS),
        (cancer, "bc", {k: CLASSIFIERS[k] for k in ON_CANCER}),
        (diabetes, "dia", REGRESSORS),
    ):
        x, y = data[0].astype(np.float32), data[1]
        for name, estimator in estimators.items():
            _save(folder / f"{prefix}_{name}", to_onnx(estimator.fit(x, y), x[:1]), x)
    text = np.array(["a", "b", "c"])[iris[1]]
    forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(iris[0], text)
    _save(folder / "iris_strings", to_onnx(forest, iris[0][:1].astype(np.float32)), iris[0])
    for suffix, data, kind in (("c", iris, "Classifier"), ("b", cancer, "Classifier"),
                               ("r", diabetes, "Regressor")):  # fmt: skip
        x, y = data[0].astype(np.float32), data[1]
        types = [("x", FloatTensorType([None, x.shape[1]]))]
        boosted = getattr(xgboost, f"XGB{kind}")(**_BOOSTED).fit(x, y)
        _save(folder / f"xgb{suffix}", onnxmltools.convert_xgboost(boosted, initial_types=types), x)
        light = getattr(lightgbm, f"LGBM{kind}")(**_BOOSTED, verbose=-1).fit(x, y)
        made = onnxmltools.convert_lightgbm(light, initial_types=types, zipmap=True)
        _save(folder / f"lgb{suffix}", made, x)


def _save(folder: Path, model: Any, data: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.onnx").write_bytes(model.SerializeToString())
    order = np.random.default_rng(0).permutation(len(data))[:_SAMPLES]
    rows = data[order].astype(np.float32)
    name = model.graph.input[0].name
    np.savez(folder / "calibration.npz", allow_pickle=False, **{name: rows[:, None, :]})
    (folder / "input.json").write_text(json.dumps({"inputs": {name: rows[7:8].tolist()}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
