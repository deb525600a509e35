"""Where the programs that are measured keep what they make: never in the user's own home."""

from __future__ import annotations

import os
from pathlib import Path

from prover.settings import Settings

_OF_A_DEPLOYMENT = ("ZKML_REDIS_URL", "ZKML_DATABASE_URL", "ZKML_ARTIFACTS_URL", "ZKML_CACHE_DIR")


def environment(home: Path, srs: Path) -> dict[str, str]:
    """Variables for ``zkml`` with a home of its own and the SRS files that all sides share.

    The cost model is the one that this machine's user has fitted, where there is one.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _OF_A_DEPLOYMENT}
    costs = Settings.load(redis_url=None).cost_model_path
    return {
        **kept,
        "ZKML_HOME": str(home),
        "ZKML_SRS_DIR": str(srs),
        "ZKML_COST_MODEL_PATH": str(costs),
    }
