"""A folder of models, proved and compared with onnxruntime on the files themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.prove_folder import Prover
from benchmarks.report import models_page
from benchmarks.report.folder_report import Off, Outcome, Row, Run, markdown, read_rows, write
from circuits.format.profile import Profile
from prover.app import App
from prover.settings import Settings
from tests.cases import tiny

RUN = Run(tolerance=0.01, memory_gib=8, deadline_s=600, effort="fast", machine="a machine")


@pytest.fixture
def prover(tmp_path: Path, srs_cache: Path) -> Iterator[Prover]:
    app = App.open(Settings.load(home=tmp_path / "home", srs_dir=srs_cache, plan_effort="fast"))
    yield Prover(app=app, commit="c0ffee", profile=Profile())
    app.close()


def folder(at: Path, model: bytes, values: list[list[float]]) -> Path:
    at.mkdir()
    (at / "network.onnx").write_bytes(model)
    (at / "input.json").write_text(json.dumps({"inputs": {"x": values}}))
    return at


@pytest.mark.long
@pytest.mark.slow
def test_errors_are_measured_on_the_given_input_and_all_over_the_accepted_range(
    prover: Prover, tmp_path: Path
) -> None:
    row = prover.row(folder(tmp_path / "linear", tiny.linear(), [[0.3, -0.7, 0.2, 0.9]]))
    assert row.outcome is Outcome.PROVED, row
    assert row.given is not None
    assert row.drawn is not None
    assert (row.given.inputs, row.drawn.inputs, row.drawn.out) == (1, 8, 0)
    assert 0 < row.given.relative < 0.01
    assert 0 < row.drawn.relative < 0.02


@pytest.mark.long
@pytest.mark.slow
def test_an_output_beside_a_discontinuity_counts_as_wrong_though_its_proof_is_valid(
    prover: Prover, tmp_path: Path
) -> None:
    row = prover.row(folder(tmp_path / "floor", tiny.unary("Floor", (1, 1)), [[0.999999]]))
    assert (row.outcome, row.detail) == (Outcome.WRONG, "the outputs are off")
    assert row.given is not None
    assert row.given.absolute == 1.0


def test_what_cannot_be_proved_is_a_row_with_its_reason(prover: Prover, tmp_path: Path) -> None:
    row = prover.row(folder(tmp_path / "odd", tiny.non_zero(), [[1, 2, 3, 4]]))
    assert (row.outcome, row.code) == (Outcome.FAILED, "model_unsupported_operator")
    assert "the_node" in row.detail


def test_a_report_is_written_again_from_its_rows(tmp_path: Path) -> None:
    off = Off(inputs=8, absolute=0.5, relative=0.02, top=7, out=1)
    good = Row(name="b", outcome=Outcome.PROVED, commit="c0ffee", logrows=9, given=off, drawn=off)
    big = Row(
        name="a", outcome=Outcome.REFUSED, commit="c0ffee", code="model_too_large", detail="9 GiB"
    )
    write(tmp_path, [good, big], RUN)
    assert read_rows(tmp_path) == {"a": big, "b": good}
    text = (tmp_path / "report.md").read_text()
    assert text == markdown([big, good], RUN)
    assert "2 models: 1 proved, 1 refused, 0 late, 0 wrong, 0 failed" in text
    assert "2.000% (1 out of range)" in text
    assert "* a: `model_too_large`: 9 GiB" in text
    assert "tolerance on a random input: b" in text


def test_the_models_page_has_a_table_for_each_kind() -> None:
    off = Off(inputs=1, absolute=0.5, relative=0.002, top=1)
    rows = [
        Row(name="sklearn-Ridge", outcome=Outcome.PROVED, commit="", logrows=6, given=off),
        Row(name="pytorch-deep", outcome=Outcome.LATE, commit="", logrows=19,
            inspected={"script-13": "", "dynamo-18": "model_invalid: no"}),
    ]  # fmt: skip
    text = models_page.tables(rows)
    assert text.startswith("1 of 2 models prove within 1 %")
    assert "Of 2 further files" in text
    assert "| Ridge | 6 | 0.200% |" in text
    assert "| pytorch-deep | not proved in the time given; estimated k = 19 |" in text
