"""A cache of values that do not change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most ``most`` values by key; the oldest is dropped first. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[K, V] = {}
        self._guard = threading.Lock()

    def get(self, key: K, find: Callable[[], V]) -> V:
        """The key's value: cached, or from ``find``, which two threads may call at once. Errors are
        not cached."""
        with self._guard:
            if key in self._values:
                return self._values[key]
        value = find()
        with self._guard:
            while len(self._values) >= self._most:
                self._values.pop(next(iter(self._values)))
            self._values[key] = value
        return value
