"""The watchdog: a worker to which no message comes while jobs wait ends, to be started again.

Celery on Redis is known to stop consuming after the connection was reset (celery/celery issues
8030 and 10205): the process lives, the queue fills. The store knows better than the connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from circuits.errors import ZkmlError
from workers.stopping import Activity

_log = structlog.get_logger("zkml.worker")


class Watchdog:
    """Looks every quarter of ``after_s``; calls ``bite`` once, when for ``after_s`` seconds this
    process had nothing to do while at each look a job waited that it could have taken."""

    def __init__(
        self,
        waits: Callable[[], bool],
        activity: Activity,
        after_s: float,
        bite: Callable[[], None],
    ) -> None:
        """``waits``: whether there is a job that this process could take."""
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
        """One look, ``since_s`` seconds after the last; whether it is time to bite."""
        try:
            waits = self._waits()
        except ZkmlError:
            waits = False  # the store is away: that is no fault of this process
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
