"""Logs hold what went wrong, and nothing of what it went wrong with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from prover.logs import configure_logs
from prover.settings import Settings


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_traceback_shows_no_variables(
    as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(Settings(home=tmp_path, log_json=as_json))

    def prove(private: list[float]) -> None:
        raise RuntimeError("a defect")

    try:
        prove([1 / 81])
    except RuntimeError:
        structlog.get_logger("test").exception("pipeline_defect", job="j")
    logged = capsys.readouterr().err
    assert "RuntimeError: a defect" in logged
    assert "0.0123456" not in logged
