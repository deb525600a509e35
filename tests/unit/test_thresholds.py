"""Comparisons with constants are decided on integers as the model decides them on floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, parser

from circuits.calibration.samples import draw
from circuits.compiler.recipe import Recipe
from circuits.errors import CircuitNotFaithful
from circuits.format.profile import Visibility
from circuits.format.tensors import quantised
from circuits.lower import BitWidths, lower, run_integers
from circuits.lower.bits import choose_bits
from circuits.lower.thresholds import near_counts, near_graph, near_thresholds
from circuits.plan.graphs import float_graph
from circuits.rebuild import recompiled_graph
from circuits.rewrite import rewrite
from circuits.rewrite.compare import run
from tests.cases.committed_lowering import answers, lowered
from tests.cases.tiny import model

OPERATORS = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def comparing(op: str, levels: list[float]) -> bytes:
    """``y = x op levels``: x is float32 [1, n], y float32 [1, n]."""
    wide = len(levels)
    return model(
        [
            helper.make_node(op, ["x", "t"], ["truth"]),
            helper.make_node("Cast", ["truth"], ["y"], to=TensorProto.FLOAT),
        ],
        {"x": (TensorProto.FLOAT, [1, wide])},
        {"y": (TensorProto.FLOAT, [1, wide])},
        {"t": np.array([levels], dtype=np.float32)},
    )


def samples(x: NDArray[Any]) -> list[dict[str, NDArray[Any]]]:
    return [{"x": row[None].astype(np.float32)} for row in x]


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize(
    "levels",
    [[0.5, -0.25], [41250.0, 0.8519], [2.0**24 + 2, 1.0], [-3.0e7, 0.1], [0.0, 5.0]],
    ids=["halves", "dollars and ratios", "beyond 24 bits", "negative", "zero"],
)
def test_equal_to_a_threshold_is_decided_as_the_model_does(op: str, levels: list[float]) -> None:
    """On the thresholds, and a hundredth part and more away from them, at every magnitude."""
    data = rewrite(comparing(op, levels)).onnx
    t = np.array(levels)
    off = np.maximum(np.abs(t), 1.0) * np.array([[0.0], [0.01], [-0.01], [0.5], [-0.5]])
    x = np.asarray(t + off, dtype=np.float32)
    bounds = {"x": (float(x.min()) - 1, float(x.max()) + 1)}
    chosen = choose_bits(data, samples(x), bounds, 0.01, 0.99)[0]
    variant = lower(data, chosen, bounds)
    (got,) = run_integers(variant, {"x": quantised(x[:, None], variant.input_scales[0])})
    want = [answer[0] for answer in run(data, samples(x))]
    np.testing.assert_array_equal(np.ravel(got), np.ravel(want) * 2.0 ** variant.output_scales[0])
    for shown in (True, False):
        graph, made = lowered(comparing(op, levels), samples(x), bounds, shown=shown)
        assert made.inputs[0].scale == chosen.input
        np.testing.assert_array_equal(np.ravel(answers(graph, made, samples(x))[0]), np.ravel(want))


def test_a_wrong_decision_is_near_a_threshold_and_a_right_one_mostly_is_not() -> None:
    """Dollars, ratios and counts together; random rows, and rows on the thresholds."""
    rng = np.random.default_rng(4)
    levels = [41250.0, 12000.0, 0.8519, 0.25, 3.0, 7.5]
    thresholds = np.array(levels, dtype=np.float32)
    data = rewrite(comparing("Less", levels)).onnx

    def rows(count: int) -> NDArray[np.float32]:
        dollars = rng.integers(0, 900, (count, 2)) * 100.0
        ratios = rng.uniform(0, 2, (count, 2))
        counts = rng.integers(0, 12, (count, 2)).astype(float)
        drawn = np.concatenate([dollars, ratios, counts], axis=1).astype(np.float32)
        tied = rng.random(drawn.shape) < 0.05
        return np.where(tied, thresholds, drawn)

    planned = samples(np.round(rows(64), 4))
    bounds = {"x": (-10000.0, 100000.0)}
    chosen = choose_bits(data, planned, bounds, 0.01, 0.99)[0]
    variant = lower(data, chosen, bounds)
    x = rows(10_000)
    (got,) = run_integers(variant, {"x": quantised(x[:, None], variant.input_scales[0])})
    wrong = (got.reshape(x.shape) > 0) != (x < thresholds)
    telling = near_graph(data, variant.compared)
    assert telling is not None
    near = np.array(near_counts(telling, samples(x))) > 0
    assert not (wrong.any(axis=1) & ~near).any()
    assert near.mean() < 0.01
    counted = near_thresholds(data, planned, variant.compared)
    assert counted is not None
    assert counted.within_one_quantum == 0
    assert counted.share_of_range == pytest.approx(near.mean(), abs=0.005)


def test_steps_grow_finer_with_the_gap_between_values_and_thresholds() -> None:
    data = rewrite(comparing("Greater", [10.0])).onnx

    def bits(*values: float) -> int:
        x = np.array([[v] for v in values])
        return choose_bits(data, samples(x), {"x": (0.0, 20.0)}, 0.01, 0.99)[0].input

    assert bits(2.0, 10.0, 18.0) == 1
    assert bits(2.0, 9.9, 18.0) == 6
    # The float beside the threshold is told apart; nothing finer is of use.
    assert bits(2.0, float(np.nextafter(np.float32(10), np.float32(0))), 18.0) == 21


def test_steps_tell_thresholds_of_scaled_inputs_apart() -> None:
    """An issuer's steps of 512 years would let nobody be younger than 30."""
    made = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]> g (float[1, 2] x) => (float[1, 3] y) {
        c = Sub(x, mean) z = Div(c, std) g = Greater(z, t) b = Cast<to = 1>(g) y = MatMul(b, w) }"""
    )
    scaler = {"mean": [[40, 5e5]], "std": [[12, 3e5]], "t": [[-0.8, 0.1]]}
    for name, values in (scaler | {"w": [[-2, 1, 0.5], [0, -1, 1.5]]}).items():
        tensor = numpy_helper.from_array(np.array(values, dtype=np.float32), name)
        made.graph.initializer.append(tensor)
    data = made.SerializeToString()
    ranges = {"x": (0.0, 1e6)}
    drawn = draw(float_graph(data, [], 1).signature, ranges, seed=7).plan

    def rebuilt(scale: int) -> None:
        lowering = {"bits": BitWidths(input=scale, weights=(16, 16)).to_json(), "tables": False}
        recompiled_graph(
            data,
            drawn,
            Recipe(
                accepted=ranges,
                limbs=1,
                visibility=Visibility.PRIVATE_INPUT,
                salt=False,
                lowering=lowering,
                lanes=1,
                input_scales=(0,),
            ),
        )

    rebuilt(6)
    with pytest.raises(CircuitNotFaithful, match="tell its thresholds apart"):
        rebuilt(-9)
