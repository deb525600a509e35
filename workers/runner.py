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

    def run_turn(self, job_id: str, owner: str, stopping: Stopping) -> str | None:
        """Claims the job whose turn it is (``Store.claim_turn``), works on it and writes down how
        it ended: the job's id. ``job_id`` is the one for which the message came.

        Returns None at once when nothing waits. Does not raise for a job that failed. When
        ``stopping`` turns true it gives the job back to the queue within seconds
        (``prover.jobs.lease.LeaseKeeper.settle``).
        """
        ...

    def waiting(self, owner: str) -> str | None:
        """A job that ``owner`` could take now; None: nothing waits."""
        ...

    def expire_due(self) -> None:
        """Ends jobs whose deadline has passed while nobody works on them."""
        ...

    def keep_house(self) -> None:
        """Removes what is not needed any more."""
        ...

    def close(self) -> None: ...


OpenRunner = Callable[[Settings], Runner]


def open_app(settings: Settings) -> Runner:
    """The real pipeline, loaded when a worker starts and not before."""
    from prover.app import App

    return App.open(settings)
