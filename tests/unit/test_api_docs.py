"""docs/http.md against the API's own description: every route, none invented, true shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.application import create_app
from tests.unit.fake_app import FakeApp

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
_SECTION = re.compile(r"^### `(GET|POST) (\S+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_JSON = re.compile(r"^```json (\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_URL = re.compile(r"\$ZKML(/[^\s\"?]*)")


@dataclass(frozen=True)
class Section:
    """What the page says about one route."""

    method: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


SECTIONS = [Section(*found) for found in _SECTION.findall(PAGE)]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    app = FakeApp(tmp_path_factory.mktemp("home"))
    yield create_app(app).openapi()
    app.close()


def test_every_route_is_described_and_none_is_invented(document: dict[str, Any]) -> None:
    real = {f"{m.upper()} {path}" for path, ops in document["paths"].items() for m in ops}
    assert {str(s) for s in SECTIONS} == real


@pytest.mark.parametrize("section", SECTIONS, ids=str)
def test_every_section_can_be_tried(section: Section) -> None:
    route = re.compile(re.sub(r"{\w+}", "[^/]+", section.path))
    assert any(route.fullmatch(url) for url in _URL.findall(section.text))


@pytest.mark.parametrize("section", SECTIONS, ids=str)
def test_every_example_has_the_shape_that_is_promised(
    section: Section, document: dict[str, Any]
) -> None:
    operation = document["paths"][section.path][section.method.lower()]
    for label, text in _JSON.findall(section.text):
        if label == "request":
            content = operation["requestBody"]["content"]["application/json"]
        else:
            (content,) = operation["responses"][label]["content"].values()
        schema = content["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))
