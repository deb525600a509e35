"""Lanes as the engine takes and gives them: each tensor, lane after lane."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from circuits.format.field import Felts


def join(rows: Sequence[Sequence[Felts]]) -> list[Felts]:
    """The engine's input of a batched circuit, from that of a single-lane one for each lane."""
    return [list(chain.from_iterable(tensors)) for tensors in zip(*rows, strict=True)]


def split(tensors: Sequence[Felts], lanes: int) -> list[list[Felts]]:
    """For each lane the tensors as a single-lane circuit gives them. The inverse of ``join``."""
    return [
        [t[lane * (len(t) // lanes) : (lane + 1) * (len(t) // lanes)] for t in tensors]
        for lane in range(lanes)
    ]
