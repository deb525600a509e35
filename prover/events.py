"""Nudges: "look at this job's row again". They carry no data and may be lost; the row is the truth.

A worker publishes after each change; whoever waits for a job subscribes *first*, then reads the
row, then waits, and reads again at every nudge and at every timeout::

    with nudges.subscribe(job_id) as subscription:
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

import redis
import structlog
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from prover.errors import QueueUnavailable

_CHANNEL = "zkml:job:"
_log = structlog.get_logger(__name__)


class Subscription:
    """One waiter for one job, in a thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Blocks until a nudge came since the last call, or the time is over: which of the two."""
        nudged = self._event.wait(timeout_s)
        self._event.clear()
        return nudged

    def nudge(self) -> None:
        self._event.set()


class AsyncSubscription:
    """One waiter for one job, in an event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def wait(self, timeout_s: float) -> bool:
        """Waits until a nudge came since the last call, or the time is over: which of the two."""
        nudged = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            nudged = False
        self._event.clear()
        return nudged

    def nudge(self) -> None:
        # A loop that has ended has no waiters.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)


class Nudges(ABC):
    """A bus of nudges: publish from anywhere, subscribe from threads and from event loops."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[Callable[[], None]]] = {}
        self._guard = threading.Lock()

    @abstractmethod
    def publish(self, job_id: str) -> None:
        """Tells every subscriber of the job, in any process. Never raises: a lost nudge costs its
        reader one timeout and nothing else."""

    def start(self) -> None:  # noqa: B027 - nothing to do is a fine answer
        """Gets ready to hear nudges; subscribing does this too. May block for a moment."""

    def close(self) -> None:  # noqa: B027
        """Stops hearing nudges."""

    def ping(self) -> None:  # noqa: B027
        """Returns if nudges can be sent; raises ``QueueUnavailable`` otherwise."""

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Subscription]:
        """Hears the job's nudges from here to the end of the block."""
        self.start()
        subscription = Subscription()
        with self._waiting(job_id, subscription.nudge):
            yield subscription

    @asynccontextmanager
    async def subscribe_async(self, job_id: str) -> AsyncIterator[AsyncSubscription]:
        """The same in an event loop."""
        await asyncio.to_thread(self.start)
        subscription = AsyncSubscription()
        with self._waiting(job_id, subscription.nudge):
            yield subscription

    @contextmanager
    def _waiting(self, job_id: str, nudge: Callable[[], None]) -> Iterator[None]:
        with self._guard:
            self._waiters.setdefault(job_id, set()).add(nudge)
        try:
            yield
        finally:
            with self._guard:
                self._waiters[job_id].discard(nudge)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def _wake(self, job_id: str | None) -> None:
        """Wakes the waiters in this process: of one job, or (None) all of them."""
        with self._guard:
            groups = self._waiters.values() if job_id is None else [self._waiters.get(job_id, ())]
            waiting = [nudge for group in groups for nudge in group]
        for nudge in waiting:
            nudge()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LocalNudges(Nudges):
    """Nudges within one process, for work without a server."""

    def publish(self, job_id: str) -> None:
        self._wake(job_id)


class RedisNudges(Nudges):
    """Nudges through Redis. One thread and one connection per process hear them all, however
    many wait; they start with the first subscription."""

    def __init__(self, url: str):
        """``url`` is ``redis://``, ``rediss://`` or ``unix://``."""
        super().__init__()
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=2,
            socket_timeout=5,
            health_check_interval=30,
            retry=Retry(NoBackoff(), 1),  # a nudge is not worth waiting for
        )
        self._listener: threading.Thread | None = None
        self._ready = threading.Event()
        self._closing = threading.Event()

    def publish(self, job_id: str) -> None:
        try:
            self._client.publish(_CHANNEL + job_id, b"")
        except redis.RedisError as error:
            _log.warning("nudge_lost", job=job_id, error=str(error))

    def ping(self) -> None:
        try:
            self._client.ping()
        except redis.RedisError as error:
            raise QueueUnavailable(f"Redis did not answer: {error}.") from error

    def start(self) -> None:
        with self._guard:
            if self._listener is None:
                self._listener = threading.Thread(target=self._listen, name="nudges", daemon=True)
                self._listener.start()
        self._ready.wait(timeout=2)

    def close(self) -> None:
        self._closing.set()
        if self._listener is not None:
            self._listener.join(timeout=5)
        self._client.close()

    def _listen(self) -> None:
        pause_s = 0.1
        while not self._closing.is_set():
            try:
                with PubSub(self._client.connection_pool) as pubsub:
                    pubsub.psubscribe(_CHANNEL + "*")
                    self._hear(pubsub)
                pause_s = 0.1
            except (redis.RedisError, OSError) as error:
                _log.warning("nudges_interrupted", error=str(error))
                self._closing.wait(pause_s)
                pause_s = min(pause_s * 2, 5.0)

    def _hear(self, pubsub: PubSub) -> None:
        while not self._closing.is_set():
            message = pubsub.get_message(timeout=0.5)
            if message is None:
                continue
            if message["type"] == "psubscribe":
                self._ready.set()
                self._wake(None)  # what was published while nobody listened is not known
            elif message["type"] == "pmessage":
                self._wake(message["channel"].decode().removeprefix(_CHANNEL))


def open_nudges(redis_url: str | None) -> Nudges:
    """The bus that fits: through Redis when there is one, else within this process."""
    return LocalNudges() if redis_url is None else RedisNudges(redis_url)
