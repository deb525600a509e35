"""Both real sides on the digits model: what `make bench` does, with one sample each."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness.rows import Header, Results, Status, Step
from benchmarks.harness.runner import run
from benchmarks.harness.tasks import RunSize, SuiteSystem, system_tasks
from benchmarks.report import page as report
from benchmarks.systems.ezkl_default import EzklDefault
from benchmarks.systems.ours import Ours
from benchmarks.zoo.zoo import ZOO

pytestmark = [pytest.mark.slow, pytest.mark.long]

AMOUNT = RunSize(samples=1, warm_ups=0, held_out=20, deadline_s=250)
HEADER = Header(
    options={"samples": 1, "warm_ups": 0},
    machine={
        "processor": "p", "cores": 2, "memory_bytes": 1 << 30, "system": "s", "python": "3",
        "versions": {}, "environment": {}, "commit": "c",
    },
    started="2026-01-01T00:00:00",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EZKL_REPO_PATH", str(folder / "ezkl"))
        systems = [
            SuiteSystem(suite="models", system=Ours()),
            SuiteSystem(suite="baseline", system=EzklDefault()),
        ]
        tasks = list(system_tasks([ZOO["digits"]], systems, AMOUNT, folder / "cache"))
        return run(tasks, HEADER, folder / "run")


def test_both_systems_prove_the_same_model_with_valid_proofs(results: Results) -> None:
    assert [row.reason for row in results.rows if row.status is not Status.OK] == []
    proofs = {row.key.side: row for row in results.rows if row.key.step is Step.PROVE}
    assert set(proofs) == {"ours", "ezkl-default"}
    for row in proofs.values():
        assert row.metrics["max_error"] < 0.01
        assert row.metrics["peak_rss_bytes"] > 20e6
        assert row.metrics["proof_bytes"] > 1000


def test_the_report_has_time_and_accuracy_of_each_system(results: Results, tmp_path: Path) -> None:
    rows = [row for row in results.rows if row.key.step is Step.ACCURACY]
    assert {row.facts["held_out"] for row in rows} == {AMOUNT.held_out}
    assert all(row.facts["misses"] is None for row in rows)
    text = report.write(results, tmp_path).read_text(encoding="utf-8")
    assert text.count("1/1") == 2


def test_our_circuit_is_smaller_than_the_default_one(results: Results) -> None:
    logrows = {
        row.key.side: row.facts["logrows"] for row in results.rows if row.key.step is Step.SETUP
    }
    assert logrows["ours"] <= 11 < 15 <= logrows["ezkl-default"]
