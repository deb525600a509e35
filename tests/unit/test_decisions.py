"""Every decision has a unique number and a line in the index."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"


def test_the_index_names_every_decision_once() -> None:
    files = sorted(path.name for path in FOLDER.glob("0*.md"))
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((0\d+-[a-z-]+\.md)\)", index) == files
    numbers = [name[:4] for name in files]
    assert numbers == [f"{n + 1:04}" for n in range(len(files))]
