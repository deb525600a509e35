"""The interface between a worker and the pipeline; ``prover.app.App`` implements it."""

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

    def run_turn(self, job_id: str, owner: str, stopping: Stopping) -> str | None:
        """Claims the next job in order (``Store.claim_turn``), works on it and writes its end;
        returns the job's id. ``job_id`` is the job of the message.

        Returns None at once if nothing waits. Does not raise for a failed job. When ``stopping``
        becomes true it requeues the job within seconds (``prover.jobs.lease.LeaseKeeper.settle``).
        """
        ...

    def waiting(self, owner: str) -> str | None:
        """A job that ``owner`` could claim now, or None."""
        ...

    def expire_due(self) -> None:
        """Ends overdue unclaimed jobs."""
        ...

    def keep_house(self) -> None:
        """One round of housekeeping."""
        ...

    def close(self) -> None: ...


OpenRunner = Callable[[Settings], Runner]


def open_app(settings: Settings) -> Runner:
    """The real pipeline, loaded when a worker starts."""
    from prover.app import App

    return App.open(settings)
