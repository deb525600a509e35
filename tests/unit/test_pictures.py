"""The pictures of the documentation are those that their sources give, of places that exist."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"


def test_the_architecture_is_drawn_from_its_source() -> None:
    source = tomllib.loads((FOLDER / "architecture.toml").read_text(encoding="utf-8"))
    drawn = runpy.run_path(str(FOLDER / "draw.py"))["picture"](source)
    assert (FOLDER / "architecture.svg").read_text(encoding="utf-8") == drawn, "run `make pictures`"
    for box in source["box"]:
        for place in box["place"].split(", "):
            assert (ROOT / place).exists(), place
