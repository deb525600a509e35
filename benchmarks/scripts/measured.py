"""Runs one command and reports what it cost, from a process too small to disturb the figure.

    python -I -S measured.py DEADLINE_S STDOUT STDERR COMMAND...

Linux counts a process's memory before ``exec`` into its peak, so a child's ``ru_maxrss`` is never
below its parent's own size. Started by this launcher (about 10 MB), the floor does not matter.
The last line on our stdout is JSON: ``returncode`` (negative: a signal), ``seconds`` (from spawn to
exit), ``user_seconds``, ``system_seconds``, ``peak_rss_bytes`` (``wait4``: of the child or its
largest reaped descendant), ``timed_out``.
"""

import contextlib
import json
import os
import signal
import sys
import time

LOOK_EVERY_S = 0.5


def main(deadline_s: float, stdout: str, stderr: str, command: list[str]) -> None:
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_OPEN, 2, stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        ],
        setpgroup=0,
    )
    begin = time.perf_counter()
    parent = os.getppid()
    timed_out = False

    def kill_group(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def look(*_: object) -> None:
        nonlocal timed_out
        late = time.perf_counter() - begin > deadline_s
        timed_out = timed_out or late
        if late or os.getppid() != parent:  # no process is left to read the result
            kill_group()

    signal.signal(signal.SIGTERM, kill_group)
    signal.signal(signal.SIGINT, kill_group)
    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_EVERY_S, LOOK_EVERY_S)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    signal.setitimer(signal.ITIMER_REAL, 0)
    kill_group()  # nothing the command left behind may disturb the next sample
    unit = 1 if sys.platform == "darwin" else 1024
    print(
        json.dumps(
            {
                "returncode": os.waitstatus_to_exitcode(status),
                "seconds": seconds,
                "user_seconds": usage.ru_utime,
                "system_seconds": usage.ru_stime,
                "peak_rss_bytes": usage.ru_maxrss * unit,
                "timed_out": timed_out,
            }
        )
    )


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
