"""The verifier's result for each vector about lanes is that of ``verdicts.json``."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from circuits.engine.ezkl_engine import EzklEngine
from prover.batch.verify import verify_batch
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from tests.cases.verdicts import NOW
from tests.conformance.make_lane_vectors import LANES, made
from tests.conformance.make_vectors import public_key

VERDICTS: list[dict[str, Any]] = json.loads((LANES / "verdicts.json").read_text())
POLICY = Policy(trusted=(public_key(1),))


def test_the_vectors_are_those_that_the_script_makes() -> None:
    files, verdicts = made()
    assert verdicts == VERDICTS
    assert {path.stem for path in LANES.glob("*.zkml")} == set(files)
    for name, data in files.items():
        assert (LANES / f"{name}.zkml").read_bytes() == data, name


@pytest.mark.slow
@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda v: f"{v['file']}-{'input' in v}")
def test_a_vector_is_judged_as_its_verdict_says(
    verdict: dict[str, Any], engine: EzklEngine
) -> None:
    data = (LANES / verdict["file"]).read_bytes()
    if verdict["file"].startswith("batch"):
        found = verify_batch(io.BytesIO(data), engine=engine, policy=POLICY, now=NOW)
        reports = [report for _, report in found]
    else:
        given = {n: np.array(v, np.float32) for n, v in verdict.get("input", {}).items()}
        reports = [verify_bundle(data, engine=engine, policy=POLICY, inputs=given or None, now=NOW)]
    assert [[c.name for c in report.failures] for report in reports] == verdict["failures"]
    assert [report.ok for report in reports] == [not f for f in verdict["failures"]]
