"""Notifications: "read this job's row again". They carry no data and may be lost: the row is the
source of truth.

A worker publishes after each change. A waiter subscribes *first*, then reads the row, then waits,
and reads again at each notification and each timeout::

    with notifications.subscribe(job_id) as subscription:
        while not store.job(job_id).state.terminal:
            subscription.wait(timeout_s=5)
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Self

from prover.logs import get_logger

_log = get_logger(__name__)


class Subscription:
    """A thread that waits for one job."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Blocks until a notification since the last call (True) or the timeout (False)."""
        notified = self._event.wait(timeout_s)
        self._event.clear()
        return notified

    def notify(self) -> None:
        self._event.set()


class AsyncSubscription:
    """A coroutine that waits for one job."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def wait(self, timeout_s: float) -> bool:
        """Waits until a notification since the last call (True) or the timeout (False)."""
        notified = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            notified = False
        self._event.clear()
        return notified

    def notify(self) -> None:
        # A closed loop has no waiters.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)


class Notifications(ABC):
    """A bus of notifications: publish from anywhere, subscribe from threads and event loops."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[Callable[[], None]]] = {}
        self._guard = threading.Lock()

    @abstractmethod
    def publish(self, job_id: str) -> None:
        """Notifies every subscriber of the job, in any process. Never raises: a lost notification
        only costs the reader one timeout."""

    def start(self) -> None:  # noqa: B027 - optional to override
        """Starts receiving; subscribing does this too. May block for a moment."""

    def close(self) -> None:  # noqa: B027
        """Stops receiving."""

    def ping(self) -> None:  # noqa: B027
        """Returns if notifications can be sent; raises ``QueueUnavailable`` otherwise."""

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Subscription]:
        """Receives the job's notifications until the end of the block."""
        self.start()
        subscription = Subscription()
        with self._waiting(job_id, subscription.notify):
            yield subscription

    @asynccontextmanager
    async def subscribe_async(self, job_id: str) -> AsyncIterator[AsyncSubscription]:
        """The same in an event loop."""
        await asyncio.to_thread(self.start)
        subscription = AsyncSubscription()
        with self._waiting(job_id, subscription.notify):
            yield subscription

    @contextmanager
    def _waiting(self, job_id: str, notify: Callable[[], None]) -> Iterator[None]:
        with self._guard:
            self._waiters.setdefault(job_id, set()).add(notify)
        try:
            yield
        finally:
            with self._guard:
                self._waiters[job_id].discard(notify)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def _wake(self, job_id: str | None) -> None:
        """Wakes the waiters in this process: those of one job, or (None) all."""
        with self._guard:
            groups = self._waiters.values() if job_id is None else [self._waiters.get(job_id, ())]
            waiting = [notify for group in groups for notify in group]
        for notify in waiting:
            notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
