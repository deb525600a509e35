"""What the service says of itself is what it does."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from circuits.compiler.capabilities import describe
from circuits.frontend.operators import FAITHFUL, REFUSED
from circuits.rewrite.pipeline import PASSES
from prover.app import App
from prover.settings import Settings
from tests.unit.fake_app import serving


def test_every_operator_of_the_tables_is_listed() -> None:
    told = {o["op"]: o for o in describe()["operators"]}
    assert {op for op, o in told.items() if o["engine"] in ("faithful", "conditional")} == FAITHFUL
    assert {op for op, o in told.items() if o["engine"] == "wrong"} == set(REFUSED)
    assert told["Trilu"]["instead"] == REFUSED["Trilu"].instead
    assert told["Relu"]["engine"] == "faithful"
    assert told["Pow"]["engine"] == "conditional"
    assert [p["name"] for p in describe()["passes"]] == [p.name for p in PASSES]


@pytest.mark.long
@pytest.mark.slow
def test_capabilities_list_reference_strings_limits_and_keys(
    tmp_path: Path, srs_cache: Path
) -> None:
    app = App.open(Settings(home=tmp_path / "home", srs_dir=srs_cache, max_input_bytes=12_345))
    ceremony = App.open(
        Settings(home=tmp_path / "strict", srs_dir=srs_cache, srs_policy="ceremony")
    )
    try:
        app.store.set_quota("default", {"running": 3})
        with serving(app) as base:
            told = httpx.get(f"{base}/v1/capabilities", timeout=120).json()
            keys = httpx.get(f"{base}/.well-known/zkml-keys.json", timeout=30).json()["keys"]
        assert told["engine"] == app.engine.label
        assert told["max_logrows"] == 26
        assert {f["logrows"] for f in told["srs"]} == {
            int(p.stem.removeprefix("dev").removeprefix("kzg")) for p in srs_cache.glob("*.srs")
        }
        assert told["limits"]["max_input_bytes"] == 12_345
        assert told["limits"]["running"] == 3
        assert told["signing_keys"] == keys
        assert ceremony.capabilities()["max_logrows"] == max(
            (f["logrows"] for f in told["srs"] if f["origin"] == "public-ceremony"), default=0
        )
    finally:
        app.close()
        ceremony.close()
