"""The suites that measure batches and the planner, for real, as small as they get."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.harness.rows import Header, Status
from benchmarks.harness.runner import run
from benchmarks.harness.tasks import RunSize, by_round
from benchmarks.report import aggregates, tables
from benchmarks.suites import batch, planning
from benchmarks.zoo.zoo import ZOO

pytestmark = [pytest.mark.slow, pytest.mark.long]

AMOUNT = RunSize(samples=1, warm_ups=0, held_out=20, deadline_s=250, quick=True)
HEADER = Header(
    options={"samples": 1, "warm_ups": 0},
    machine={
        "processor": "p", "cores": 2, "memory_bytes": 1 << 30, "system": "s", "python": "3",
        "versions": {}, "environment": {}, "commit": "c",
    },
    started="2026-01-01T00:00:00",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_lookup_cache_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZKL_REPO_PATH", str(tmp_path / "ezkl"))


def test_a_batch_shares_proofs_and_every_item_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "QUICK_COUNT", 5)
    monkeypatch.setattr(batch, "QUICK_LANES", (1, 2))
    with ExitStack() as stack:
        tasks = by_round(batch.tasks([ZOO["digits"]], AMOUNT, tmp_path / "cache", stack))
        results = run(tasks, HEADER, tmp_path / "run")
    assert [row.reason for row in results.rows if row.status is not Status.OK] == []
    (measured,) = aggregates.batched(results)
    assert measured.inputs == 5
    assert measured.faster is not None
    assert measured.misses == (None, None)
    (sweep,) = aggregates.sweeps(results)
    assert set(sweep.seconds) == {1, 2}
    assert 2 in sweep.predicted_s


@pytest.mark.long
def test_choices_are_found_among_the_candidates_that_are_timed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cache = tmp_path / "cache"
        tasks = by_round(planning.tasks([ZOO["attention"]], AMOUNT, cache, stack))
        results = run(tasks, HEADER, tmp_path / "run")
    assert [row.reason for row in results.rows if row.status is not Status.OK] == []
    (planned,) = aggregates.planned(results)
    assert planned.timed >= 2
    assert planned.regrets["fast"] is not None
    assert "regret" in tables.planner(results)
