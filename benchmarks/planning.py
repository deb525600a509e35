"""The suite ``planner``: how good the cost model's choice is, and what the choosing costs.

``zkml plan`` at the highest effort proves every plausible candidate. *Regret* is how much slower
the candidate that the cost model puts first is than the fastest one; *prediction error* the median
distance of predicted from measured time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import process
from benchmarks.errors import SampleFailed
from benchmarks.models.entry import Entry
from benchmarks.models.material import materialise
from benchmarks.rows import Key, Step
from benchmarks.sides.side import Outcome
from benchmarks.tasks import Amount, Task

SUITE = "planner"
EFFORTS = ("fast", "balanced", "max")


def tasks(
    entries: Sequence[Entry], amount: Amount, cache: Path, stack: ExitStack
) -> Iterator[Task]:
    """One plan per model and effort."""
    for entry in entries:
        for effort in EFFORTS:
            yield Task(
                key=Key(suite=SUITE, model=entry.name, side=effort, step=Step.MEASURE),
                action=lambda entry=entry, effort=effort: _plan(  # type: ignore[misc]
                    entry, effort, amount, cache
                ),
            )


def _plan(entry: Entry, effort: str, amount: Amount, cache: Path) -> Outcome:
    material = materialise(entry, cache / "models")
    zkml = str(Path(sys.executable).with_name("zkml"))
    measured = process.run(
        [zkml, "plan", str(material.onnx), "--calibration", str(material.calibration), "--json"],
        deadline_s=amount.deadline_s,
        env={
            **os.environ,
            "ZKML_HOME": str(cache / "home" / "planner"),
            "ZKML_SRS_DIR": str(cache / "srs"),
            "ZKML_PLAN_EFFORT": effort,
        },
        accept=(0, 2, 3),
    )
    if measured.returncode != 0:
        raise SampleFailed(str(measured.told.get("detail") or measured.told))
    plan = measured.told["plan"]
    return Outcome(
        metrics={"plan_s": measured.seconds, **quality([plan["choice"], *plan["runners_up"]])},
        facts={
            "logrows": plan["choice"]["args"]["logrows"],
            "considered": plan["considered"],
            "cost_model": plan["cost_model"],
        },
    )


def quality(candidates: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Regret and prediction error of the candidates that were timed; nothing for fewer than two."""
    timed = [
        (candidate["predicted"]["prove_s"], candidate["measured"]["prove_s"])
        for candidate in candidates
        if candidate["measured"]
    ]
    if len(timed) < 2:
        return {}
    predicted, real = np.array(timed).T
    return {
        "regret": float(real[predicted.argmin()] / real.min() - 1),
        "prediction_error": float(np.median(np.abs(predicted / real - 1))),
        "timed": float(len(timed)),
    }
