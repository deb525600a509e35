"""The interface of a measured system, and the accuracy of its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.zoo.fixtures import Fixture

#: The most held-out accuracy a system may lose; beyond it, its time is not compared.
ACCURACY_LOST_AT_MOST = 0.01
#: Beyond this error over the output's range, a proved output counts as wrong.
WRONG_ERROR = 0.25
#: Without labels: the largest error over the output's range.
ERROR_AT_MOST = 0.02


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a sample (``benchmarks.harness.rows.Row``); ``verified``: None without proof.

    ``outputs`` has the circuit's outputs in the model's units, one flat list per input; ``wrong``
    says what is wrong with them.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    verified: bool | None = None
    outputs: list[list[float]] | None = None
    wrong: str | None = None


@dataclass(frozen=True, kw_only=True)
class Workdir:
    """Folders of a system: ``work`` for one model; ``srs`` is shared by all systems."""

    work: Path
    srs: Path
    deadline_s: float


class System(Protocol):
    """A measured system. Every method measures in new processes and may raise ``ZkmlError``."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def setup(self, fixture: Fixture, workdir: Workdir) -> Outcome:
        """From the model to keys. Must leave ``workdir.work`` ready for the other methods."""
        ...

    def is_set_up(self, fixture: Fixture, workdir: Workdir) -> bool:
        """Whether ``workdir.work`` still has the files of ``setup``."""
        ...

    def prove(self, fixture: Fixture, workdir: Workdir, sample: int) -> Outcome:
        """One held-out input: witness, proof, verification, and the proof's own outputs."""
        ...

    def accuracy(self, fixture: Fixture, workdir: Workdir, count: int) -> Outcome:
        """The circuit's outputs for the first ``count`` held-out inputs, without proofs."""
        ...


def judge(outputs: list[list[float]], fixture: Fixture) -> dict[str, float]:
    """Accuracy metrics of outputs for the first ``len(outputs)`` held-out inputs."""
    answers = np.asarray(outputs, dtype=np.float64)
    wanted = fixture.reference[: len(answers)]
    metrics = {
        "max_error": relative_error(answers, fixture.reference),
    }
    if fixture.labels is not None:
        labels = fixture.labels[: len(answers)]
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
