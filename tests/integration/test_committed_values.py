"""Committed hints of values that no ReLU follows, products of values and functions: what the engine
makes of each kind, and provers who are not honest about one of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.committed.arithmetic import entries, run
from circuits.committed.arrangement import Arrangement
from circuits.committed.network import Function, Kind, Pointwise, Product, gathered
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Simulated
from circuits.format.commitments import Weights
from circuits.format.field import from_felt, to_felt
from circuits.format.profile import Argument, Profile, Visibility
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.plan.committed import committed_args
from prover.statement.context import Context
from tests.cases.committed import Circuits, Committed, X
from tests.cases.committed_networks import EVERY, TABLES, arranged, inputs, quantised
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

HERE = Context(job_id="job")


def attention() -> bytes:
    """A convolution, a leaky ReLU, a max pool, softmax of products of values, a sigmoid."""
    rng = np.random.default_rng(3)
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 1, 6, 6] x) => (float[1, 3] y) {
      c = Conv<pads = [1, 1, 1, 1], strides = [1, 1], kernel_shape = [3, 3]>(x, k, kb)
      a = LeakyRelu<alpha = 0.1>(c)
      p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a)
      r = Reshape(p, rows)
      q = MatMul(r, w)
      h = MatMul(r, u)
      t = Transpose<perm = [0, 2, 1]>(h)
      s = MatMul(q, t)
      m = Softmax<axis = -1>(s)
      o = MatMul(m, r)
      g = Sigmoid(o)
      f = Flatten(g)
      y = Gemm(f, v, vb)
    }""")
    shapes: dict[str, int | tuple[int, ...]] = {
        "k": (2, 1, 3, 3),
        "kb": 2,
        "w": (3, 3),
        "u": (3, 3),
        "v": (18, 3),
        "vb": 3,
    }
    for name, shape in shapes.items():
        values = (rng.normal(size=shape) / 2).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 6, 3]), "rows"))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("shown", "weights", "lanes"),
    [
        (False, Weights.SEALED, 1),
        pytest.param(True, Weights.SEALED, 1, marks=pytest.mark.long),
        pytest.param(False, Weights.SHOWN, 1, marks=pytest.mark.long),
        pytest.param(False, Weights.PRIVATE, 1, marks=pytest.mark.long),
        pytest.param(True, Weights.PRIVATE, 2, marks=pytest.mark.long),
        pytest.param(False, Weights.SEALED, 2, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    ("name", "function"),
    [
        pytest.param(*case, marks=pytest.mark.long) if case[0] == "recurrent" else case
        for case in [*((name, None) for name in EVERY), *TABLES]
    ],
)
def test_the_engine_agrees_with_the_integers(
    engine: EzklEngine, name: str, function: str | None, shown: bool, weights: Weights, lanes: int
) -> None:
    """Outputs are those of the arithmetic, every residue is zero, and cells are as counted."""
    own = Weights.SEALED if weights is Weights.SHOWN else weights
    if function and weights is Weights.PRIVATE:
        own = weights = Weights.SEALED  # there is no second table of private weights
    one = arranged(name, logrows=12, base=1 << 11, weights=own, function=function)
    names = [f"y{n}" for n in range(len(one.network.outputs))]
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
    logrows = max(12, math.ceil(math.log2(made.cells + 20)))
    table = one.steps.base - entries(12), one.steps.base - 1
    (layout,) = engine.measure_layout(
        made.onnx, [committed_args(profile, logrows, 1, table, made.claim.function)], LIMITS
    )
    assert isinstance(layout, LayoutStats), layout
    tables = json.loads(layout.settings)["required_lookups"]
    assert sorted(tables, key=str) == sorted(made.claim.tables, key=str)
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
    answers = found.outputs[-1 - len(names) : -1]
    for output, felts_of, bound in zip(
        one.network.outputs, answers, made.claim.output_bounds, strict=True
    ):
        got = [from_felt(f) for f in felts_of]
        assert got == [int(n) for n in gathered(output, wanted).reshape(-1)]
        assert max(map(abs, got)) <= bound


@pytest.fixture(scope="module")
def values(circuit: Circuits) -> Committed:
    return circuit(Visibility.PRIVATE_INPUT, model=attention())


@pytest.mark.long
def test_values_are_proved_and_rebuilt(values: Committed, tmp_path: Path) -> None:
    proof = values.honest(X, contexts=[HERE])
    assert values.failures(proof, X, HERE) == []
    values.assert_rebuilt(attention())
    same = values.dishonest(tmp_path, X, contexts=[HERE], bend="nothing")
    assert values.failures(same, X, HERE) == []


@pytest.mark.long
def test_every_kind_of_hint_is_bound(values: Committed, tmp_path: Path) -> None:
    """A quotient larger by one, a remainder larger by one, and a remainder below zero behind a
    larger quotient, of every sum."""
    assert values.files.hints is not None
    network = Arrangement.from_bytes(values.files.hints.read_bytes())
    kinds = {type(term) for _, step in network.network.sums for term in step.terms}
    assert {Product, Pointwise, Function} <= kinds
    bends = []
    for n, ((_, step), own) in enumerate(
        zip(network.network.sums, network.steps.sums, strict=True)
    ):
        bends.append(f"q{n} 1")
        if step.kind is not Kind.RESULT:
            bends += [f"lo{n} 0", f"carry {n}"]
        if own.digits > 1:
            bends.append(f"lo{n}.1 0")
    accepted = []
    for number, bend in enumerate(bends):
        folder = tmp_path / str(number)
        folder.mkdir()
        proof = values.dishonest(folder, X, contexts=[HERE], bend=bend)
        if "residues" not in values.failures(proof, X, HERE):
            accepted.append(bend)
    assert not accepted
