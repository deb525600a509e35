"""The report's sums, on results that are small enough to compute by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.rows import Header, Journal, Key, Results, Row, Status, Step, read
from benchmarks.report import aggregates, tables
from benchmarks.report import page as report
from benchmarks.report.run_summary import RunSummary

HEADER = Header(
    options={"samples": 3, "warm_ups": 0},
    machine={
        "processor": "p", "cores": 2, "memory_bytes": 1 << 34, "system": "s", "python": "3",
        "versions": {"ezkl": "1"}, "environment": {}, "commit": "c" * 40,
    },
    started="2026-01-01T00:00:00",
)  # fmt: skip


def row(
    suite: str,
    model: str,
    side: str,
    step: Step,
    metrics: dict[str, float],
    sample: int = 0,
    **facts: Any,
) -> Row:
    key = Key(suite=suite, model=model, side=side, step=step, sample=sample)
    return Row(key=key, status=Status.OK, metrics=metrics, facts=facts, seconds=1.5)


def system_result(
    model: str,
    side: str,
    *,
    prove_s: float,
    build_s: float,
    pk: float,
    multiplications: int,
    logrows: int = 15,
    misses: str | None = None,
) -> list[Row]:
    suite = "models" if side == "ours" else "baseline"
    facts = {"multiplications": multiplications, "logrows": logrows}
    built = {"build_s": build_s, "pk_bytes": pk}
    return [
        row(suite, model, side, Step.SETUP, built, **facts),
        *(
            row(suite, model, side, Step.PROVE, {"prove_s": prove_s, "peak_rss_bytes": 1.0}, i)
            for i in range(3)
        ),
        row(suite, model, side, Step.ACCURACY, {"max_error": 0.0}, misses=misses),
    ]


def through_a_file(rows: list[Row], folder: Path) -> Results:
    journal = Journal(folder / "results.jsonl", HEADER)
    for one in rows:
        journal.append(one)
    return read(folder)


@pytest.fixture
def summary(tmp_path: Path) -> RunSummary:
    ours: dict[str, Any] = {"side": "ours", "pk": 1.0}
    base: dict[str, Any] = {"side": "ezkl-default"}
    rows = [
        *system_result("a", prove_s=1, build_s=6, multiplications=100, **ours),
        *system_result("a", prove_s=40, build_s=2, pk=50, multiplications=100, **base),
        *system_result("b", prove_s=1, build_s=2, multiplications=4_999, **ours),
        *system_result("b", prove_s=10, build_s=2, pk=2, multiplications=4_999, **base),
        *system_result("c", prove_s=2, build_s=4, multiplications=5_000, **ours),
        *system_result("c", prove_s=1, build_s=1, pk=1, multiplications=5_000, logrows=18, **base),
        *system_result("d", prove_s=1, build_s=1, multiplications=7, misses="loses 9 %", **ours),
        *system_result("d", prove_s=9, build_s=1, pk=9, multiplications=7, **base),
    ]
    return RunSummary.of(through_a_file(rows, tmp_path))


def test_means_are_geometric_and_leave_out_what_is_not_comparable(summary: RunSummary) -> None:
    found = aggregates.compared(summary, "prove_s", summary.models)
    assert found is not None
    assert found.ratios == {"a": 40, "b": 10, "c": 0.5}
    assert found.geometric_mean == pytest.approx((40 * 10 * 0.5) ** (1 / 3))
    assert found.least == ("c", 0.5)


def test_small_models_have_fewer_than_5000_multiplications(summary: RunSummary) -> None:
    small = aggregates.small_models(summary)
    assert small == ["a", "b", "d"]
    keys = aggregates.compared(summary, "pk_bytes", small, Step.SETUP)
    assert keys is not None
    assert keys.geometric_mean == pytest.approx(10.0)
    assert aggregates.moderate_models(summary) == ["a", "b", "d"]


def test_the_report_has_these_aggregates(summary: RunSummary) -> None:
    text = tables.sums(summary)
    assert "| prove time, all models | **5.85×** | 3 | 0.5× (c) |" in text
    assert "| prove time, models whose default has k ≤ 17 | **20×** | 2 | 10× (b) |" in text
    assert "| prove time, models under 5,000 multiplications | **20×** | 2 | 10× (b) |" in text
    assert "| proving key, models under 5,000 multiplications | **10×** | 2 | 2× (b) |" in text
    # 6/2, 2/2 and 4/1: the geometric mean of 3, 1 and 4
    assert "took 2.29 times EZKL's calibration and set-up" in text
    assert "most: 4 times, c" in text


def test_the_report_has_the_harness_cost_and_the_spread(
    tmp_path: Path,
) -> None:
    """A sample of 1.5 s in total, of processes that took 1.4 s."""
    times = [1.0, 1.1, 1.2]
    rows = [
        row("models", "a", "ours", Step.PROVE, {"prove_s": t, "total_s": 1.4}, i)
        for i, t in enumerate(times)
    ]
    text = tables.spent(through_a_file(rows, tmp_path))
    assert "The samples took 4 s in total: models 4 s (3 samples)" in text
    assert "the harness took 100 ms (median of 3 samples)" in text
    assert "± 4.5% apart" in text  # quartiles 1.05 and 1.15 about 1.1


def test_a_peer_is_compared_by_whole_processes(tmp_path: Path) -> None:
    rows = []
    for side, total_s in (("ours", 4.0), ("ezkl-default", 9.0), ("circom", 2.0)):
        times = {"prove_s": 1.0, "total_s": total_s}
        rows += [row("peers", "a", side, Step.PROVE, times, i) for i in range(3)]
        rows.append(row("peers", "a", side, Step.ACCURACY, {"max_error": 0.0}, misses=None))
    text = tables.sums(RunSummary.of(through_a_file(rows, tmp_path)))
    assert "whole processes: a 0.5×." in text


def test_the_report_compares_our_contracts_with_the_default(tmp_path: Path) -> None:
    rows = [
        row("evm", "digits", side, step, metrics, i)
        for side, gas in (("ours", 400_000.0), ("ezkl-default", 800_000.0))
        for i, (step, metrics) in enumerate(
            [
                (Step.PREPARE, {"contract_bytes": gas / 40}),
                (Step.MEASURE, {"gas": gas, "deploy_gas": 3 * gas, "proof_bytes": 2_000.0}),
            ]
        )
    ]
    text = tables.contracts(through_a_file(rows, tmp_path)).replace("\u2009", " ")
    assert "| digits CNN 8×8 | ours | 10 kB | 1 200 000 | 400 000 | 50% | 2 kB |" in text
    assert "| digits CNN 8×8 | ezkl-default | 20 kB | 2 400 000 | 800 000 |  | 2 kB |" in text


def candidate(predicted_s: float, *prove_s: float) -> dict[str, Any]:
    return {
        "predicted_s": predicted_s, "predicted_bytes": 120, "prove_s": list(prove_s),
        "peak_bytes": [100] * len(prove_s), "failed": None,
    }  # fmt: skip


def test_regret_and_prediction_over_the_planner_suite(tmp_path: Path) -> None:
    rows = []
    for model, chosen in (("a", 1.0), ("b", 2.0)):
        choice = {"predicted_s": chosen, "predicted_bytes": 120}
        candidates = [candidate(1.0, 1.0, 1.0), candidate(2.0, 1.6)]
        rows += [
            row("planner", model, "balanced", Step.MEASURE, {"plan_s": 9.0}, choice=choice),
            row("planner", model, "candidates", Step.PREPARE, {}, plausible=5),
            row("planner", model, "candidates", Step.MEASURE, {}, 0, candidates=[]),
            row("planner", model, "candidates", Step.MEASURE, {}, 1, candidates=candidates),
        ]
    results = through_a_file(rows, tmp_path)
    text = tables.planner(results)
    assert "| a | 2 of 5 | 1 s | not timed | – | 0% | 9 s | 12% | 20% |" in text
    assert "| b | 2 of 5 | 1 s | not timed | – | 60% | 9 s | 12% | 20% |" in text
    assert "within 15% of the fastest on 1 of 2 models; median regret 30.0%, largest 60.0%" in text
    assert "Prediction over 4 candidates of 2 models: median error 12.5% of time and 20.0%" in text


def batch_rows(misses: str | None = None) -> list[Row]:
    name = "zkml batch, 64 inputs"
    packs = [{"lanes": 32, "proofs": 2}]
    lanes = [
        row("batch", "digits", "2 lanes", Step.MEASURE, {"proof_per_input_s": 0.5}, inputs=2),
        row("batch", "digits", "1 lane", Step.MEASURE, {"proof_per_input_s": 0.9}, inputs=1),
    ]
    base = {"per_input_s": 4.0, "proof_per_input_s": 4.0, "peak_rss_bytes": 3e8}
    ours = {"per_input_s": 0.2, "peak_rss_bytes": 2e8, "item_verify_s": 0.004, "max_error": 0.001}
    predicted = {"2": {"prove_s": 1.0}, "4": {"prove_s": 1.6}, "8": None}
    return [
        row("batch", "digits", "ezkl-default", Step.PREPARE, {"max_error": 0.002}, misses=None),
        row("batch", "digits", name, Step.PREPARE, {"total_s": 30.0}, inputs=64),
        row("batch", "digits", "ezkl-default", Step.MEASURE, base),
        row("batch", "digits", name, Step.MEASURE, ours, inputs=64, packs=packs, misses=misses),
        row("batch", "digits", "lanes foretold", Step.PREPARE, {}, memory_ends_at=8, at=predicted),
        *lanes,
    ]


def test_a_batch_is_compared_per_input_where_both_sides_are_exact_enough(tmp_path: Path) -> None:
    (found,) = aggregates.batched(through_a_file(batch_rows(), tmp_path))
    assert found.faster is not None
    assert found.faster.value == pytest.approx(20.0)
    assert (found.inputs, found.packs, found.first_s) == (64, "2 × 32", 30.0)
    (missed,) = aggregates.batched(through_a_file(batch_rows("loses 3 %"), tmp_path))
    assert missed.faster is None


@pytest.mark.long
def test_the_sweep_ends_where_memory_is_predicted_to(tmp_path: Path) -> None:
    results = through_a_file(batch_rows(), tmp_path)
    (sweep,) = aggregates.sweeps(results)
    assert sweep.seconds == {1: 0.9, 2: 0.5}
    assert sweep.predicted_s == {2: 0.5, 4: 0.4}
    assert (sweep.memory_ends_at, sweep.base_s) == (8, 4.0)
    text = report.write(results, tmp_path).read_text()
    assert "| 64 | 2 × 32 | 200 ms | 4 s | 20× |" in text
    assert (tmp_path / "plots" / "lanes.png").exists()
    assert "The samples took 10 s in total: batch 10 s (7 samples)." in text
