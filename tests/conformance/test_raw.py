"""Proofs that others made with EZKL: what is established, and what is not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.srs.verify_part import PUBLIC_CEREMONY
from prover.statement.bundle import read_bundle
from prover.verify.bare_proof import verify_raw
from prover.verify.report import Report, Status

pytestmark = pytest.mark.slow

SHARED = Path(__file__).parents[3] / "shared" / "vectors" / "public_ceremony"


@dataclass
class Raw:
    """EZKL's files, as a user may submit them."""

    proof: dict[str, Any]
    settings: bytes
    vk: bytes
    srs_part: bytes

    def verify(self, engine: EzklEngine, **more: Any) -> Report:
        files = (json.dumps(self.proof).encode(), self.settings, self.vk)
        return verify_raw(*files, engine=engine, **{"srs_part": self.srs_part, **more})


@pytest.fixture
def raw(vectors: dict[str, bytes]) -> Raw:
    bundle = read_bundle(vectors["public"])
    return Raw(
        proof=json.loads(bundle.proof),
        settings=bundle.settings,
        vk=bundle.vk,
        srs_part=bundle.srs_part,
    )


def failed(report: Report) -> list[str]:
    return [c.name for c in report.failures]


@pytest.mark.skipif(not SHARED.exists(), reason="the shared vectors are not here")
def test_a_proof_over_the_public_ceremony_verifies_with_the_pinned_constants_alone(
    engine: EzklEngine,
) -> None:
    proof, settings, vk = (
        (SHARED / n).read_bytes() for n in ("proof.json", "settings.json", "vk.key")
    )
    report = verify_raw(proof, settings, vk, engine=engine, inputs=[np.array([1.0])])
    assert report.ok
    assert [c.name for c in report.checks if c.status is not Status.PASS] == ["model"]
    assert "[1]" in " ".join(report.words)
    assert any("Which model" in line for line in report.not_claimed)
    lied = json.loads(proof)
    lied["pretty_public_inputs"]["rescaled_outputs"] = [["0.99"]]
    report = verify_raw(json.dumps(lied).encode(), settings, vk, engine=engine)
    assert failed(report) == ["pretty"]


def test_what_ezkl_lets_pass_is_named(raw: Raw, engine: EzklEngine) -> None:
    assert raw.verify(engine).ok
    assert failed(raw.verify(engine, inputs=[np.array([1.0, -2.0, 0.5, 3.25]), np.zeros(1)])) == [
        "input"
    ]
    raw.proof["proof"] += [0] * 5
    raw.proof["hex_proof"] += "00" * 5
    assert failed(raw.verify(engine)) == ["proof-length"]
    raw.proof["hex_proof"] = "0x00"
    assert "proof-form" in failed(raw.verify(engine))


def test_another_reference_string_or_instance_is_refused(raw: Raw, engine: EzklEngine) -> None:
    assert failed(raw.verify(engine, srs_part=PUBLIC_CEREMONY)) == ["proof"]
    raw.proof["instances"][0].append("00" * 32)
    assert failed(raw.verify(engine)) == ["instances", "proof"]


def test_hostile_files_are_a_no_and_never_a_crash(raw: Raw, engine: EzklEngine) -> None:
    for data in (b"", b"{}", b"[]", b"\xff" * 100, b"[" * 10_000):
        report = verify_raw(data, data, data, engine=engine, srs_part=data)
        assert not report.ok
        assert len(report.checks) == 10


@pytest.mark.parametrize("version", ["20.2.4", "22.0.1", "1; rm -rf ."])
def test_a_proof_of_an_older_engine_names_the_version_to_use(
    raw: Raw, engine: EzklEngine, version: str
) -> None:
    """Its settings lack what that engine did not know; the rest is looked at all the same."""
    settings = json.loads(raw.settings) | {"version": version}
    del settings["einsum_params"]
    del settings["run_args"]["disable_freivalds"]
    raw.settings = json.dumps(settings).encode()
    report = raw.verify(engine)
    assert failed(report) == ["settings"]
    told = next(c.detail for c in report.failures)
    assert (f"pip install ezkl=={version}" in told) == (";" not in version)
    checks = {c.name: c.status for c in report.checks}
    assert checks["instances"] is Status.PASS
    assert checks["proof"] is Status.SKIP
