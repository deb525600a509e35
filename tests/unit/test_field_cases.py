"""Models as people export them: in integers, no further from onnxruntime than is allowed."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.calibration.accuracy import compare
from circuits.lower import choose_bits, lower
from circuits.plan.integers import _MORE_BITS
from circuits.rewrite import rewrite
from circuits.rewrite.compare import run
from tests.cases.field import FIELD
from tests.cases.integers import outputs_of
from tests.effort import examples

TOLERANCE, MARGIN = 0.01, 0.25
#: One each of columns, kernels, integers and embeddings; the others are for the long run.
ALWAYS = {"codes and numbers", "support vectors on prices", "dynamic quantisation", "words"}


@pytest.mark.parametrize(
    "name",
    [n if n in ALWAYS else pytest.param(n, marks=pytest.mark.long) for n in FIELD],
)
@pytest.mark.slow
def test_it_has_integers_that_keep_the_tolerance(name: str) -> None:
    """Planned on some rows, held to the others; the accepted range as a circuit has it."""
    field = FIELD[name]()
    samples = field.samples()
    planned, held_out = samples[:48], samples[48 : 48 + examples(100, 1_000)]
    found = rewrite(field.model, planned)
    accepted = {}
    for spec in found.signature.inputs:
        values = field.rows[spec.name]
        room = MARGIN * float(np.ptp(values)) if values.dtype.kind == "f" else 0.0
        low = float(values.min())
        accepted[spec.name] = (low - room if low else 0.0, float(values.max()) + room)
    want = run(found.reference, held_out)
    errors = []
    for choice in choose_bits(found.onnx, planned, accepted, TOLERANCE, 0.99):
        for more in (0, *_MORE_BITS):
            variant = lower(found.onnx, choice.finer(more), accepted)
            errors.append(compare(want, outputs_of(variant, held_out)).max_error)
            if errors[-1] <= TOLERANCE:
                return
    pytest.fail(f"errors are {errors}")
