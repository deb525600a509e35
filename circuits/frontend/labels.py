"""Labels that are nothing but the sign of a score which the model gives out as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto

#: What leaves elements as they are, and in their order.
_SAME = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})

#: One sample's outputs.
Outputs = Sequence[NDArray[Any]]


def signs_of(graph: GraphProto) -> list[tuple[int, int]]:
    """Each output that is the sign of another, and that one, by their places."""
    made = {name: node for node in graph.node for name in node.output}
    roots = [_root(output.name, made) for output in graph.output]
    found = []
    for label, root in enumerate(roots):
        node = made.get(root)
        if node is not None and node.op_type == "Sign":
            score = _root(node.input[0], made)
            found += [(label, place) for place, other in enumerate(roots) if other == score][:1]
    return found


def _root(name: str, made: dict[str, NodeProto]) -> str:
    while (node := made.get(name)) is not None and node.op_type in _SAME:
        name = node.input[0]
    return name


def undecided(
    answers: Sequence[Outputs], signs: Sequence[tuple[int, int]], allowed: float
) -> list[list[NDArray[np.bool_]]]:
    """For each sample and each of ``signs``, in the label's shape, whether its score is so near to
    zero that floats decide by their rounding: ``allowed``, of the scores' range."""
    near = []
    for label, place in signs:
        scores = np.stack([answer[place] for answer in answers])
        room = allowed * float(np.ptp(scores))
        near.append(
            [
                (np.abs(score) <= room).reshape(answer[label].shape)
                for score, answer in zip(scores, answers, strict=True)
            ]
        )
    return [list(own) for own in zip(*near, strict=True)] if near else [[] for _ in answers]
