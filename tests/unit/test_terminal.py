"""What people read when a command fails."""

from __future__ import annotations

import pytest

from circuits.errors import ModelTooLarge
from prover.cli.terminal import Terminal


def test_an_error_has_detail_advice_and_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ModelTooLarge("the model has 9 bytes", advice="Export a smaller one.")
    Terminal(as_json=False).problem(error.problem())
    printed = capsys.readouterr().err
    assert "the model has 9 bytes" in printed
    assert "Export a smaller one." in printed
    assert "model_too_large" in printed


def test_a_command_line_that_makes_no_sense_is_sent_to_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Terminal(as_json=False).usage(ValueError("no such option"))
    assert "See `zkml --help`." in capsys.readouterr().err
