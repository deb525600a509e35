"""What training leaves behind and inference ignores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from circuits.rewrite.edit import (
    Builder,
    constant,
    expanding,
    has_shape,
    input_at,
    shape_of,
)


def _dropout(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    training = constant(input_at(node, 2))
    if input_at(node, 2) is not None and (training is None or bool(training)):
        return None
    kept = node.inputs[0]
    assert kept is not None
    if len(node.outputs) == 1:
        return [kept]
    if not has_shape(kept):
        return None
    return [kept, build.const(np.ones(shape_of(kept), dtype=bool))]


DROP_TRAINING = expanding(
    {"Dropout": _dropout},
    name="drop-training",
    version=2,
    purpose="Removes Dropout, which is the identity at inference.",
    reference="ONNX operator specification, Dropout: training_mode defaults to false",
)
