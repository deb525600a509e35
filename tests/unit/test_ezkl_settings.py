"""What a verifier asks of settings before the engine reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prover.statement.bundle import read_bundle
from prover.verify.checks.ezkl_settings import EzklSettings

VECTORS = Path(__file__).parents[1] / "conformance/vectors"


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("name", ["public", "committed/sealed-private"])
def test_settings_have_the_rows_of_the_key(name: str, more: int) -> None:
    """The engine would divide by a polynomial of the settings' rows what stands on the key's."""
    bundle = read_bundle((VECTORS / f"{name}.zkml").read_bytes())
    data = json.loads(bundle.settings)
    data["run_args"]["logrows"] += more
    settings = EzklSettings.parse(json.dumps(data).encode())
    assert settings.fits(bundle.vk) == (more == 0)
