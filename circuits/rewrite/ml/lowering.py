"""The pass: every ``ai.onnx.ml`` operator that has a form in standard ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from circuits.errors import UnsupportedOperator
from circuits.frontend.outputs import ML
from circuits.rewrite.edit import Builder, Expansion, expanding
from circuits.rewrite.ml import encoders, estimators, machines

Made = Callable[[ir.Node, Builder], Sequence[ir.Value] | ir.Value]

_OPERATORS: Mapping[str, Made] = {
    "ArrayFeatureExtractor": encoders.feature_extractor,
    "Binarizer": encoders.binarizer,
    "FeatureVectorizer": encoders.feature_vectorizer,
    "Imputer": encoders.imputer,
    "LabelEncoder": encoders.label_encoder,
    "LinearClassifier": estimators.linear_classifier,
    "LinearRegressor": estimators.linear_regressor,
    "Normalizer": encoders.normalizer,
    "OneHotEncoder": encoders.one_hot_encoder,
    "SVMClassifier": machines.svm_classifier,
    "SVMRegressor": machines.svm_regressor,
    "Scaler": encoders.scaler,
    "TreeEnsembleClassifier": estimators.tree_classifier,
    "TreeEnsembleRegressor": estimators.tree_regressor,
}


def _named(made: Made) -> Expansion:
    """Turns a contradiction in a node's attributes into an error that names the node."""

    def expansion(node: ir.Node, build: Builder) -> Sequence[ir.Value] | ir.Value:
        try:
            return made(node, build)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UnsupportedOperator.at(
                node.op_type,
                node.name or "",
                str(error),
                advice="Export the estimator with numeric features and labels.",
                domain=ML,
            ) from error

    return expansion


LOWER_ESTIMATORS = expanding(
    {op: _named(made) for op, made in _OPERATORS.items()},
    domain=ML,
    name="lower-estimators",
    version=5,
    purpose="Expands trees, linear models, SVMs and encoders of ai.onnx.ml into tensor operators.",
    reference="ONNX-ML operator specification; onnxruntime's tree aggregators for two classes",
)
