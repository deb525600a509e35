"""Stopping a worker: at the first signal it claims no more jobs, finishes those that fit the grace
time and requeues the others; a second signal requeues them at once."""

from __future__ import annotations

import threading
import time


class Stopping:
    """``stopping()``: whether to requeue jobs now. ``draining``: whether to claim no more.
    ``request`` may be called in a signal handler."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._hand_back_at: float | None = None

    def request(self) -> None:
        """Handles a signal; the second one ends the grace time."""
        now = time.monotonic()
        self._hand_back_at = now + self._grace_s if self._hand_back_at is None else now

    def at_once(self) -> None:
        """Ends the grace time at once."""
        self._hand_back_at = time.monotonic()

    @property
    def draining(self) -> bool:
        return self._hand_back_at is not None

    def __call__(self) -> bool:
        return self._hand_back_at is not None and time.monotonic() >= self._hand_back_at


class Activity:
    """The number of running jobs, and for how long there has been none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._idle_since = time.monotonic()

    def __enter__(self) -> None:
        with self._lock:
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1
            self._idle_since = time.monotonic()

    @property
    def idle_s(self) -> float:
        with self._lock:
            return 0.0 if self._running else time.monotonic() - self._idle_since
