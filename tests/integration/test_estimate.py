"""Estimates come before any heavy work, also for models that no machine could prove."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from circuits.calibration.samples import default_ranges, draw
from circuits.compiler.build import compile_float
from circuits.cost.fixed_point import count
from circuits.cost.model import CostModel
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits
from circuits.errors import NoPlan
from circuits.format.profile import Profile
from circuits.lower.graphs import LoweringTask
from circuits.plan.estimate import Estimate, estimate
from circuits.plan.lowered_candidates import base_args
from circuits.rewrite import rewrite
from tests.cases.rewriting import graph

pytestmark = pytest.mark.slow

LIMITS = Limits(deadline_s=60)
WIDE = f"<float[16, 3, 3, 3] w = {{{', '.join(['0.5', '-0.25'] * 216)}}}>"
MODELS = {
    "convolution": graph(
        "c = Conv<strides = [1, 1]>(x, w) r = Relu(c)"
        " y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)",
        "float[1, 3, 16, 16] x",
        WIDE,
    ),
    "attention": graph(
        "t = Transpose<perm = [0, 2, 1]>(x) m = MatMul(x, t) s = Softmax<axis = -1>(m)"
        " y = MatMul(s, x)",
        "float[1, 12, 8] x",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_formula_counts_about_what_the_engine_counts(engine: EzklEngine, name: str) -> None:
    written = rewrite(MODELS[name]).onnx
    args = base_args(Profile(), input_scale=7, param_scale=7, scale_rebase_multiplier=1)
    (layout,) = engine.measure_layout(
        written, [replace(args, decomp_base=1 << 14, decomp_legs=2)], LIMITS
    )
    assert isinstance(layout, LayoutStats)
    assert count(written).cells == pytest.approx(layout.assignments, rel=0.5)


@pytest.mark.long
def test_an_infeasible_model_is_estimated_without_asking_the_engine(
    engine: EzklEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine would count for minutes before it reported that this cannot be proved."""

    def asked(*_: object) -> None:
        raise AssertionError("the engine was asked to count")

    monkeypatch.setattr(EzklEngine, "measure_layout", asked)
    constants = WIDE.replace(">", ", float a = {1.5}>")
    model = graph("c = Conv(x, w) y = Div(a, c)", "float[1, 3, 160, 160] x", constants)
    found = estimated(engine, model)
    assert found.counted == "formula"
    assert found.assignments > 20_000_000


def test_a_small_model_without_a_circuit_is_not_called_too_large(engine: EzklEngine) -> None:
    """A row of which nothing may be left has no softmax in any circuit: its name is told."""
    body = "l = Less(x, o) m = Where(l, n, o) a = Add(x, m) y = Softmax(a)"
    model = onnx.load_model_from_string(graph(body, "float[1, 4] x"))
    for name, value in (("n", -np.inf), ("o", 0.0)):
        constant = np.full((1, 1), value, dtype=np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(constant, name))
    with pytest.raises(NoPlan, match="Softmax at node"):
        estimated(engine, model.SerializeToString())


def estimated(engine: EzklEngine, model: bytes) -> Estimate:
    signature = rewrite(model).signature
    samples = draw(signature, default_ranges(signature))
    floats = compile_float(engine, model, samples, Profile(), LIMITS)
    task = LoweringTask(accepted=default_ranges(signature), limbs=1)
    return estimate(engine, floats, task, Profile(), LIMITS, CostModel.bundled())
