"""The environment of measured programs, separate from the user's home."""

from __future__ import annotations

import os
from pathlib import Path

from prover.settings import Settings

_OF_A_DEPLOYMENT = ("ZKML_REDIS_URL", "ZKML_DATABASE_URL", "ZKML_ARTIFACTS_URL", "ZKML_CACHE_DIR")


def environment(home: Path, srs: Path) -> dict[str, str]:
    """Environment variables for ``zkml`` with a separate home and shared SRS files.

    The cost model is the user's fitted one, if there is one.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _OF_A_DEPLOYMENT}
    costs = Settings.load(redis_url=None).cost_model_path
    return {
        **kept,
        "ZKML_HOME": str(home),
        "ZKML_SRS_DIR": str(srs),
        "ZKML_COST_MODEL_PATH": str(costs),
    }
