"""Writes what is made from docs/http.md and the routes: ``api/examples.json`` and
``docs/openapi.json``. ``make openapi`` runs it; a test fails when either is out of date."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from api.application import create_app
from tests.unit.fake_app import FakeApp

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "http.md"
EXAMPLES = ROOT / "api" / "examples.json"
DOCUMENT = ROOT / "docs" / "openapi.json"

SECTION = re.compile(
    r"^### `(GET|POST|PUT|PATCH|DELETE|HEAD) (\S+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL
)
JSON_BLOCK = re.compile(r"^```json (\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> str:
    """What docs/http.md shows of each route: its commands, requests and answers."""
    found: dict[str, Any] = {}
    for method, path, text in SECTION.findall(PAGE.read_text()):
        shown = {label: json.loads(block) for label, block in JSON_BLOCK.findall(text)}
        commands = "".join(_SHELL_BLOCK.findall(text)).strip()
        found[f"{method} {path}"] = {"shell": commands, **shown}
    return _text(found)


def document() -> str:
    """The OpenAPI document that this version serves."""
    with tempfile.TemporaryDirectory() as folder:
        app = FakeApp(Path(folder))
        try:
            return _text(create_app(app).openapi())
        finally:
            app.close()


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    EXAMPLES.write_text(examples())
    DOCUMENT.write_text(document())
