"""Labels that are the sign of a score, which rounding decides next to zero."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from circuits.frontend.labels import signs_of, undecided
from circuits.rewrite import rewrite
from circuits.rewrite.compare import difference, run, settled
from circuits.rewrite.pipeline import TOLERANCE

_VECTORS, _FEATURES = 76, 4


def one_class(seed: int) -> tuple[bytes, list[dict[str, NDArray[np.float32]]]]:
    """A machine as skl2onnx exports it, and rows the first of which is on its boundary."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, 1, (_VECTORS, _FEATURES)).astype(np.float32)
    rows = rng.normal(0, 1, (20, _FEATURES)).astype(np.float32)
    gaps = ((vectors.astype(np.float64) - rows[0]) ** 2).sum(axis=1)
    machine = helper.make_node(
        "SVMRegressor",
        ["x"],
        ["raw"],
        domain="ai.onnx.ml",
        coefficients=[1.0] * _VECTORS,
        kernel_params=[0.25, 0.0, 3.0],
        kernel_type="RBF",
        n_supports=_VECTORS,
        post_transform="NONE",
        rho=[-float(np.exp(-0.25 * gaps).sum())],
        support_vectors=vectors.reshape(-1).tolist(),
    )
    nodes = [
        machine,
        helper.make_node("Cast", ["raw"], ["scores"], to=TensorProto.FLOAT),
        helper.make_node("Sign", ["scores"], ["sign"]),
        helper.make_node("Cast", ["sign"], ["label"], to=TensorProto.INT64),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "machine",
        [value("x", TensorProto.FLOAT, [1, _FEATURES])],
        [value("label", TensorProto.INT64, [1, 1]), value("scores", TensorProto.FLOAT, [1, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString()), [{"x": row[None]} for row in rows]


def test_a_row_on_the_boundary_may_have_either_label() -> None:
    other = 0
    for seed in range(12):
        data, samples = one_class(seed)
        made = rewrite(data, samples)
        before, after = run(data, samples), run(made.onnx, samples)
        assert all(np.array_equal(b[0], a[0]) for b, a in zip(before[1:], after[1:], strict=True))
        other += not np.array_equal(before[0][0], after[0][0])
    assert other, "floats were summed in one order"


def test_which_label_is_the_sign_of_which_score() -> None:
    data, samples = one_class(0)
    graph = onnx.load_model_from_string(data).graph
    assert signs_of(graph) == [(0, 1)]
    near = undecided(run(data, samples), [(0, 1)], TOLERANCE)
    assert [bool(own[0].any()) for own in near] == [True, *[False] * 19]
    graph.node[2].op_type = "Abs"
    assert signs_of(graph) == []


@pytest.mark.parametrize(
    ("score", "label", "same"),
    [(-1e-7, -1, True), (0.0, 0, True), (-1e-7, 1, True), (-1e-7, 0, False), (-1e-3, -1, False)],
)
def test_a_label_is_taken_as_it_was_only_next_to_zero_and_as_its_own_score_has_it(
    score: float, label: int, same: bool
) -> None:
    before = [[np.array([[1.0]]), np.array([[s]])] for s in (1e-7, 4.0, 8.0)]
    after = [[array.copy() for array in answer] for answer in before]
    after[0] = [np.array([[float(label)]]), np.array([[score]])]
    gap = difference(before, settled(before, after, [(0, 1)], TOLERANCE))
    assert (gap <= TOLERANCE) is same


def test_no_other_label_is_taken_as_it_was() -> None:
    """Away from zero a pass that turns labels is refused as ever."""
    before = [[np.array([[1.0]]), np.array([[s]])] for s in (0.5, 4.0, 8.0)]
    after = [[-answer[0], answer[1]] for answer in before]
    assert difference(before, settled(before, after, [(0, 1)], TOLERANCE)) > TOLERANCE


def test_answers_that_hardly_vary_are_compared_with_their_magnitude() -> None:
    """A last digit is all of the range of such, and more than is ever allowed of it."""
    before = [[np.array([0.5, 0.5 + 2.0**-25])]]
    assert difference(before, [[np.array([0.5, 0.5 + 2.0**-24])]]) < 1e-7
    assert difference(before, [[np.array([0.5, 0.51])]]) > 0.01
