"""How much a test tries: more in `make test-all`, which sets ZKML_TEST_THOROUGH."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

THOROUGH = bool(os.environ.get("ZKML_TEST_THOROUGH"))


def examples(quick: int, thorough: int) -> int:
    """``quick`` of them in `make test`, ``thorough`` in `make test-all`."""
    return thorough if THOROUGH else quick


def sampled(values: Iterable[Any], every: int) -> list[Any]:
    """Parameters, of which `make test` tries one in ``every``, from the first."""
    return [
        pytest.param(value, marks=pytest.mark.long) if place % every else value
        for place, value in enumerate(values)
    ]
