"""Old operator sets, brought to one that the other passes are written for."""

from __future__ import annotations

import onnx_ir as ir
from onnx import version_converter
from onnx_ir.passes import common

from circuits.errors import ModelError
from circuits.frontend.outputs import OPSET
from circuits.rewrite.edit import Pass, opset

#: From here on axes and bounds are inputs, and Softmax means one axis.
OLDEST = 13
TARGET = OPSET


def _run(model: ir.Model) -> bool:
    listed = common.RemoveInitializersFromInputsPass()(model).modified
    if opset(model) >= OLDEST:
        return bool(listed)
    if all(node.domain not in ("", "ai.onnx") for node in model.graph):
        # Nothing is written in the old set: a tree from onnxmltools names whatever it likes.
        model.graph.opset_imports[""] = TARGET
        model.ir_version = max(model.ir_version or 0, 8)
        return True
    try:
        # Before IR 4 every initialiser had to be an input; the converter still expects it so.
        common.AddInitializersToInputsPass()(model)
        newer = ir.from_proto(version_converter.convert_version(ir.to_proto(model), TARGET))
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"opset {opset(model)} cannot be brought to {TARGET}: {str(error).splitlines()[0]}",
            advice="Export the model with opset 13 or newer.",
        ) from error
    common.RemoveInitializersFromInputsPass()(newer)
    model.graph = newer.graph
    model.ir_version = max(newer.ir_version, 8)
    return True


CONVERT_OPSET = Pass(
    name="convert-opset",
    version=1,
    purpose="Converts operator sets older than 13 to 17.",
    reference="https://onnx.ai/onnx/repo-docs/VersionConverter.html",
    run=_run,
)
