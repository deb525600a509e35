"""The benchmarks' command line: exit statuses, and files that it writes into."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.cli import main
from benchmarks.harness.rows import FILE_NAME, Header, Journal, Key, Row, Status, Step
from benchmarks.report import page as report

MACHINE = {
    "processor": "p", "cores": 2, "memory_bytes": 1 << 30, "system": "s", "python": "3",
    "versions": {}, "environment": {}, "commit": "c",
}  # fmt: skip


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return main()


def results(folder: Path, seconds: float) -> Path:
    folder.mkdir()
    header = Header(options={"samples": 3, "warm_ups": 0}, machine=MACHINE, started="2026-01-01")
    journal = Journal(folder / FILE_NAME, header)
    for i in range(3):
        key = Key(suite="models", model="digits", side="ours", step=Step.PROVE, sample=i)
        journal.append(Row(key=key, status=Status.OK, metrics={"prove_s": seconds + i / 1000}))
    return folder


@pytest.mark.parametrize(
    "arguments", [("--suite", "nope"), ("--model", "gpt"), ("--nope",), ("--samples", "0")]
)
def test_bad_usage_ends_with_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert call(monkeypatch, *arguments, "-o", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_compare_ends_with_one_only_when_something_is_worse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, slow = results(tmp_path / "old", 1.0), results(tmp_path / "slow", 2.0)
    assert call(monkeypatch, "compare", old, old) == 0
    capsys.readouterr()
    assert call(monkeypatch, "compare", old, slow, "--json") == 1
    output = json.loads(capsys.readouterr().out)
    assert output["comparisons"][0]["verdict"] == "worse"
    assert output["comparisons"][0]["ratio"] == pytest.approx(2.0, rel=0.01)
    assert call(monkeypatch, "compare", slow, old) == 0


def test_a_readme_is_stale_until_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found, readme = results(tmp_path / "run", 1.0), tmp_path / "README.md"
    assert call(monkeypatch, "readme", found, readme) == 2  # there is no such file
    readme.write_text("no markers\n")
    assert call(monkeypatch, "readme", found, readme) == 2
    readme.write_text(f"{report.BEGIN}\n{report.END}\n")
    assert call(monkeypatch, "readme", found, readme, "--check") == 1
    assert call(monkeypatch, "readme", found, readme) == 0
    assert call(monkeypatch, "readme", found, readme, "--check") == 0
