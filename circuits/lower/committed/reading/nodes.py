"""A node of a graph that is being read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto

from circuits.committed.network import Floats
from circuits.lower.committed.reading.draft import Draft
from circuits.lower.committed.reading.values import Value

#: Axes of an image behind batch and channels.
_IMAGE = 2


class Refused(Exception):
    """What a node has no form for."""


@dataclass(frozen=True)
class Node:
    """A node being read, with the values of its inputs."""

    draft: Draft
    proto: NodeProto
    attributes: dict[str, Any]
    values: list[Value | None]

    def value(self, place: int) -> Value:
        found = self.values[place] if place < len(self.values) else None
        if found is None:
            raise Refused("an operand is missing")
        return found

    def has(self, place: int) -> bool:
        return place < len(self.values) and self.values[place] is not None

    def constant(self, place: int) -> Floats:
        found = self.value(place)
        if found.parts:
            raise Refused("an operand that should be constant is not")
        return found.constant

    def integers(self, place: int) -> list[int]:
        return [int(n) for n in self.constant(place).reshape(-1)]


def image_of(value: Value) -> Value:
    """A feature map ``[height, width, channels]`` of one that ONNX has channels first."""
    if value.shape[0] != 1:
        raise Refused("there is more than one sample")
    dims = value.shape if len(value.shape) == 2 + _IMAGE else (*value.shape[:2], 1, value.shape[2])
    return value.moved(lambda a: a.reshape(dims)[0].transpose(1, 2, 0))


def as_onnx(value: Value, spatial: int) -> Value:
    """The inverse of ``image_of``."""
    height, width, channels = value.shape
    dims = (1, channels, height, width) if spatial == _IMAGE else (1, channels, width)
    return value.moved(lambda a: a.transpose(2, 0, 1).reshape(dims))


def both_axes(found: Sequence[int], fill: int) -> list[int]:
    """Height and width of what one spatial axis has for its width."""
    if len(found) > _IMAGE:
        raise Refused("it has more than two spatial axes")
    return [*[fill] * (_IMAGE - len(found)), *(int(n) for n in found)]
