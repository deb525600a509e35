"""Shapes as people write them: ``input=1,12,3`` for an input, ``axis=12`` for a named axis."""

from __future__ import annotations

from collections.abc import Iterable

from circuits.errors import DynamicShape

_MOST = 1 << 26


def parse_shapes(texts: Iterable[str]) -> dict[str, list[int]]:
    """Dimensions by name. Raises ``DynamicShape`` for an invalid shape."""
    shapes: dict[str, list[int]] = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        try:
            shapes[name] = [int(n) for n in numbers.split(",")]
        except ValueError:
            shapes[name] = []
        if not name or not shapes[name] or not all(1 <= n <= _MOST for n in shapes[name]):
            raise DynamicShape(
                f"{text[:80]!r} is not a shape", advice="Write input=1,12,3 or axis=12."
            )
    return shapes
