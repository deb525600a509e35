"""Operators that only move elements about, as onnx itself moves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper
from onnx.reference import ReferenceEvaluator

MOVES = (
    *(
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Pad",
        "Reshape",
    ),
    *("Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
#: An array in another order and number, once for each output.
Move = Callable[[NDArray[Any]], list[NDArray[Any]]]


def mover(node: NodeProto, operands: Sequence[NDArray[Any] | None]) -> Move:
    """What a node does to the elements of its first operand, zeros where it pads. ``operands``: its
    others; None where one is left out. Raises ``ValueError`` for padding with anything else."""
    own = NodeProto()
    own.CopyFrom(node)
    rest = {f"c{n}": values for n, values in enumerate(operands, 1) if values is not None}
    if node.op_type == "Pad":
        modes = [helper.get_attribute_value(a) for a in node.attribute if a.name == "mode"]
        if modes not in ([], [b"constant"]) or np.any(rest.pop("c2", np.zeros(1))):
            raise ValueError("only zeros are padded with")
    places = range(1, len(node.input))
    del own.input[:]
    own.input.extend(["x", *(name if (name := f"c{n}") in rest else "" for n in places)])
    evaluator = ReferenceEvaluator(own)
    feeds = {name: values.astype(np.int64) for name, values in rest.items()}

    def moved(array: NDArray[Any]) -> list[NDArray[Any]]:
        found: Any = evaluator.run(None, {"x": np.ascontiguousarray(array), **feeds})
        return [np.asarray(values) for values in found]

    return moved
