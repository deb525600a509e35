"""docs/http.md against the API's own description: every route, none invented, true shapes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest

from tests.unit import make_openapi

PAGE = make_openapi.PAGE.read_text()
_URL = re.compile(r"\$ZKML(/[^\s\"?]*)")


@dataclass(frozen=True)
class Section:
    """What the page says about one route."""

    method: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


SECTIONS = [Section(*found) for found in make_openapi.SECTION.findall(PAGE)]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(make_openapi.document())
    return found


def test_the_files_made_from_routes_and_page_are_up_to_date(document: dict[str, Any]) -> None:
    assert json.loads(make_openapi.EXAMPLES.read_text()) == json.loads(make_openapi.examples()), (
        "docs/http.md has changed: run `make openapi`"
    )
    assert json.loads(make_openapi.DOCUMENT.read_text()) == document, (
        "the routes have changed: run `make openapi`, and look at what it changed"
    )


def test_every_route_has_an_example(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            (sample,) = operation["x-codeSamples"]
            assert "$ZKML/" in sample["source"], f"{method} {path}"


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
    for label, text in make_openapi.JSON_BLOCK.findall(section.text):
        if label == "request":
            content = operation["requestBody"]["content"]["application/json"]
        else:
            shapes = operation["responses"][label]["content"]
            (content,) = (shapes[media] for media in shapes if media.endswith("json"))
        schema = content["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))
