"""Every locked dependency has its licence in docs/licences.md, and none that forbids Apache-2.0."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALLOWED = (
    "MIT",
    "BSD",
    "Apache",
    "ISC",
    "PSF",
    "MPL-2.0",
    "LGPL-3.0",
    "matplotlib",
    "ZPL-2.1",
    "0BSD",
    "Zlib",
)


def test_the_page_lists_what_the_lock_installs() -> None:
    licences = runpy.run_path(str(ROOT / ".ci" / "licences.py"))
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| ")][1:]
    listed = {name.strip(): licence.strip() for name, licence in rows}
    assert sorted(listed) == licences["locked"](), "run `make licences`"
    odd = {name for name, licence in listed.items() if not licence.startswith(ALLOWED)}
    assert odd == {"ezkl", "pyrevm"}, "a licence that nobody looked at"
