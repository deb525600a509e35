"""`compare` gives a verdict only where there is one to give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import ResultsInvalid, ResultsVersion
from benchmarks.harness.rows import Header, Journal, Key, Results, Row, Status, Step, read
from benchmarks.report.compare import Verdict, compare, different_machines, lost, markdown

HEADER = Header(
    options={"samples": 7}, machine={"processor": "one", "commit": "a"}, started="2026-01-01"
)


def key(sample: int = 0) -> Key:
    return Key(suite="models", model="digits", side="ours", step=Step.PROVE, sample=sample)


def run_of(times: np.ndarray, status: Status = Status.OK) -> Results:
    rows = tuple(
        Row(key=key(i), status=status, metrics={"prove_s": float(t)}) for i, t in enumerate(times)
    )
    return Results(header=HEADER, rows=rows)


def noisy(seed: int, factor: float = 1.0) -> Results:
    return run_of(factor * np.exp(np.random.default_rng(seed).normal(0, 0.05, 7)))


def verdict(old: Results, new: Results) -> Verdict:
    (only,) = compare(old, new)
    return only.verdict


def test_a_slow_down_of_two_is_always_seen_and_a_speed_up_of_two_too() -> None:
    for seed in range(40):
        assert verdict(noisy(seed), noisy(seed + 1000, factor=2)) is Verdict.WORSE
        assert verdict(noisy(seed), noisy(seed + 1000, factor=0.5)) is Verdict.BETTER


def test_runs_that_differ_by_noise_alone_are_hardly_ever_flagged() -> None:
    flagged = sum(verdict(noisy(s), noisy(s + 1000)) is not Verdict.SAME for s in range(100))
    assert flagged <= 5


def test_a_run_compared_with_itself_shows_no_difference() -> None:
    assert verdict(noisy(1), noisy(1)) is Verdict.SAME


def test_more_accuracy_is_better_and_less_is_worse() -> None:
    def accuracy(share: float) -> Results:
        rows = [Row(key=key(i), status=Status.OK, metrics={"accuracy": share}) for i in range(3)]
        return Results(header=HEADER, rows=tuple(rows))

    assert verdict(accuracy(0.9), accuracy(0.96)) is Verdict.BETTER
    assert verdict(accuracy(0.96), accuracy(0.9)) is Verdict.WORSE


def test_two_samples_are_too_few_for_a_verdict() -> None:
    assert verdict(run_of(np.ones(2)), run_of(np.full(2, 9.0))) is Verdict.UNKNOWN


def test_the_table_shows_changes_first_and_only_counts_what_says_nothing() -> None:
    found = [
        *compare(noisy(1), noisy(1)),
        *compare(noisy(1), noisy(2, factor=2)),
        *compare(run_of(np.ones(2)), run_of(np.ones(2))),
    ]
    counts, _, _, _, *rows = markdown(found).splitlines()
    assert counts == "3 figures compared: 1 worse, 1 no difference seen, 1 too few samples."
    assert [row.split("|")[-2].strip() for row in rows] == ["worse", "no difference seen"]
    assert len(markdown(found, everything=True).splitlines()) == len(rows) + 5


def test_a_sample_that_is_good_no_more_is_named() -> None:
    assert lost(run_of(np.ones(1)), run_of(np.ones(1), Status.WRONG)) == [
        "models/digits/ours/prove/0"
    ]


def test_another_machine_is_named_but_another_commit_is_the_point_of_comparing() -> None:
    machine = {"processor": "two", "commit": "b"}
    other = Results(header=Header(options={}, machine=machine, started=""), rows=())
    assert different_machines(noisy(1), other) == ["processor"]


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"header": {"schema": 0}}\n')
    with pytest.raises(ResultsVersion, match="schema 0"):
        read(path)


@pytest.mark.parametrize("text", ["", "nonsense\n", "[1]\n", '{"rows": 3}\n'])
def test_a_file_that_holds_no_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.jsonl").write_text(text)
    with pytest.raises(ResultsInvalid):
        read(tmp_path)


def test_a_truncated_line_is_ignored_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    journal = Journal(path, HEADER)
    journal.append(Row(key=key(0), status=Status.OK, metrics={"prove_s": 1.0}))
    journal.append(Row(key=key(1), status=Status.OK, metrics={"prove_s": 2.0}))
    path.write_bytes(path.read_bytes()[:-9])
    assert [row.key.sample for row in read(path).rows] == [0]
