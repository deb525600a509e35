"""The zoo's models are what their definitions say, and what scikit-learn fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper, parser
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.svm import SVC

from benchmarks.errors import UnknownModel
from benchmarks.zoo import classical, neural
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import build_fixture, reference_outputs
from benchmarks.zoo.layers import Conv, Dense, Flatten, Pool, Relu, Sigmoid
from benchmarks.zoo.network import Network, squared_error
from benchmarks.zoo.zoo import ENTRIES, choose
from circuits.errors import ModelError
from circuits.rewrite.compare import run


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (neural.mlp(196, 25), 5_185),
        (neural.mlp(784, 56), 44_530),
        (neural.lenet5(0), 44_426),
        (neural.lenet5(2), 61_706),
        (neural.np_eng(32), 5_249),
        (neural.np_eng(128), 20_993),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else str(value),
)
def test_networks_have_as_many_parameters_as_published(network: Network, parameters: int) -> None:
    assert network.parameters == parameters


#: These take up to half a minute each to train; a run of the benchmarks shows their accuracy, and
#: the tests below check their layers.
LONG_TO_TRAIN = ("cnn-28-6-16-10", "lenet5", "lenet5-padded", "mlp-784-56-10", "mlp-784-128-10")


@pytest.mark.parametrize(
    "entry",
    [pytest.param(e, id=e.name) for e in ENTRIES if e.name not in LONG_TO_TRAIN],
)
def test_every_model_builds_runs_and_is_worth_measuring(entry: Entry, tmp_path: Path) -> None:
    fixture = build_fixture(entry, tmp_path)
    assert np.isfinite(fixture.reference).all()
    assert np.ptp(fixture.reference) > 0.05  # an output that hardly varies would prove nothing
    if fixture.labels is not None:
        assert (fixture.reference.argmax(1) == fixture.labels).mean() >= 0.95


def test_the_same_seed_gives_the_same_model() -> None:
    assert neural._autoencoder().onnx == neural._autoencoder().onnx


def test_the_slopes_that_training_follows_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(3)
    layers = [
        *(Conv(2, 3, 3, rng, stride=2, pad=1), Relu(), Pool("AveragePool")),
        *(Conv(3, 4, 3, rng, pad=1), Pool("MaxPool"), Flatten()),
        *(Dense(16, 3, rng), Sigmoid(), Dense(3, 2, rng)),
    ]
    network = Network("check", (2, 16, 16), layers)
    x = rng.normal(0, 1, (5, 2, 16, 16)).astype(np.float32)
    targets = rng.normal(0, 1, (5, 2)).astype(np.float32)

    def loss() -> float:
        return float(((network.forward(x).astype(np.float64) - targets) ** 2).sum() / 2 / len(x))

    back = squared_error(targets)(network.forward(x), np.arange(5))
    for layer in reversed(network.layers):
        back = layer.backward(back)
    for layer in network.layers:
        for weight, slope in zip(layer.weights, layer.slopes, strict=True):
            at = tuple(rng.integers(0, n) for n in weight.shape)
            kept, step = weight[at], np.float32(1e-2)
            weight[at] = kept + step
            above = loss()
            weight[at] = kept - step
            below = loss()
            weight[at] = kept
            assert slope[at] == pytest.approx((above - below) / (2 * step), rel=0.05, abs=2e-4)


def test_an_exported_network_computes_what_it_was_trained_to() -> None:
    network = neural.lenet5(2)
    x = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    exported = reference_outputs(network.to_onnx(), {"x": x[:, None]})
    np.testing.assert_allclose(exported, network.forward(x), rtol=1e-4, atol=1e-4)


def _breast_cancer() -> classical._Table:
    return classical._Table.of(load_breast_cancer())


def _wine() -> classical._Table:
    return classical._Table.of(load_wine())


def test_a_forest_written_as_products_is_the_forest() -> None:
    table = _wine()
    fitted = RandomForestClassifier(
        n_estimators=classical.TREES, max_depth=classical.TREE_DEPTH, random_state=0
    ).fit(table.train, table.train_labels)
    answers = _answers(classical.random_forest().onnx, table.test)
    np.testing.assert_allclose(answers, fitted.predict_proba(table.test), atol=1e-5)


def test_boosted_trees_written_as_products_are_the_boosted_trees() -> None:
    table = _wine()
    fitted = GradientBoostingClassifier(
        n_estimators=classical.STAGES,
        max_depth=classical.STAGE_DEPTH,
        learning_rate=0.3,
        random_state=0,
    ).fit(table.train, table.train_labels)
    answers = _answers(classical.gradient_boosting().onnx, table.test)
    np.testing.assert_allclose(answers, fitted.decision_function(table.test), atol=1e-5)


def test_support_vectors_written_as_tensors_decide_alike() -> None:
    table = _breast_cancer()
    fitted = SVC(C=1.0, gamma=0.01).fit(table.train, table.train_labels)
    answers = _answers(classical.support_vectors().onnx, table.test)
    np.testing.assert_allclose(answers[:, 1], fitted.decision_function(table.test), atol=1e-4)


def test_an_unknown_model_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(UnknownModel) as caught:
        choose(["gpt"], quick=False)
    assert "lenet5" in caught.value.advice


def _answers(model: bytes, features: np.ndarray) -> np.ndarray:
    return reference_outputs(model, {"x": features[:, None]})


def test_a_model_that_onnxruntime_refuses_is_compared_with_its_repaired_form() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 2] x) => (float[1, 2] y)
    { i = Cast<to = 3>(x) m = MatMul(i, w) y = Cast<to = 1>(m) }"""
    model = parser.parse_model(text)
    weights = np.array([[1, -2], [3, 4]], dtype=np.int8)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    data = model.SerializeToString()
    x = np.array([[[1, 2]], [[-3, 5]]], dtype=np.float32)
    with pytest.raises(ModelError):
        run(data, [{"x": x[0]}])
    np.testing.assert_array_equal(reference_outputs(data, {"x": x}), (x @ weights).reshape(2, 2))
