"""What EZKL's own verifier lets pass, and where ours turns each single change away."""

from __future__ import annotations

from collections import Counter

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from prover.statement.bundle import read_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.checks.engine_parts import VERIFY_LIMITS
from prover.verify.policy import Policy
from prover.verify.report import Layer, Report
from tests.cases.verdicts import NOW
from tests.conformance.forgeries import TRUSTED
from tests.conformance.make_vectors import public_key
from tests.conformance.mutations import Mutation, mutations

pytestmark = pytest.mark.slow

POLICY = Policy(trusted=(public_key(TRUSTED),))


def judge(data: bytes, engine: EzklEngine) -> Report:
    return verify_bundle(data, policy=POLICY, engine=engine, now=NOW)


def raw_accepts(mutation: Mutation, engine: EzklEngine) -> bool:
    """What EZKL says to the four files it looks at."""
    raw = mutation.raw
    return engine.verify(raw.proof, raw.settings, raw.vk, raw.srs_part, VERIFY_LIMITS)


def test_every_single_change_is_turned_away_in_its_layer(
    engine: EzklEngine, vectors: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    data = vectors["public"]
    good = read_bundle(data)
    assert judge(data, engine).ok
    assert engine.verify(good.proof, good.settings, good.vk, good.srs_part, VERIFY_LIMITS)

    rows, wrong = [], []
    raw_cache = {good: True}
    for mutation in mutations(data):
        if mutation.raw not in raw_cache:
            raw_cache[mutation.raw] = raw_accepts(mutation, engine)
        raw = "accepts" if raw_cache[mutation.raw] else "rejects"
        report = judge(mutation.data, engine)
        layers = list(dict.fromkeys(c.layer.value for c in report.failures))
        names = ", ".join(c.name for c in report.failures)
        rows.append((mutation.hand, mutation.name, raw, mutation.layer.value, names))
        if report.ok or mutation.layer.value not in layers:
            wrong.append((mutation.name, mutation.layer.value, names))

    with capsys.disabled():
        print_matrix(rows)
    assert not wrong
    assert len(rows) >= 60
    assert {layer for *_, layer, _ in rows} == {layer.value for layer in Layer}
    raw_verdicts = Counter(raw for _, _, raw, _, _ in rows)
    assert raw_verdicts["rejects"] > 0
    assert raw_verdicts["accepts"] > 0


def print_matrix(rows: list[tuple[str, str, str, str, str]]) -> None:
    print()
    print(f"{'hand':9} {'change':62} {'raw EZKL':9} {'layer':10} refused by")
    for hand, name, raw, layer, names in rows:
        print(f"{hand:9} {name[:62]:62} {raw:9} {layer:10} {names[:90]}")
    accepted = sum(1 for _, _, raw, _, _ in rows if raw == "accepts")
    print(f"{len(rows)} changes: raw EZKL accepts {accepted}, this verifier accepts none")
