"""Logs hold what went wrong, and nothing of what it went wrong with."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from prover.app import App
from prover.jobs.pipeline import Pipeline
from prover.logs import configure_logs, get_logger, log_context, request_in_context
from prover.records.job import JobKind
from prover.settings import Settings
from prover.testing import model_record


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


def test_lines_about_a_job_name_it_and_the_request_that_ordered_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(home=tmp_path, log_json=True)
    configure_logs(settings)
    monkeypatch.setattr(Pipeline, "run", lambda *_: get_logger("test").info("at work"))
    app = App.open(settings)
    app.store.add_model(model_record())
    with log_context(request_id="r1"):
        job = app.store.create_job(
            JobKind.PROOF, model_record().id, "c", request_in_context(), None
        )
    app.run(job.id, "w")
    app.close()
    (line,) = [json.loads(one) for one in capsys.readouterr().err.splitlines() if "at work" in one]
    ids = {name: line[name] for name in ("job", "circuit", "tenant", "request_id")}
    assert ids == {"job": job.id, "circuit": "c", "tenant": "default", "request_id": "r1"}
