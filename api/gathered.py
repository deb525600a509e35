"""Reads that many requests make at once, made together: one transaction for all that came since the
last one. A busy service pays for a few reads, not for one a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Generic, TypeVar

import anyio

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Gathered(Generic[K, V]):
    """Looks things up by key. ``read`` gets some keys and answers for those that it found; what it
    raises is raised to all who asked.

    A read begins after it was asked for: it finds whatever was committed before. For one loop.
    """

    def __init__(self, read: Callable[[Collection[K]], Mapping[K, V]], *, in_thread: bool) -> None:
        """``in_thread``: reads may wait, so they are made in a thread. Otherwise the loop makes
        them: where Python is busy, each step of a thread costs it milliseconds of waiting."""
        self._read = read
        self._in_thread = in_thread
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, *keys: K) -> list[V | None]:
        """What there is of each key; None: nothing."""
        answers = [self._ask(key) for key in keys]
        return [await asyncio.shield(answer) for answer in answers]  # others may wait for the same

    def _ask(self, key: K) -> asyncio.Future[V | None]:
        answer = self._asked.get(key)
        if answer is None:
            answer = self._asked[key] = asyncio.get_running_loop().create_future()
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_all())
        return answer

    async def _read_all(self) -> None:
        # Of its own: short reads do not wait behind what is slow.
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
