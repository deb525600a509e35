"""Estimators of ai.onnx.ml become tensor operators that give onnxruntime's answers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes
from sklearn.ensemble import IsolationForest
from sklearn.tree import DecisionTreeRegressor

from circuits.compiler.inspect import inspect_model
from circuits.errors import UnsupportedOperator
from circuits.format.tensors import quantised
from circuits.lower import BitWidths, lower, run_integers
from circuits.lower.thresholds import near_thresholds
from circuits.rewrite import rewrite
from circuits.rewrite.compare import run
from tests.cases.estimators import ML, iris, iris_tree, model, tree_attributes


def samples(x: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [{"x": row[None]} for row in x]


def test_a_tree_with_its_zipmap_gives_labels_and_scores_as_tensors() -> None:
    x, y = iris()
    result = rewrite(iris_tree(classlabels_int64s=[0, 1, 2]), samples(x[::7]))
    assert [p.name for p in result.passes][:1] == ["encode-outputs"]
    assert [(o.name, o.shape) for o in result.signature.outputs] == [
        ("label", (1,)),
        ("probabilities", (1, 3)),
    ]
    labels = [r[0][0] for r in run(result.onnx, samples(x))]
    assert np.mean(labels == y) > 0.97


def test_missing_values_are_asked_for_in_an_operator_set_without_where() -> None:
    """As onnxmltools writes LightGBM's regressor: a tree and an Identity, of operator set 8."""
    x, y = iris()
    fitted = DecisionTreeRegressor(max_depth=3, random_state=0).fit(x, y).tree_
    attributes = tree_attributes(fitted, fitted.value[:, 0, :], "target")
    tracks = [0, 1] + [0] * (fitted.node_count - 2)
    tree = helper.make_node("TreeEnsembleRegressor", ["x"], ["t"], domain=ML, n_targets=1,
                            nodes_missing_value_tracks_true=tracks, **attributes)  # fmt: skip
    made = onnx.load_model_from_string(
        model([tree, helper.make_node("Identity", ["t"], ["y"])], 4, {"y": TensorProto.FLOAT})
    )
    made.opset_import[0].version = 8
    found = rewrite(made.SerializeToString())
    assert [i.name for i in found.signature.inputs] == ["x", "x/missing"]


def test_text_labels_become_places_in_their_list() -> None:
    data = iris_tree(classlabels_strings=["setosa", "versicolor", "virginica"])
    summary = inspect_model(data)
    assert "output 'label': the place in [setosa, versicolor, virginica]" in summary.notes
    assert summary.signature.outputs[0].dtype == "int64"
    rewrite(data, samples(iris()[0][:5]))


def test_a_trees_integers_decide_as_the_tree_does() -> None:
    x, _ = iris()
    result = rewrite(iris_tree(classlabels_int64s=[0, 1, 2]), samples(x[::7]))
    # The data has one decimal; thresholds lie between its values.
    variant = lower(result.onnx, BitWidths(input=6, weights=(8,)), {"x": (0.0, 8.0)})
    out = run_integers(variant, {"x": quantised(x[:, None, :], variant.input_scales[0])})
    expected = [r[0][0] for r in run(result.onnx, samples(x))]
    np.testing.assert_array_equal(out[0].reshape(-1), expected)
    assert variant.output_scales[0] == 0


def test_a_regression_tree() -> None:
    x, y = load_diabetes(return_X_y=True)
    x = x.astype(np.float32)
    fitted = DecisionTreeRegressor(max_depth=5, random_state=0).fit(x, y).tree_
    attributes = tree_attributes(fitted, fitted.value[:, :, 0], "target")
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain=ML,
        n_targets=1,
        base_values=[3.5],
        **attributes,
    )
    result = rewrite(model([node], 10, {"y": TensorProto.FLOAT}), samples(x[::20]))
    assert "lower-estimators" in [p.name for p in result.passes]
    assert all(n.domain == "" for n in onnx.load_model_from_string(result.onnx).graph.node)


@pytest.mark.parametrize("post", ["LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("opset", [13, 21])
def test_scores_in_the_thousands_need_no_table_of_thousands(post: str, opset: int) -> None:
    """As in a logistic regression on unscaled features: the nonlinear part is within ±16."""
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain=ML,
        coefficients=[900.0, -700.0, 300.0, -800.0, 500.0, 10.0],
        intercepts=[1.0, 2.0, 3.0],
        classlabels_ints=[0, 1, 2],
        post_transform=post,
    )
    outputs = {"label": TensorProto.INT64, "scores": TensorProto.FLOAT}
    data = onnx.load_model_from_string(model([node], 2, outputs))
    data.opset_import[0].version = opset
    rows = np.array([[1.0, 2.0], [-3.0, 0.5], [0.001, 0.0]], dtype=np.float32)
    result = rewrite(data.SerializeToString(), samples(rows))
    bent = {"LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax"}[post]
    written = onnx.load_model_from_string(result.onnx).graph.node
    makers = {name: n.op_type for n in written for name in n.output}
    assert [makers[n.input[0]] for n in written if n.op_type == bent] == ["Clip"]


@pytest.mark.parametrize(
    ("trees", "features", "drawn", "opset"),
    [
        (4, 2, 64, 12),
        pytest.param(10, 5, 32, 15, marks=pytest.mark.long),
        pytest.param(100, 4, 256, 17, marks=pytest.mark.long),
        pytest.param(25, 12, "auto", 18, marks=pytest.mark.long),
    ],
)
def test_an_isolation_forest_is_one_ensemble(
    trees: int, features: int, drawn: int | str, opset: int
) -> None:
    """Thirty operators for each tree become its leaves, however many trees there are."""
    rng = np.random.default_rng(trees)
    x = rng.normal(size=(300, features)).astype(np.float32)
    fitted = IsolationForest(n_estimators=trees, max_samples=drawn, random_state=0).fit(x)
    data = to_onnx(fitted, x[:1], target_opset={"": opset, "ai.onnx.ml": 3}).SerializeToString()
    name = onnx.load_model_from_string(data).graph.input[0].name
    rows = [{name: row[None]} for row in x[:60]]
    found = rewrite(data, rows)
    assert "fold-leaves" in [p.name for p in found.passes]
    assert len(onnx.load_model_from_string(found.onnx).graph.node) < 100
    accepted = {name: (float(x.min()), float(x.max()))}
    variant = lower(found.onnx, BitWidths(input=16, weights=(12,), table=10), accepted)
    feeds = {name: quantised(x[:60, None, :], variant.input_scales[0])}
    got = run_integers(variant, feeds)[1].reshape(-1) / 2.0 ** variant.output_scales[1]
    want = np.array([r[1].reshape(-1)[0] for r in run(data, rows)])
    np.testing.assert_allclose(got, want, atol=2e-3)


def test_calibrated_probabilities_are_refused_with_what_to_fit() -> None:
    node = helper.make_node(
        "SVMClassifier", ["x"], ["label", "scores"], domain=ML, name="svc", prob_a=[1.0]
    )
    outputs = {"label": TensorProto.INT64, "scores": TensorProto.FLOAT}
    with pytest.raises(UnsupportedOperator, match="'svc'") as caught:
        inspect_model(model([node], 2, outputs))
    assert "probability=False" in caught.value.advice


@pytest.mark.parametrize("post", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("classes", [2, 3])
def test_linear_classifiers(post: str, classes: int) -> None:
    rng = np.random.default_rng(0)
    rows = 1 if classes == 2 else classes
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain=ML,
        coefficients=rng.normal(size=rows * 4).tolist(),
        intercepts=rng.normal(size=rows).tolist(),
        classlabels_ints=[5, 9, 2][:classes],
        multi_class=0,
        post_transform=post,
    )
    data = model([node], 4, {"label": TensorProto.INT64, "scores": TensorProto.FLOAT})
    rewrite(data, samples(rng.normal(size=(20, 4)).astype(np.float32)))


@pytest.mark.parametrize("kernel", ["LINEAR", "RBF", "POLY", "SIGMOID"])
def test_support_vector_regression(kernel: str) -> None:
    rng = np.random.default_rng(0)
    node = helper.make_node(
        "SVMRegressor",
        ["x"],
        ["y"],
        domain=ML,
        kernel_type=kernel,
        kernel_params=[0.3, 0.5, 3.0],
        n_supports=5,
        support_vectors=rng.normal(size=20).tolist(),
        coefficients=rng.normal(size=5).tolist(),
        rho=[0.25],
    )
    data = model([node], 4, {"y": TensorProto.FLOAT})
    rewrite(data, samples(rng.normal(size=(20, 4)).astype(np.float32)))


@pytest.mark.parametrize(
    ("counts", "labels"), [([3, 2], [0, 1]), ([2, 2, 3], [1, 2, 3]), ([1, 2, 1, 2], [7, 2, 5, 3])]
)
def test_support_vector_classification(counts: list[int], labels: list[int]) -> None:
    """Labels are held to onnxruntime's too: rewriting fails where one differs."""
    rng = np.random.default_rng(0)
    vectors, classes = sum(counts), len(counts)
    node = helper.make_node(
        "SVMClassifier",
        ["x"],
        ["label", "scores"],
        domain=ML,
        kernel_type="RBF",
        kernel_params=[0.3, 0.0, 3.0],
        vectors_per_class=counts,
        support_vectors=rng.normal(size=4 * vectors).tolist(),
        coefficients=rng.normal(size=vectors * (classes - 1)).tolist(),
        rho=rng.normal(scale=0.1, size=classes * (classes - 1) // 2).tolist(),
        classlabels_ints=labels,
    )
    data = model([node], 4, {"label": TensorProto.INT64, "scores": TensorProto.FLOAT})
    x = rng.normal(size=(60, 4)).astype(np.float32)
    result = rewrite(data, samples(x))
    assert len({int(r[0][0]) for r in run(result.onnx, samples(x))}) > 1


def test_a_summary_finds_outputs_that_only_the_passes_give_a_shape() -> None:
    """Exporters leave the batch of a classifier's outputs open, and inference knows no tree."""
    written = onnx.load_model_from_string(iris_tree(classlabels_int64s=[0, 1, 2]))
    for opset in written.opset_import:
        opset.version = 1 if opset.domain == ML else opset.version
    summary = inspect_model(written.SerializeToString())
    assert [o.shape for o in summary.signature.outputs] == [(1,), (1, 3)]


def test_preprocessing() -> None:
    nodes = [
        helper.make_node(
            "Scaler", ["x"], ["s"], domain=ML, offset=[1.0, 2.0, 3.0, 4.0], scale=[2.0] * 4
        ),
        helper.make_node("Normalizer", ["s"], ["n"], domain=ML, norm="L2"),
        helper.make_node("Binarizer", ["s"], ["b"], domain=ML, threshold=0.5),
        helper.make_node("FeatureVectorizer", ["n", "b"], ["y"], domain=ML, inputdimensions=[4, 4]),
    ]
    data = model(nodes, 4, {"y": TensorProto.FLOAT})
    rewrite(data, samples(np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)))


def test_an_estimator_without_a_form_is_refused_by_name() -> None:
    node = helper.make_node(
        "SVMClassifier",
        ["x"],
        ["label", "y"],
        domain=ML,
        name="machine",
        classlabels_ints=[0, 1],
        coefficients=[1.0],
        rho=[0.0],
        kernel_type="LINEAR",
        kernel_params=[0.0, 0.0, 0.0],
    )
    data = model([node], 4, {"label": TensorProto.INT64, "y": TensorProto.FLOAT})
    with pytest.raises(UnsupportedOperator, match="SVMClassifier at node 'machine'"):
        inspect_model(data)


def test_probabilities_that_add_up_to_one_are_not_divided_by_their_sum() -> None:
    """As skl2onnx writes LogisticRegression: a classifier with softmax, then an L1 norm."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "raw"],
            domain=ML,
            coefficients=rng.normal(size=12).tolist(),
            intercepts=[0.1, 0.2, 0.3],
            classlabels_ints=[0, 1, 2],
            post_transform="SOFTMAX",
        ),
        helper.make_node("Normalizer", ["raw"], ["y"], domain=ML, norm="L1"),
    ]
    data = model(nodes, 4, {"label": TensorProto.INT64, "y": TensorProto.FLOAT})
    result = rewrite(data, samples(rng.normal(size=(20, 4)).astype(np.float32)))
    assert b"Div" not in result.onnx


def test_samples_within_one_quantum_of_a_threshold_are_counted() -> None:
    """Iris is measured in millimetres, noted in centimetres; thresholds lie between its values."""
    x, _ = iris()
    result = rewrite(iris_tree(classlabels_int64s=[0, 1, 2]), samples(x[::7]))
    variant = lower(result.onnx, BitWidths(input=6, weights=(8,)), {"x": (0.0, 8.0)})
    fine = near_thresholds(result.onnx, samples(x), variant.compared)
    assert fine is not None
    assert (fine.samples, fine.within_one_quantum) == (150, 0)
    assert fine.comparisons > 3
    coarse = lower(result.onnx, BitWidths(input=2, weights=(8,)), {"x": (0.0, 8.0)})
    rough = near_thresholds(result.onnx, samples(x), coarse.compared)
    uniform = near_thresholds(result.onnx, samples(x), 0.25)
    assert rough is not None
    assert rough == uniform
    assert 0 < rough.within_one_quantum < 150


@pytest.mark.parametrize("op", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
@pytest.mark.parametrize("bits", [2, 4, 5, 8])
def test_a_value_equal_to_its_threshold_stays_so_in_integers(op: str, bits: int) -> None:
    """A tree's thresholds are midpoints, and a midpoint of two values may be a third."""
    values = np.array([[6.6, -6.6, 1.2, 1.7]], dtype=np.float32)
    levels = values.copy()
    # skl2onnx writes x < 1.7 as x <= the float before it, and so on.
    if op in ("LessOrEqual", "Greater"):
        levels[0, 3] = np.nextafter(np.float32(1.7), np.float32(-np.inf))
    else:
        levels[0, 3] = np.nextafter(np.float32(1.7), np.float32(np.inf))
    nodes = [
        helper.make_node("Constant", [], ["level"], value=numpy_helper.from_array(levels)),
        helper.make_node(op, ["x", "level"], ["truth"]),
        helper.make_node("Cast", ["truth"], ["y"], to=TensorProto.FLOAT),
    ]
    data = rewrite(model(nodes, 4, {"y": TensorProto.FLOAT})).onnx
    step = 2.0**-bits
    x = np.concatenate([values, values + 1.01 * step, values - 1.01 * step]).astype(np.float32)
    variant = lower(data, BitWidths(input=bits, weights=(8,)), {"x": (-9.0, 9.0)})
    (got,) = run_integers(variant, {"x": quantised(x[:, None, :], variant.input_scales[0])})
    want = [r[0] for r in run(data, samples(x))]
    np.testing.assert_array_equal(got.reshape(-1), np.ravel(want) * 2 ** variant.output_scales[0])
