"""Noticing that a child waits for what will never come.

When EZKL's prover finds a value that a table or a shuffle does not hold, a thread of it logs, for
which it needs the GIL, which the call that waits for the thread is holding. Every thread of such a
process sleeps and nothing wakes it: CPython would ask for the GIL two hundred times a second, which
on some machines looks like work, so ``calls.prove`` has it ask once an hour. A process that proves
has a thread that runs, or that waits for a core or a disk, however busy the machine.
"""

from __future__ import annotations

import time
from pathlib import Path

#: Seconds between two looks, and looks in a row after which a call is given up. Looks are counted,
#: not seconds: a machine that slept has not looked.
LOOK_S, LOOKS = 5.0, 24
#: Of one core: who got more since the last look has worked.
SHARE = 0.01


class StallWatch:
    """Watches one process. ``stalled`` may be asked at any time, and looks now and then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen_at = time.monotonic()
        self._used = 0.0
        self._idle = 0

    def stalled(self) -> bool:
        """Whether the process did nothing, and wanted nothing, in each of the last ``LOOKS``
        looks."""
        now = time.monotonic()
        elapsed = now - self._seen_at
        if elapsed < LOOK_S:
            return False
        import psutil

        try:
            times = psutil.Process(self._pid).cpu_times()
            sleeps = _sleeps(self._pid)
        except (psutil.Error, OSError):  # gone, or not ours to look at: that is noticed elsewhere
            return False
        used = times.user + times.system
        idle = sleeps and used - self._used < SHARE * elapsed
        self._idle = self._idle + 1 if idle else 0
        self._seen_at, self._used = now, used
        return self._idle >= LOOKS


def _sleeps(pid: int) -> bool:
    """Whether each thread sleeps: none runs, waits for a core or a disk, or is stopped. True where
    there is no /proc."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(stat.read_text().rpartition(")")[2].split()[0] == "S" for stat in threads)
