"""Noticing that a child waits for what will never come.

When EZKL's prover finds a value that a table or a shuffle does not hold, a thread of it logs, for
which it needs the GIL, which the call that waits for the thread is holding. Such a process only
asks for the GIL again and again (0.3 % of a core, measured); one that proves gets more than
``SHARE``, however busy the machine.
"""

from __future__ import annotations

import time

#: Seconds between two looks, and looks in a row after which a call is given up. Looks are counted,
#: not seconds: a machine that slept has not looked.
LOOK_S, LOOKS = 5.0, 24
#: Of one core: who gets less does not work.
SHARE = 0.01


class StallWatch:
    """Watches one process. ``stalled`` may be asked at any time, and looks now and then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen_at = time.monotonic()
        self._used = 0.0
        self._idle = 0

    def stalled(self) -> bool:
        """Whether the process did nothing in each of the last ``LOOKS`` looks."""
        now = time.monotonic()
        elapsed = now - self._seen_at
        if elapsed < LOOK_S:
            return False
        import psutil

        try:
            times = psutil.Process(self._pid).cpu_times()
        except psutil.Error:  # gone, or not ours to look at: its end is noticed elsewhere
            return False
        used = times.user + times.system
        self._idle = self._idle + 1 if used - self._used < SHARE * elapsed else 0
        self._seen_at, self._used = now, used
        return self._idle >= LOOKS
