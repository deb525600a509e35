"""A memo for computations that the statements about one proof share.

Statements about the lanes of one proof use the same proof, key and settings. Results that depend
only on these are computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


class Memo:
    """Caches results by name and by the identity of the arguments.

    Identity, not equality: comparing contents would cost what this saves. Use one instance per
    proof; it keeps the arguments alive.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[int, ...]], tuple[tuple[object, ...], object]] = {}

    def __call__(self, name: str, compute: Callable[[], T], *parts: object) -> T:
        """``compute()``, or its cached result for these parts. Errors are not cached."""
        key = (name, tuple(id(part) for part in parts))
        if key not in self._known:
            self._known[key] = (parts, compute())
        return cast(T, self._known[key][1])
