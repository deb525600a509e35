"""Inputs that are compared with constants, and what flows by these: what the engine makes of them,
and provers who claim another decision or another input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.committed.arithmetic import entries, run
from circuits.committed.arrangement import Arrangement
from circuits.committed.network import Kind, gathered
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Simulated
from circuits.format.commitments import Weights
from circuits.format.field import from_felt, to_felt
from circuits.format.profile import Argument, Profile, Visibility
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.plan.committed import committed_args
from prover.statement.context import Context
from tests.cases.committed import Circuits, Committed, X
from tests.cases.committed_networks import arranged, inputs, quantised
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

HERE = Context(job_id="job")


def tree() -> bytes:
    """Eight tests of elements as they come; two flows down three levels, and three scores."""
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 1, 6, 6] x) => (float[1, 3] y) {
      f = Flatten(x) t = Gather<axis = 1>(f, tested)
      g = Greater(t, levels) b = Cast<to = 1>(g)
      r = Gather<axis = 1>(b, first) k = Gather<axis = 1>(b, second)
      a = Mul(r, k) c = Sub(r, a)
      m = Gather<axis = 1>(b, third) d = Mul(c, m) e = Sub(c, d)
      l = Concat<axis = 1>(a, d, e, b) y = MatMul(l, w)
    }""")
    rng = np.random.default_rng(3)
    constants = {
        "tested": np.array([0, 5, 5, 12, 20, 29, 35, 35]),
        "levels": rng.uniform(-1, 1, 8).astype(np.float32),
        "first": np.array([0, 1]),
        "second": np.array([2, 3]),
        "third": np.array([4, 5]),
        "w": rng.normal(size=(14, 3)).astype(np.float32),
    }
    for name, value in constants.items():
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize(
    ("shown", "weights"),
    [(False, Weights.SEALED), (True, Weights.SEALED), (False, Weights.SHOWN)],
)
def test_the_engine_agrees_with_the_integers(
    engine: EzklEngine, shown: bool, weights: Weights, lanes: int
) -> None:
    """Outputs are those of the arithmetic, every residue is zero, and cells are as counted."""
    one = arranged("trees", logrows=12, base=1 << 11)
    names = ["y", "z"]
    made = write_circuit(
        one.network,
        one.steps,
        shown=shown,
        columns=1,
        results=names,
        lanes=lanes,
        weights=weights,
    )
    rows = quantised(one, inputs(lanes))
    visibility = Visibility.PUBLIC if shown else Visibility.PRIVATE_INPUT
    profile = Profile(visibility=visibility, argument=Argument.COMMITTED, weights=weights)
    table = one.steps.base - entries(12), one.steps.base - 1
    (layout,) = engine.measure_layout(made.onnx, [committed_args(profile, 12, 1, table)], LIMITS)
    assert isinstance(layout, LayoutStats), layout
    felts = [[to_felt(int(n)) for n in r.reshape(-1)] for r in rows]
    (found,) = engine.simulate(
        made.onnx,
        layout.settings,
        [[*felts, [to_felt(0)] * lanes]],
        LIMITS,
        made.arrangement.to_bytes(),
    )
    assert isinstance(found, Simulated), found
    assert [from_felt(f) for f in found.outputs[-1]] == [0] * made.claim.residues
    wanted = run(one.network, one.steps, rows).rows
    for output, given in zip(one.network.outputs, found.outputs[-3:-1], strict=True):
        got = [from_felt(f) for f in given]
        assert got == [int(n) for n in gathered(output, wanted).reshape(-1)]


@pytest.fixture(scope="module")
def decided(circuit: Circuits) -> Committed:
    return circuit(Visibility.PRIVATE_INPUT, model=tree())


def test_decisions_are_proved_and_rebuilt(decided: Committed, tmp_path: Path) -> None:
    """Of a private input in several digits."""
    assert decided.files.hints is not None
    made = Arrangement.from_bytes(decided.files.hints.read_bytes())
    assert made.network.sums[0][1].kind is Kind.DECIDED
    assert made.digits(0) > 1
    proof = decided.honest(X, contexts=[HERE])
    assert decided.failures(proof, X, HERE) == []
    decided.assert_rebuilt(tree())
    same = decided.dishonest(tmp_path, X, contexts=[HERE], bend="nothing")
    assert decided.failures(same, X, HERE) == []


@pytest.mark.parametrize(
    "bend",
    ["other decision", "q0 0"]
    + [
        pytest.param(bend, marks=pytest.mark.long)
        for bend in ("lo0 0", "lo0.1 0", "borrowed digit")
    ],
)
def test_another_decision_is_refused(decided: Committed, tmp_path: Path, bend: str) -> None:
    """One with all that follows from it, and a remainder below zero that makes up for it; a bit or
    a remainder alone; an input whose higher digit is one more and whose lower one is below zero."""
    proof = decided.dishonest(tmp_path, X, contexts=[HERE], bend=bend)
    assert "residues" in decided.failures(proof, X, HERE)
