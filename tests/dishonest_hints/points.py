"""Field elements, digests, and points of BN254."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

from py_ecc import optimized_bn128 as curve

Q = curve.field_modulus
P = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001


def felt(n: int) -> str:
    return (int(n) % P).to_bytes(32, "little").hex()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def encoded(point: Any) -> bytes:
    return b"".join(int(c).to_bytes(32, "big") for c in curve.normalize(point))


def multiplied(points: list[Any], numbers: list[int]) -> Any:
    """The sum of points times numbers, by eight bits at once; numbers below zero are small too."""
    least = [
        (point, n) if n <= P // 2 else (curve.neg(point), P - n)
        for point, n in zip(points, (n % P for n in numbers), strict=False)
    ]
    total = curve.Z1
    for shift in reversed(range(0, 256, 8)):
        for _ in range(8):
            total = curve.double(total)
        buckets: dict[int, Any] = {}
        for point, n in least:
            if part := n >> shift & 255:
                buckets[part] = curve.add(buckets[part], point) if part in buckets else point
        running = curve.Z1
        for part, lower in pairwise([*sorted(buckets, reverse=True), 0]):
            running = curve.add(running, buckets[part])
            total = curve.add(total, curve.multiply(running, part - lower))
    return total


def number(data: bytes) -> int:
    return int.from_bytes(digest(data)[:31], "little")
