"""What all that makes inputs plain numbers shares (``circuits.frontend.inputs``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from circuits.format.tensors import TensorSpec

#: Operators that only move what their first input holds; Concat, what all of them hold.
MOVES = frozenset(
    {"ArrayFeatureExtractor", "Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice"}
    | {"Split", "Squeeze", "Transpose", "Unsqueeze"}
)


@dataclass
class PlainInputs:
    """What was done, for people; what each new tensor's numbers stand for; and the names of the
    nodes that turn it back."""

    notes: list[str] = field(default_factory=list)
    nodes: set[str] = field(default_factory=set)
    meanings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def told(self, tensors: Iterable[TensorSpec]) -> list[TensorSpec]:
        """The inputs with what their numbers stand for."""
        return [replace(t, **self.meanings.get(t.name, {})) for t in tensors]

    def begin(self, graph: GraphProto, name: str, node: NodeProto) -> None:
        """Puts a node between an input and all that reads it."""
        node.name = node.output[0]
        self.nodes.add(node.name)
        for reader in graph.node:
            for at, read in enumerate(reader.input):
                if read == name:
                    reader.input[at] = node.output[0]
        graph.node.insert(0, node)


def listed(texts: Sequence[str]) -> str:
    """A few of them."""
    return ", ".join(texts[:8]) + (", …" if len(texts) > 8 else "")


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Attributes by name; tensors as arrays of one dimension."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {
        name: numpy_helper.to_array(value).reshape(-1) if isinstance(value, TensorProto) else value
        for name, value in found.items()
    }
