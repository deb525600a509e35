"""The suite ``planner``: the quality of the planner's choices, and the cost of planning.

``zkml plan`` at efforts fast (the cost model decides) and balanced (the best few are timed), then
the ground truth: every plausible candidate is set up and proved, in turn, each in a new process.
*Regret* is how much slower a choice is than the fastest candidate; *prediction error* the
difference between a candidate's predicted and measured time or memory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import SampleFailed, SystemRefused
from benchmarks.harness import process
from benchmarks.harness.home import environment
from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import Outcome
from benchmarks.harness.tasks import RunSize, Task
from benchmarks.steps import candidates_flow
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import Fixture, build_fixture
from circuits.errors import Fault
from circuits.plan.effort import BUDGETS, Effort

SUITE = "planner"
MODELS = (
    "digits",
    "autoencoder",
    "mlp-196-25-10",
    "np-eng-32",
    "logistic-regression",
    "random-forest",
    "gradient-boosting",
    "svm",
    "lstm",
    "attention",
    "minicnn-8",
)
EFFORTS = ("fast", "balanced")
CANDIDATES = "candidates"
#: A candidate is plausible if it is predicted within this factor of the cheapest, as at the
#: planner's highest effort. At most so many are timed,
WITHIN, MOST, QUICK_MOST = BUDGETS[Effort.MAX][1], 16, 4
#: and no more than are predicted to prove within this total time, in seconds.
TOTAL_S = 40.0
#: Later rounds time those within this factor of the fastest.
AGAIN_WITHIN = 1.3
ROUNDS, QUICK_ROUNDS = 3, 1
_ROOT = Path(__file__).parents[2]
_ZKML = str(Path(sys.executable).with_name("zkml"))


def tasks(
    entries: Sequence[Entry], run_size: RunSize, cache: Path, stack: ExitStack
) -> Iterator[Task]:
    """Per model: a plan by each effort, the candidates' keys, then rounds over all candidates."""
    for entry in entries:
        yield from _OneModel(entry, run_size, cache).tasks()


class _OneModel:
    """The plans of one model."""

    def __init__(self, entry: Entry, run_size: RunSize, cache: Path):
        self._entry, self._run_size, self._cache = entry, run_size, cache
        self._work = cache / "candidates" / entry.name

    def tasks(self) -> Iterator[Task]:
        for effort in EFFORTS:
            yield Task(
                key=self._key(effort, Step.MEASURE),
                action=partial(self._plan, effort),
            )
        set_up = self._key(CANDIDATES, Step.PREPARE)
        yield Task(
            key=set_up,
            action=self._set_up,
            ready=(self._work / candidates_flow.FILE).exists,
        )
        for turn in range(QUICK_ROUNDS if self._run_size.quick else ROUNDS):
            yield Task(
                key=self._key(CANDIDATES, Step.MEASURE, turn),
                action=partial(self._prove, turn),
                needs=set_up,
                round=turn,
            )

    def _plan(self, effort: str) -> Outcome:
        """One plan, made by the command line."""
        fixture = self._fixture()
        command = [_ZKML, "plan", str(fixture.onnx), "--calibration", str(fixture.calibration)]
        measured = self._run([*command, "--effort", effort, "--json"])
        if measured.returncode != 0:
            raise _refusal(measured.output)
        plan = measured.output["plan"]
        choice = plan["choice"]
        return Outcome(
            metrics={"plan_s": measured.seconds},
            facts={
                "logrows": choice["args"]["logrows"],
                "considered": plan["considered"],
                "cost_model": plan["cost_model"],
                "choice": {
                    "variant": choice["variant"],
                    "args": choice["args"],
                    "predicted_s": choice["predicted"]["prove_s"],
                    "predicted_bytes": choice["predicted"]["peak_bytes"],
                },
            },
        )

    def _set_up(self) -> Outcome:
        fixture = self._fixture()
        files = (str(fixture.onnx), str(fixture.calibration), str(self._cache / "srs"))
        most = QUICK_MOST if self._run_size.quick else MOST
        output = self._flow("set-up", *files, str(most), str(WITHIN), str(TOTAL_S))
        setups = [c["setup_s"] for c in output["candidates"] if not c["failed"]]
        return Outcome(
            metrics={"setup_s": sum(setups)},
            facts={
                "different": output["different"],
                "plausible": output["plausible"],
                "cost_model": output["cost_model"],
            },
        )

    def _prove(self, turn: int) -> Outcome:
        """Every candidate's times so far; the last round's row has all of them."""
        output = self._flow("prove", str(turn), str(AGAIN_WITHIN))
        metrics = quality(output["candidates"])
        return Outcome(metrics=metrics, facts={"candidates": output["candidates"]})

    def _key(self, side: str, step: Step, sample: int = 0) -> Key:
        return Key(suite=SUITE, model=self._entry.name, side=side, step=step, sample=sample)

    def _fixture(self) -> Fixture:
        return build_fixture(self._entry, self._cache / "models")

    def _flow(self, step: str, *arguments: str) -> dict[str, Any]:
        flow = [sys.executable, "-m", "benchmarks.steps.candidates_flow", step, str(self._work)]
        measured = self._run([*flow, *arguments])
        if measured.returncode != 0:
            raise _refusal(measured.output)
        return measured.output

    def _run(self, command: list[str]) -> process.Measured:
        return process.run(
            command,
            deadline_s=self._run_size.deadline_s,
            cwd=_ROOT,
            env=environment(self._cache / "home" / "planner", self._cache / "srs"),
            accept=(0, 2, 3),
        )


def quality(candidates: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Prediction errors of the timed candidates, and their number."""
    timed = [c for c in candidates if c["prove_s"]]
    if not timed:
        return {}
    seconds = np.array([(c["predicted_s"], min(c["prove_s"])) for c in timed])
    memory = np.array([(c["predicted_bytes"], max(c["peak_bytes"])) for c in timed])
    return {
        "prove_s": float(seconds[:, 1].min()),
        "prediction_error": _median_error(seconds),
        "memory_prediction_error": _median_error(memory),
        "timed": float(len(timed)),
    }


def regret(choice: dict[str, Any], candidates: Sequence[dict[str, Any]]) -> float | None:
    """How much slower the choice is than the fastest candidate, as measured; None if it was not
    timed. Candidates of equal predicted cost have the same cost."""
    medians = [
        (float(np.median(c["prove_s"])), _costs(c) == _costs(choice))
        for c in candidates
        if c["prove_s"]
    ]
    chosen = [seconds for seconds, is_choice in medians if is_choice]
    if not chosen:
        return None
    return chosen[0] / min(seconds for seconds, _ in medians) - 1


def _costs(candidate: dict[str, Any]) -> tuple[float, float]:
    return candidate["predicted_s"], candidate["predicted_bytes"]


def _median_error(pairs: np.ndarray) -> float:
    """The median relative error of (predicted, measured) pairs."""
    return float(np.median(np.abs(pairs[:, 0] / pairs[:, 1] - 1)))


def _refusal(output: dict[str, Any]) -> Exception:
    problem = output.get("problem") or output
    detail = str(problem.get("detail") or json.dumps(output)[:400])
    ours = problem.get("fault") in (Fault.INTERNAL.value, Fault.BUSY.value, None)
    return (SampleFailed if ours else SystemRefused)(detail, problem=problem)
