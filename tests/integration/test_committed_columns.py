"""Columns of very different size, each in steps of its own: what is proved, and provers who count
one otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.committed.arrangement import Arrangement
from circuits.format.commitments import Weights
from circuits.format.profile import Visibility
from prover.statement.context import Context
from tests.cases.committed import Circuits, Committed, X

pytestmark = pytest.mark.slow

HERE = Context(job_id="job")
SIZES = (1e5, 1.0, 30.0, 0.01, 1.0, 2e5)
#: Within the ranges that samples have.
OF_ALL_SIZES = (0.9 * X * np.array(SIZES)).astype(np.float32)


def scaled() -> bytes:
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 1, 6, 6] x) => (float[1, 3] y) {
      s = Div(x, sizes) f = Flatten(s) h = MatMul(f, w) b = Tanh(h) y = MatMul(b, v)
    }""")
    rng = np.random.default_rng(3)
    constants = {"sizes": np.array(SIZES), "w": rng.normal(size=(36, 4)) / 4}
    for name, value in (constants | {"v": rng.normal(size=(4, 3))}).items():
        made.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    return bytes(made.SerializeToString())


def of_columns(circuit: Circuits, visibility: Visibility) -> Committed:
    return circuit(visibility, Weights.SEALED, scaled(), sizes=SIZES)


@pytest.mark.parametrize(
    "visibility",
    [pytest.param(Visibility.PUBLIC, marks=pytest.mark.long), Visibility.PRIVATE_INPUT],
)
def test_columns_of_all_sizes_are_proved_and_rebuilt(
    circuit: Circuits, visibility: Visibility
) -> None:
    made = of_columns(circuit, visibility)
    assert made.files.hints is not None
    arrangement = Arrangement.from_bytes(made.files.hints.read_bytes())
    places = [part.places[0] for part in arrangement.steps.inputs[0].columns]
    assert places == [5, 0, 2, 1, 3]
    proof = made.honest(OF_ALL_SIZES, contexts=[HERE])
    assert made.failures(proof, OF_ALL_SIZES, HERE) == []
    made.assert_rebuilt(scaled())


@pytest.mark.parametrize(
    "bend",
    ["q0 0", "borrowed digit"]
    + [pytest.param(bend, marks=pytest.mark.long) for bend in ("lo0 0", "q3 0", "lo3.1 0")],
)
def test_a_column_that_is_counted_otherwise_is_refused(
    circuit: Circuits, tmp_path: Path, bend: str
) -> None:
    """Its integers, or what is left of the input's; an input whose higher digit is one more and
    whose lower one is below zero."""
    made = of_columns(circuit, Visibility.PRIVATE_INPUT)
    proof = made.dishonest(tmp_path, OF_ALL_SIZES, contexts=[HERE], bend=bend)
    assert "residues" in made.failures(proof, OF_ALL_SIZES, HERE)
