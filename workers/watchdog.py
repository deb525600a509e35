"""The watchdog: ends a worker that gets no messages while jobs wait, so that it is restarted.

Celery on Redis can stop consuming after a connection reset (celery/celery issues 8030 and 10205):
the process lives while the queue fills. The store shows that jobs wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from circuits.errors import ZkmlError
from workers.stopping import Activity

_log = structlog.get_logger("zkml.worker")


class Watchdog:
    """Checks every quarter of ``after_s``. Calls ``bite`` once, after ``after_s`` seconds in which
    this process was idle while every check found a job that it could have claimed."""

    def __init__(
        self,
        waits: Callable[[], bool],
        activity: Activity,
        after_s: float,
        bite: Callable[[], None],
    ) -> None:
        """``waits``: whether there is a job that this process could claim."""
        self._waits = waits
        self._activity = activity
        self._after_s = after_s
        self._bite = bite
        self._waited_s = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def look(self, since_s: float) -> bool:
        """One check, ``since_s`` seconds after the last; returns whether to bite."""
        try:
            waits = self._waits()
        except ZkmlError:
            waits = False  # the store is unavailable, which is not this process's fault
        starving = waits and self._activity.idle_s >= since_s
        self._waited_s = self._waited_s + since_s if starving else 0.0
        return self._waited_s >= self._after_s

    def _run(self) -> None:
        pause_s = self._after_s / 4
        while not self._stopped.wait(pause_s):
            if self.look(pause_s):
                _log.error("starved", idle_s=round(self._activity.idle_s, 1))
                self._bite()
                return
