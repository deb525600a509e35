"""What the harness asks of a side, and how its answers are judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.zoo.fixtures import Fixture

#: A side may lose this much held-out accuracy; beyond it, its time is not compared.
ACCURACY_LOST_AT_MOST = 0.01
#: Beyond this error over the output's range, a proved answer is not the model's at all.
WRONG_ERROR = 0.25
#: Without labels: the largest error over the output's range.
ERROR_AT_MOST = 0.02


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sample gave (``benchmarks.harness.rows.Row``). ``verified``: None without a proof.

    ``outputs`` holds the circuit's answers in the model's units, one flat list per input;
    ``wrong`` says what is wrong with them.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    verified: bool | None = None
    outputs: list[list[float]] | None = None
    wrong: str | None = None


@dataclass(frozen=True, kw_only=True)
class Workdir:
    """Where a side may keep what it made: ``work`` is its own for one model; ``srs`` is shared."""

    work: Path
    srs: Path
    deadline_s: float


class System(Protocol):
    """One contender. Every method measures in fresh processes and may raise ``ZkmlError``."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def setup(self, material: Fixture, place: Workdir) -> Outcome:
        """From the model to keys. Must leave ``place.work`` ready for the other two."""
        ...

    def is_set_up(self, material: Fixture, place: Workdir) -> bool:
        """Whether ``place.work`` still holds what ``setup`` made."""
        ...

    def prove(self, material: Fixture, place: Workdir, sample: int) -> Outcome:
        """One held-out input: witness, proof, verification, and the proof's own outputs."""
        ...

    def accuracy(self, material: Fixture, place: Workdir, count: int) -> Outcome:
        """The circuit's answers for the first ``count`` held-out inputs, without proofs."""
        ...


def judge(outputs: list[list[float]], material: Fixture) -> dict[str, float]:
    """Accuracy metrics of answers for the first ``len(outputs)`` held-out inputs."""
    answers = np.asarray(outputs, dtype=np.float64)
    wanted = material.reference[: len(answers)]
    metrics = {
        "max_error": relative_error(answers, material.reference),
    }
    if material.labels is not None:
        labels = material.labels[: len(answers)]
        metrics["accuracy"] = float((answers.argmax(1) == labels).mean())
        metrics["reference_accuracy"] = float((wanted.argmax(1) == labels).mean())
        metrics["agreement"] = float((answers.argmax(1) == wanted.argmax(1)).mean())
    return metrics


def relative_error(answers: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """The largest absolute error over the range of the model's outputs on all held-out inputs."""
    span = float(reference.max() - reference.min()) or 1.0
    return float(np.abs(answers - reference[: len(answers)]).max()) / span


def misses(metrics: dict[str, float]) -> str | None:
    """Why these accuracy metrics miss the constraint, or None when they meet it."""
    if "accuracy" in metrics:
        lost = metrics["reference_accuracy"] - metrics["accuracy"]
        if lost > ACCURACY_LOST_AT_MOST:
            return f"loses {lost:.1%} of accuracy"
        return None
    if metrics["max_error"] > ERROR_AT_MOST:
        return f"largest error {metrics['max_error']:.1%} of the output's range"
    return None
