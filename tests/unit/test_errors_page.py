"""docs/errors.md against the error classes: every code, none invented, status and retry true."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import api
import benchmarks
import circuits
import prover
import workers
from api.problem import catalogue, status_of, title_of

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
_ROW = re.compile(r"^\| `(\w+)` \| (\d+) \| (yes|no) \| (.+?) \| (.+?) \|$", re.MULTILINE)
#: The first loads the engine, whose place is a child process; the others need other programs.
_LEFT_OUT = ("circuits.engine.calls", "benchmarks.corpus", "prover.store.migrations")
ROWS = {code: rest for code, *rest in _ROW.findall(PAGE)}


@pytest.fixture(scope="module", autouse=True)
def every_module_is_loaded() -> None:
    """An error class is known once its module is."""
    for package in (circuits, prover, workers, api, benchmarks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(_LEFT_OUT):
                importlib.import_module(module.name)


def real_codes() -> set[str]:
    """Codes of this project's own classes: tests define some too."""
    return {c for c, cls in catalogue().items() if not cls.__module__.startswith("tests.")}


def test_every_code_has_an_entry() -> None:
    assert real_codes() - set(ROWS) == set(), "add a row to docs/errors.md: what to do about it"


def test_no_entry_is_of_a_code_that_is_gone() -> None:
    assert set(ROWS) - real_codes() == set()
    assert len(_ROW.findall(PAGE)) == len(ROWS) == PAGE.count("\n| `")


def test_the_page_says_what_the_class_says() -> None:
    known = catalogue()
    assert {c: what for c, (_, _, what, _) in ROWS.items()} == {
        c: f"{title_of(known[c])}." for c in ROWS
    }


def test_status_and_retry_are_true() -> None:
    told = {code: (int(status), retry == "yes") for code, (status, retry, *_) in ROWS.items()}
    known = catalogue()
    assert told == {code: (status_of(known[code]), known[code].retryable) for code in told}
