"""How a worker stops: nothing new at the first signal, what fits the grace time is finished, the
rest goes back to the queue; a second signal gives it back at once."""

from __future__ import annotations

import threading
import time


class Stopping:
    """Asked by whoever works: ``stopping()`` is whether to hand back now, ``draining`` whether to
    begin nothing new. ``request`` may be called in a signal handler."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._hand_back_at: float | None = None

    def request(self) -> None:
        """A signal has come; the second one ends the grace."""
        now = time.monotonic()
        self._hand_back_at = now + self._grace_s if self._hand_back_at is None else now

    def at_once(self) -> None:
        """Without grace: the process ends."""
        self._hand_back_at = time.monotonic()

    @property
    def draining(self) -> bool:
        return self._hand_back_at is not None

    def __call__(self) -> bool:
        return self._hand_back_at is not None and time.monotonic() >= self._hand_back_at


class Activity:
    """How many jobs this process works on, and for how long it has had none."""

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
