"""A few hundred broken models; ``python -m benchmarks.fuzz_importer`` tries ten thousand."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_importer import mutants, outcomes, seeds
from circuits.engine.sandbox import Sandbox

pytestmark = pytest.mark.slow


def test_broken_models_are_read_or_refused_and_nothing_else() -> None:
    seen, faults = outcomes(Sandbox(), mutants(seeds(), 300))
    assert not faults, seen
    assert seen.total() == 300
    assert seen["read"] < 200
