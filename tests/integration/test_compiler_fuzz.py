"""Broken models; ``python -m benchmarks.fuzz_importer`` tries ten thousand."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_importer import mutants, outcomes, seeds
from circuits.engine.sandbox import Sandbox
from tests.effort import examples

pytestmark = pytest.mark.slow


def test_broken_models_are_read_or_refused_and_nothing_else() -> None:
    count = examples(60, 600)
    seen, faults = outcomes(Sandbox(), mutants(seeds(), count))
    assert not faults, seen
    assert seen.total() == count
    assert seen["read"] < count * 2 // 3
