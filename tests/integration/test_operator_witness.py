"""Each operator that the compiler supports: the engine's result against onnxruntime's."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.engine.port import Limits, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.errors import EngineError
from circuits.format.field import from_felt, to_felt
from circuits.frontend.operators import FAITHFUL
from circuits.rewrite import rewrite
from circuits.rewrite.compare import run
from tests.cases.operators import Case, cases
from tests.effort import sampled

pytestmark = pytest.mark.slow

CASES = cases()
SCALE = 10
ARGS = RunArgs(
    input_scale=SCALE, param_scale=SCALE, scale_rebase_multiplier=1, logrows=17, decomp_legs=6
)
#: Of the largest value, or of 0.5: tables and rescales round.
TOLERANCE = 0.01


@pytest.mark.parametrize("operator", sampled(sorted(FAITHFUL), 3))
def test_the_engine_computes_the_operator(sandbox: Sandbox, operator: str) -> None:
    ways = {name: case for name, case in CASES.items() if name.split(",")[0] == operator}
    assert ways, "no case tries this operator"
    wrong = {name: gap for name, case in ways.items() if (gap := _gap(sandbox, case)) > TOLERANCE}
    assert not wrong


@pytest.mark.parametrize("name", sampled((n for n in CASES if n.split(",")[0] not in FAITHFUL), 5))
def test_what_the_engine_lacks_is_rewritten(sandbox: Sandbox, name: str) -> None:
    assert _gap(sandbox, CASES[name]) <= TOLERANCE


def _gap(sandbox: Sandbox, case: Case) -> float:
    """Largest difference from onnxruntime, over the largest value; infinite where sizes differ."""
    samples = case.samples()
    rewritten = rewrite(case.model(), samples)
    expected = run(case.model(), samples)
    with sandbox.session(Limits(deadline_s=60)) as child:
        (layout,) = child.call("circuits.engine.calls:measure_layout", rewritten.onnx, [ARGS])
        assert not isinstance(layout, EngineError), layout
        scales = list(zip(rewritten.signature.inputs, layout.input_scales, strict=True))
        felts = [
            [
                [to_felt(int(v * 2.0**scale)) for v in np.ravel(sample[tensor.name]).tolist()]
                for tensor, scale in scales
            ]
            for sample in samples
        ]
        witnesses = child.call(
            "circuits.engine.calls:simulate", rewritten.onnx, layout.settings, felts
        )
    worst = 0.0
    for witness, answers in zip(witnesses, expected, strict=True):
        assert not isinstance(witness, EngineError), witness
        for found, scale, answer in zip(
            witness.outputs, layout.output_scales, answers, strict=True
        ):
            ours = np.array([from_felt(f) for f in found], dtype=np.float64) / 2.0**scale
            if ours.size != answer.size:
                return float("inf")
            size = max(0.5, float(np.abs(answer).max()))
            worst = max(worst, float(np.abs(ours - answer.reshape(-1)).max()) / size)
    return worst
