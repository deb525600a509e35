"""The progress of one attempt at a job: its stages, their seconds, and whether to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from circuits.errors import Canceled
from prover import tracing
from prover.jobs.lease import LeaseKeeper
from prover.jobs.notifications import Notifications
from prover.records.job import Job, Stage
from prover.store import Store

#: Progress at the start of each stage.
PROGRESS = {
    Stage.COMPILE: 0.0,
    Stage.WITNESS: 0.1,
    Stage.PROVE: 0.15,
    Stage.VERIFY: 0.9,
    Stage.SIGN: 0.95,
}


@dataclass
class Progress:
    """The progress of one attempt at a job."""

    job: Job
    held: LeaseKeeper
    store: Store
    notifications: Notifications
    on_progress: Callable[[str], None] | None
    timings: dict[str, float] = field(default_factory=dict)
    peak_rss_bytes: int | None = None

    def begin(self, stage: Stage) -> None:
        """Writes that a stage begins."""
        if self.held.should_stop():
            raise Canceled
        tracing.stage(stage.value)
        self.store.set_stage(self.held.lease, stage, PROGRESS[stage], self.timings)
        self.notifications.publish(self.job.id)

    def note(self, text: str) -> None:
        """Forwards the compiler's progress, and stops the compiler if the job must stop."""
        if self.held.should_stop():
            raise Canceled
        if self.on_progress is not None:
            self.on_progress(text)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """``begin``, and records the stage's seconds at its end."""
        self.begin(stage)
        started = time.monotonic()
        yield
        self.timings[stage.value] = time.monotonic() - started
