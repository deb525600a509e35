"""How many random examples a test tries: more in `make test-all`, which sets ZKML_TEST_THOROUGH."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("ZKML_TEST_THOROUGH"))


def examples(quick: int, thorough: int) -> int:
    """``quick`` of them in `make test`, ``thorough`` in `make test-all`."""
    return thorough if THOROUGH else quick
