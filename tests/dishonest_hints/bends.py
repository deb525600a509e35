"""What is bent of hints, by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.dishonest_hints.network import Hints


def unbent(hints: Hints, base: int) -> None:
    """Hints as they should be."""


def _raise(name: str, at: int, by: int) -> Callable[[Hints, int], None]:
    def bend(hints: Hints, _: int) -> None:
        hints[name][at] += by

    return bend


def _both(*bends: Callable[[Hints, int], None]) -> Callable[[Hints, int], None]:
    def bend(hints: Hints, base: int) -> None:
        for one in bends:
            one(hints, base)

    return bend


def _swap(*names: str) -> Callable[[Hints, int], None]:
    """What the first two lanes of three have, the other way round."""

    def bend(hints: Hints, _: int) -> None:
        for name in names:
            if name not in hints:  # results have remainders only where weights are sealed
                continue
            size = len(hints[name]) // 3
            first, second = hints[name][:size], hints[name][size : 2 * size]
            hints[name][: 2 * size] = second + first

    return bend


def _carried(hints: Hints, quotient: str, remainder: str, base: int) -> None:
    """A quotient larger by one and a remainder below zero, where that is least so."""
    low = hints[remainder]
    at = max(range(len(low)), key=low.__getitem__)
    hints[quotient][at] += 1
    low[at] -= base


#: The hints of ``tests.integration.test_committed.network``.
_HIDDEN = ("q0", "lo0", "rows0", "columns0", "q1", "lo1", "q2", "lo2")
BENDS: dict[str, Callable[[Hints, int], None]] = {
    "quotient": _raise("q0", 3, 1),
    "remainder": lambda h, _: h["lo0"].__setitem__(3, (h["lo0"][3] + 1) % 2),
    "hidden quotient": _raise("q1", 0, 1),
    "border": _raise("rows0", 2, 1),
    "column": _raise("columns0", 2, 1),
    "sum of salt": _raise("sum", 0, 1),
    "negative remainder": lambda h, base: _both(_raise("q0", 5, 1), _raise("lo0", 5, -base))(h, 0),
    "rounded to the next": lambda h, base: _carried(h, "q0", "lo0.2", base),
    "result": _raise("q2", 0, 1),
    "negative input": lambda h, _: h["input"].__setitem__(5, -3),
    # Of three lanes: 72 quotients and 5 hidden ones, 3 results each.
    "quotient of the last lane": _raise("q0", 2 * 72 + 3, 1),
    "border of the last lane": _raise("rows0", -1, 1),
    "result of the last lane": _raise("q2", 2 * 3, 1),
    "results that cancel": _both(_raise("q2", 0, 1), _raise("q2", 3, -1)),
    "quotients that cancel": _both(_raise("q0", 3, 1), _raise("q0", 72 + 3, -1)),
    "lanes told apart by nothing": _both(_raise("q2", 0, 1), _raise("q2", 3, -1)),
    "results swapped": _swap("q2", "lo2"),
    "lanes swapped behind the input": _swap(*_HIDDEN),
    "whole lanes swapped": _swap("input", *_HIDDEN),
}


def by_name(text: str) -> Callable[[Hints, int], None]:
    """``NAME NUMBER``: an element of a hint nearer to zero by one, or one; ``carry SUM``: a
    quotient larger by one and a remainder below zero, where that is least so; else nothing.
    (Look-ups beyond the table make the engine wait for ever.)"""
    name, _, place = text.partition(" ")

    def nearer(hints: Hints, _: int) -> None:
        own = hints[name][int(place)]
        hints[name][int(place)] += 1 if own <= 0 else -1

    if name == "carry":
        return lambda h, base: _carried(h, f"q{place}", f"lo{place}", base)
    return nearer if place.isdecimal() else unbent


def _borrowed(hints: Hints, base: int) -> None:
    """An input's higher digit larger by one and the lower one below zero: of an element that
    ``tests.integration.test_committed_trees.tree`` compares."""
    low = hints["input"]
    at = max((0, 5, 12, 20, 29, 35), key=low.__getitem__)
    hints["input-0-1"][at] += 1
    low[at] -= base


BENDS["borrowed digit"] = _borrowed
BENDS["input below the table"] = _raise("input", 5, -3)
BENDS["constant after challenges"] = _raise("q2", 2, 1)
BENDS["result and weights"] = BENDS["weights under challenges"] = BENDS["result"]
