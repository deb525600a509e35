"""``zkml verify`` begins with the proof: that answer counts once, for the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.sandbox import Sandbox
from circuits.errors import EngineKilled
from prover.cli.verifying import _Ahead
from prover.statement.bundle import read_bundle
from prover.verify.checks.engine_parts import VERIFY_LIMITS, engine_parts

BUNDLE = (Path(__file__).parents[1] / "conformance/vectors/public.zkml").read_bytes()
PARTS = engine_parts(read_bundle(BUNDLE))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the engine was asked. It accepts everything but is killed the first time."""
    calls: list[object] = []

    def verify(self: EzklEngine, *parts: object, limits: object = None) -> bool:
        calls.append(parts[:4])
        if len(calls) == 1:
            raise EngineKilled
        return True

    monkeypatch.setattr(EzklEngine, "verify", verify)
    return calls


def test_an_answer_or_an_error_is_given_once(asked: list[object]) -> None:
    engine = _Ahead(Sandbox(), BUNDLE)
    with pytest.raises(EngineKilled):
        engine.verify(*PARTS, VERIFY_LIMITS)
    assert asked == [PARTS]
    assert engine.verify(*PARTS, VERIFY_LIMITS)
    assert asked == [PARTS, PARTS]


def test_an_answer_about_other_bytes_is_none(asked: list[object]) -> None:
    proof, settings, vk, srs_part = PARTS
    other = (proof, settings + b" ", vk, srs_part)
    assert _Ahead(Sandbox(), BUNDLE).verify(*other, VERIFY_LIMITS)
    assert asked == [PARTS, other]


@pytest.mark.parametrize("data", [b"", BUNDLE[:-1]])
def test_what_is_no_bundle_never_reaches_the_engine(asked: list[object], data: bytes) -> None:
    _Ahead(Sandbox(), data).join()
    assert asked == []
