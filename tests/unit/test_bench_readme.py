"""The README's table of figures is the one that the checked-in result gives."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.rows import read
from benchmarks.report import page as report

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "headline-two-cores"


def test_the_readme_shows_the_checked_in_result() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert report.inserted(readme, report.excerpt(read(RESULT))) == readme
    assert "| LeNet-5 (61 706) |" in readme
