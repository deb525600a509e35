"""Which forms of an integer graph are measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from circuits.format.profile import Target
from circuits.lower import BitWidths, lower
from circuits.plan import integers
from circuits.plan.lowered_candidates import LoweredCandidate, Rejected
from circuits.plan.lowering_options import estimate_options, within_factor
from tests.cases.integers import BOUND, graph

BITS = BitWidths(input=5, weights=(6,))
#: Nothing but one product of a single row, and nothing that is decomposed.
DENSE = graph("y = MatMul(x, w)", "float[1, 400] x", {"w": [400, 300]})


def test_forms_that_cannot_pay_are_not_priced() -> None:
    assert within_factor([(1.5, "costly"), (1.3, "near"), (1.0, "least")]) == ["least", "near"]
    (alone,) = estimate_options(lambda tables: lower(DENSE, BITS, BOUND, tables=tables))
    assert not alone[1].tables


def test_what_is_clearly_slower_than_an_exact_graph_is_not_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def judged(_: object, graph: SimpleNamespace, __: object) -> Any:
        asked.append(graph.label)
        exact = graph.label != "inexact"
        return object.__new__(LoweredCandidate) if exact else Rejected(label=graph.label, reason="")

    monkeypatch.setattr(integers, "_judged", judged)
    made: Any = [
        SimpleNamespace(label=label, estimated_s=seconds)
        for label, seconds in (("inexact", 1.0), ("exact", 2.0), ("near", 2.1), ("slow", 2.5))
    ]

    def task(target: Target, *, salt: bool = False) -> Any:
        lowering = SimpleNamespace(salt=salt)
        return SimpleNamespace(profile=SimpleNamespace(target=target), lowering=lowering)

    found = integers._all_judged(task(Target.SPEED), made)
    assert [isinstance(f, LoweredCandidate) for f in found] == [False, True, True, False]
    assert asked == ["inexact", "exact", "near"]
    for other in (task(Target.EVM), task(Target.SPEED, salt=True)):
        asked.clear()
        integers._all_judged(other, made)
        assert len(asked) == len(made)
