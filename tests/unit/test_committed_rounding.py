"""Quantised layers with committed hints: the circuit rounds where the model does, as it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.calibration.accuracy import Measured
from circuits.calibration.reference import run_reference
from circuits.calibration.samples import draw
from circuits.committed.arithmetic import Steps, run
from circuits.committed.network import Kind
from circuits.format.commitments import Weights
from circuits.format.tensors import Signature, TensorSpec
from circuits.lower.committed.choosing.candidates import committed_graphs
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.quantising.checking import check_steps
from circuits.lower.committed.quantising.steps import integer_network
from circuits.lower.committed.reading.network import read_network
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask
from circuits.rewrite import rewrite


def quantised() -> bytes:
    """Two layers in 8 bits, whose answers span few of 256 steps."""
    rng = np.random.default_rng(3)
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 12] x) => (float[1, 3] y) {
      q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
      e = DequantizeLinear(w, ws, wz) h = MatMul(d, e) i = Add(h, b)
      j = QuantizeLinear(i, t, low) k = DequantizeLinear(j, t, low)
      f = DequantizeLinear(v, ws, wz) l = MatMul(k, f)
      m = QuantizeLinear(l, u, n) y = DequantizeLinear(m, u, n)
    }""")
    constants = {
        "s": np.float32(2 / 255),
        "z": np.uint8(127),
        "w": rng.integers(-128, 128, (12, 6)).astype(np.int8),
        "ws": np.float32(0.0071),
        "wz": np.int8(0),
        "b": rng.normal(0, 0.3, 6).astype(np.float32),
        "t": np.float32(0.0153),
        "low": np.int8(-128),
        "v": rng.integers(-128, 128, (6, 3)).astype(np.int8),
        "u": np.float32(0.3),
        "n": np.uint8(100),
    }
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return bytes(model.SerializeToString())


def graph() -> FloatGraph:
    found = rewrite(quantised())
    return FloatGraph(
        onnx=b"",
        plain=found.onnx,
        passes=found.passes,
        signature=found.signature,
        reference=found.reference,
    )


def answers(x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.stack(run_reference(quantised(), [{"x": row} for row in x]))[:, 0]


def task(max_error: float) -> LoweringTask:
    x = TensorSpec(name="x", dtype="float32", shape=(1, 12))
    samples = draw(Signature(inputs=(x,), outputs=()), {"x": (-1.0, 1.0)})
    return LoweringTask(
        accepted={"x": (-1.0, 1.0)},
        limbs=1,
        plan=samples.plan,
        held_out=samples.held_out,
        max_error=max_error,
        agreement=0.99,
    )


@pytest.fixture(scope="module")
def made() -> LoweredGraph:
    found = committed_graphs(graph(), task(0.01), True, Weights.SEALED)
    assert isinstance(found, list), found
    return found[0]


def test_what_is_not_exact_enough_says_how_near_it_came() -> None:
    found = committed_graphs(graph(), task(1e-9), True, Weights.SEALED)
    assert isinstance(found, Measured)
    assert 1e-9 < found.max_error < 0.01


def test_private_weights_are_too_long_to_round_behind() -> None:
    found = committed_graphs(graph(), task(0.01), False, Weights.PRIVATE)
    assert isinstance(found, str)
    assert "longer than the table" in found


def test_each_quantisation_is_one_sum() -> None:
    network = read_network(graph().plain).network
    sums = [step for _, step in network.sums]
    assert [step.rounded for step in sums] == [True, True, True, False]
    assert [step.kind for step in sums[:3]] == [Kind.SIGNED, Kind.RECTIFIED, Kind.SIGNED]


def test_a_thousand_answers_are_the_models_own(made: LoweredGraph) -> None:
    """To the last step, but where a sum lies next to the middle between two."""
    x = np.random.default_rng(8).uniform(-1, 1, (1000, 1, 12)).astype(np.float32)
    assert made.recipe is not None
    steps, read = Steps.from_json(made.recipe["steps"]), read_network(graph().plain)
    integers = np.stack([made.inputs[0].quantise(row) for row in x])
    found = run(integer_network(read, steps), steps, [integers])
    assert not found.outside.any()
    got = np.ldexp(found.rows[-1].astype(np.float64), -made.outputs[0].scale)
    off = np.abs(got.reshape(1000, 3) - answers(x).reshape(1000, 3)).max(axis=1)
    assert (off > 0.1).mean() <= 0.01


def test_a_recipe_rounds_to_the_models_steps_and_no_others(made: LoweredGraph) -> None:
    assert made.recipe is not None
    assert made.inputs[0].scale > 16  # finer than any table
    same = recompiled(graph(), made.recipe, (), shown=True, weights=Weights.SEALED)
    assert same.onnx == made.onnx
    steps, read = Steps.from_json(made.recipe["steps"]), read_network(graph().plain)
    (first, *others) = steps.sums
    for bent in (replace(first, scale=2.0), replace(first, digits=1), replace(first, shifts=(1,))):
        with pytest.raises(CannotLower):
            check_steps(read, replace(steps, sums=(bent, *others)))
    with pytest.raises(CannotLower, match="larger than what bounds it"):
        recompiled(graph(), made.recipe, (), shown=False, weights=Weights.SEALED)
