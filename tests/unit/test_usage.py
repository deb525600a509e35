"""A command line without sense ends with exit code 2, and programs are told so as JSON."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from prover.cli.root import main

WITHOUT_SENSE = [
    ["nonsense"],
    ["prove", "a.onnx", "b.json"],
    ["prove", "a.onnx", "b.json", "-o", "c", "--visibility", "nobody"],
    ["prove", "a.onnx", "b.json", "-o", "c", "--tolerance", "-1"],
    ["verify"],
    ["srs", "generate", "27"],
    ["srs"],
    ["up", "--port", "99999"],
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own, and this process keeps its signals."""
    monkeypatch.setenv("ZKML_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["zkml", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("args", WITHOUT_SENSE, ids=" ".join)
def test_it_exits_with_2(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *args) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("args", [["prove"], ["srs", "generate", "27"], ["nonsense"]], ids=" ".join)
def test_programs_are_told_as_json(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *args, "--json") == 2
    assert json.loads(capsys.readouterr().out)["problem"]["code"] == "usage"
