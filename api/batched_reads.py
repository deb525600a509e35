"""Batched reads: one transaction for all concurrent requests since the last one, so that a busy
service makes few reads instead of one per request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Generic, TypeVar

import anyio

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BatchedReads(Generic[K, V]):
    """Looks up values by key. ``read`` gets keys and returns the values it found; its exceptions
    reach all callers.

    A read starts after its request, so it sees everything committed before. For one event loop.
    """

    def __init__(self, read: Callable[[Collection[K]], Mapping[K, V]], *, in_thread: bool) -> None:
        """``in_thread``: reads may block, so they run in a thread. Otherwise the event loop makes
        them, since each switch to a thread costs milliseconds in a busy process."""
        self._read = read
        self._in_thread = in_thread
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, *keys: K) -> list[V | None]:
        """The value of each key, or None."""
        answers = [self._ask(key) for key in keys]
        return [
            await asyncio.shield(answer) for answer in answers
        ]  # other callers may wait for the same read

    def _ask(self, key: K) -> asyncio.Future[V | None]:
        answer = self._asked.get(key)
        if answer is None:
            answer = self._asked[key] = asyncio.get_running_loop().create_future()
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_all())
        return answer

    async def _read_all(self) -> None:
        # A separate task: short reads do not wait for slow calls.
        limiter = anyio.CapacityLimiter(1)
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                if self._in_thread:
                    found = await anyio.to_thread.run_sync(self._read, list(asked), limiter=limiter)
                else:
                    found = self._read(list(asked))
            except Exception as error:
                for answer in asked.values():
                    answer.set_exception(error)
            else:
                for key, answer in asked.items():
                    answer.set_result(found.get(key))
        self._reading = None
