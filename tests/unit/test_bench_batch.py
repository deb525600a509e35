"""The suite of batches, over folders that other runs use too."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import SampleTimeout
from benchmarks.harness.rows import Step
from benchmarks.harness.tasks import RunSize
from benchmarks.suites import batch
from benchmarks.zoo.zoo import choose


def test_lanes_that_a_smaller_run_did_not_ask_for_are_predicted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quick run in the middle of a long one must not make it say that memory ended."""
    asked: list[str] = []

    def flow(self: Any, command: str, model: str, calibration: str, lanes: str) -> dict[str, Any]:
        asked.append(lanes)
        costs = {"prove_s": 1e6, "peak_bytes": 1e9}
        several = [n for n in lanes.split(",") if n != "1"]  # as the real one does
        return {"why": None, "limit_bytes": 1e12, "at": dict.fromkeys(several, costs)}

    monkeypatch.setattr(batch._OneModel, "_flow", flow)
    monkeypatch.setattr(batch, "build_fixture", lambda entry, cache: _Files())
    folder = tmp_path / "batch" / "digits"
    folder.mkdir(parents=True)
    (folder / "predicted.json").write_text(json.dumps({"why": None, "at": {"1": {}, "2": {}}}))
    with ExitStack() as stack:
        (task,) = [
            t
            for t in batch.tasks(choose(["digits"], quick=False), RunSize(), tmp_path, stack)
            if t.key.side == "32 lanes" and t.key.step is Step.PREPARE
        ]
        with pytest.raises(SampleTimeout, match="32 lanes"):
            task.action()
        with pytest.raises(SampleTimeout):
            task.action()
    assert asked == [",".join(map(str, batch.LANES))], "and not a third time"


class _Files:
    onnx = calibration = Path("unused")
