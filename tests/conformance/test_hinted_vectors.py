"""Each vector about public hints is judged as ``verdicts.json`` says, whoever wrote the verifier.

No circuit is made with them any more (decision 0007): the vectors are an older compiler's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.format.hints import Hints
from prover.statement.bundle import read_bundle, write_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Report
from tests.cases.verdicts import NOW
from tests.conformance.forgeries import Forgery, statement_of
from tests.conformance.make_vectors import FOLDER, public_key

pytestmark = pytest.mark.slow

HINTED = FOLDER / "hinted"
VERDICTS: list[dict[str, Any]] = json.loads((HINTED / "verdicts.json").read_text())


def judged(data: bytes, engine: EzklEngine) -> Report:
    return verify_bundle(data, engine=engine, policy=Policy(trusted=(public_key(1),)), now=NOW)


def test_there_is_a_verdict_for_each_vector() -> None:
    assert {v["file"] for v in VERDICTS} == {path.name for path in HINTED.glob("*.zkml")}
    assert {len(v["failures"]) for v in VERDICTS} == {0, 1}


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda v: v["file"])
def test_a_vector_is_judged_as_its_verdict_says(
    verdict: dict[str, Any], engine: EzklEngine
) -> None:
    report = judged((HINTED / verdict["file"]).read_bytes(), engine)
    assert [c.name for c in report.failures] == verdict["failures"]


FORGERIES: dict[str, Callable[[Hints], Hints | None]] = {
    "none": lambda hints: None,
    "fewer residues": lambda hints: replace(hints, residues=hints.residues - 1),
    "an output of any size": lambda hints: replace(hints, output_bounds=(1 << 200,)),
    "no bound of the output": lambda hints: replace(hints, output_bounds=()),
    "digits of fewer bits": lambda hints: replace(hints, most_bits=hints.most_bits - 1),
    "words for numbers": lambda hints: replace(hints, most_bits="all"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_a_manifest_says_of_hints_is_compared_with_the_circuit(
    name: str, engine: EzklEngine
) -> None:
    """All but the size of outputs, which without a rebuild depends on the signature."""
    good = read_bundle((HINTED / "outputs-that-carry.zkml").read_bytes())
    forgery = Forgery(good, deepcopy(statement_of(good)))
    hints = forgery.manifest.hints
    assert hints is not None
    forgery.set_manifest(replace(forgery.manifest, hints=FORGERIES[name](hints)))
    failures = [c.name for c in judged(write_bundle(forgery.resigned()), engine).failures]
    assert bool(failures) == (name != "an output of any size"), failures
