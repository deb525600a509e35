"""Noticing that a child waits for what will never come.

When EZKL's prover finds a value that a table or a shuffle does not hold, a thread of it logs, for
which it needs the GIL, which the call that waits for the thread is holding. Such a process sleeps
for ever; one that proves, however busy the machine, uses processor time.
"""

from __future__ import annotations

import time

import psutil

#: Seconds between two looks, and looks without any progress after which a call is given up. Looks
#: are counted, not seconds: a machine that slept has not looked.
LOOK_S, LOOKS = 5.0, 12


class StallWatch:
    """Watches one process. ``stalled`` may be asked at any time, and looks now and then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._next = time.monotonic() + LOOK_S
        self._used = -1.0
        self._still = 0

    def stalled(self) -> bool:
        """Whether the process has used no processor time over the last ``LOOKS`` looks."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + LOOK_S
        try:
            times = psutil.Process(self._pid).cpu_times()
        except psutil.Error:  # gone, or not ours to look at: its end is noticed elsewhere
            return False
        used = times.user + times.system
        self._still = self._still + 1 if used == self._used else 0
        self._used = used
        return self._still >= LOOKS
