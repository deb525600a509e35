"""What a worker asks of the pipeline. ``prover.app.App`` is the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from prover.settings import Settings

#: Whether this process is shutting down.
Stopping = Callable[[], bool]


class Runner(Protocol):
    """Runs jobs. Called from several threads at once.

    ``announce`` is set by the worker: the runner calls it with the ids of jobs that a job has
    queued, such as the packs of a batch.
    """

    announce: Callable[[Sequence[str]], None]

    def run(self, job_id: str, owner: str, stopping: Stopping) -> None:
        """Claims the job, works on it and writes down how it ended.

        Returns at once when the job is taken or over. Does not raise for a job that failed. When
        ``stopping`` turns true it gives the job back to the queue within seconds
        (``prover.lease.Held.settle``).
        """
        ...

    def close(self) -> None: ...


OpenRunner = Callable[[Settings], Runner]


def open_app(settings: Settings) -> Runner:
    """The real pipeline, loaded when a worker starts and not before."""
    from prover.app import App

    return App.open(settings)
