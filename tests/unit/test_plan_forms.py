"""Which forms of an integer graph are measured."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from circuits.lower import BitWidths, LoweringOptions, lower
from circuits.plan.lowering_options import weigh_forms, within_factor
from tests.cases.integers import BOUND, graph

BITS = BitWidths(input=5, weights=(6,))
#: Nothing but one product of a single row, and nothing that is decomposed.
DENSE = graph("y = MatMul(x, w)", "float[1, 400] x", {"w": [400, 300]})


def test_forms_that_cannot_pay_are_not_priced() -> None:
    assert within_factor([(1.5, "dear"), (1.3, "near"), (1.0, "least")]) == ["least", "near"]
    weighed = weigh_forms(lambda form: lower(DENSE, BITS, BOUND, form))
    assert within_factor(weighed)[0].form == LoweringOptions()


def test_recipes_of_choices_that_are_no_more_are_read() -> None:
    """As long as they chose what is left."""
    gone = {"paired_from": 0, "packed_from": 0, "packed_matrices": False, "hints": False}
    sparse = LoweringOptions(sparse=True)
    assert LoweringOptions.from_json(asdict(sparse) | gone) == sparse
    for other in ({"packed_from": 96}, {"hints": True}, {"lanes": 2}, {"unheard_of": 1}):
        with pytest.raises(ValueError, match="another compiler"):
            LoweringOptions.from_json(asdict(sparse) | gone | other)
