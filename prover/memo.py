"""Work on large files that many statements share, done once.

Statements about the lanes of one proof look at the same proof, key and settings. What is computed
from those alone need not be computed for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


class Once:
    """Remembers results by name and by the very objects that they were computed from.

    Objects, not contents: comparing contents would cost what this saves. Keep one as long as the
    statements of one proof are worked on; it keeps those files alive.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[int, ...]], tuple[tuple[object, ...], object]] = {}

    def __call__(self, name: str, compute: Callable[[], T], *parts: object) -> T:
        """``compute()``, or what it gave the last time for these parts. Errors are not kept."""
        key = (name, tuple(id(part) for part in parts))
        if key not in self._known:
            self._known[key] = (parts, compute())
        return cast(T, self._known[key][1])
