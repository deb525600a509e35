"""A worker process as the real one, with a pipeline that only waits: run as a script by tests.

A job's request says how: ``{"work_s": seconds}``. Each start and end is a line in the file named
by the first argument, so that tests see what ran how often.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from prover.admission import Place
from prover.jobs.bus import open_notifications
from prover.jobs.lease import holding
from prover.records.job import Stage
from prover.settings import Settings
from prover.store import Store
from workers.once import serve_once
from workers.runner import Stopping
from workers.service import serve


class WaitingRunner:
    """Claims, holds and ends jobs as the pipeline does, and sleeps where it would prove."""

    def __init__(self, settings: Settings, diary: Path):
        self._store = Store.open(
            settings.database_url,
            max_attempts=settings.max_attempts,
            quarantine_after=settings.quarantine_after,
        )
        self._settings = settings
        self._notifications = open_notifications(settings.redis_url)
        self._ttl_s = settings.lease_s
        self._diary = diary
        self.announce: Callable[[Sequence[str]], None] = lambda job_ids: None

    def run_turn(self, job_id: str, owner: str, stopping: Stopping) -> str | None:
        lease = self._store.claim_turn(job_id, owner, self._ttl_s, Place.of(self._settings, owner))
        if lease is None:
            self._write("refused", job_id)
            return None
        job_id = lease.job_id
        self._write("started", job_id)
        work_s = self._store.every_tenant().job(job_id).request["work_s"]
        with holding(
            self._store.every_tenant(),
            lease,
            self._ttl_s,
            notifications=self._notifications,
            stopping=stopping,
        ) as held:
            self._store.set_stage(lease, Stage.PROVE)
            self._notifications.publish(job_id)
            give_up = time.monotonic() + work_s
            while time.monotonic() < give_up and not held.should_stop():
                time.sleep(0.005)
            if held.should_stop():
                held.settle()
            else:
                self._store.succeed(lease, {"by": os.getpid()})
            self._notifications.publish(job_id)
        self._write("ended", job_id)
        return job_id

    def waiting(self, owner: str) -> str | None:
        return self._store.waiting_turn()

    def expire_due(self) -> None:
        self._store.expire_due()

    def keep_house(self) -> None:
        pass

    def close(self) -> None:
        self._notifications.close()
        self._store.close()

    def _write(self, word: str, job_id: str) -> None:
        with self._diary.open("a") as out:
            out.write(f"{word} {job_id} {os.getpid()}\n")


if __name__ == "__main__":
    if "--once" in sys.argv:
        serve_once(Settings.load(), lambda settings: WaitingRunner(settings, Path(sys.argv[1])))
    else:
        sys.exit(
            serve(Settings.load(), lambda settings: WaitingRunner(settings, Path(sys.argv[1])))
        )
