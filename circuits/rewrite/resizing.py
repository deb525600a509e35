"""Resize as constant selections and matrices: whatever its mode, it is linear and known."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from circuits.rewrite.edit import Builder, Pass, attr, constant, expand, input_at, opset, shape_of

_KEPT = (
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "mode",
    "nearest_mode",
)


def _resize(node: ir.Node, build: Builder, version: int) -> ir.Value | None:
    image, out = node.inputs[0], node.outputs[0]
    assert image is not None
    if attr(node, "coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    before, after = shape_of(image), shape_of(out)
    scales = _scales(node, before, after)
    value = image
    for axis, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new and scales[axis] == 1:
            continue
        matrix = _axis_matrix(node, old, new, scales[axis], version)
        value = _apply(value, axis, matrix, len(before), build)
    return value


def _scales(node: ir.Node, before: tuple[int, ...], after: tuple[int, ...]) -> list[float]:
    given = constant(input_at(node, 2))
    if given is not None and given.size == len(before):
        return [float(s) for s in given]
    return [a / b for a, b in zip(after, before, strict=True)]


def _axis_matrix(
    node: ir.Node, old: int, new: int, scale: float, version: int
) -> NDArray[np.float32]:
    """What one axis does to each unit vector, by ONNX's reference implementation: [new, old]."""
    attributes = {k: attr(node, k) for k in _KEPT if k in node.attributes}
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "s"], ["y"], **attributes)],
        "axis",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [old])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [onnx.numpy_helper.from_array(np.array([scale], dtype=np.float32), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    evaluator = ReferenceEvaluator(model)
    columns: list[NDArray[np.float32]] = []
    for unit in np.eye(old, dtype=np.float32):
        outputs = evaluator.run(None, {"x": unit})
        assert isinstance(outputs, list)
        columns.append(np.asarray(outputs[0], dtype=np.float32))
    return np.stack(columns, axis=1)[:new]


def _apply(
    value: ir.Value, axis: int, matrix: NDArray[np.float32], rank: int, build: Builder
) -> ir.Value:
    if np.all((matrix == 0) | (matrix == 1)) and np.all(matrix.sum(axis=1) == 1):
        where = build.const(matrix.argmax(axis=1).astype(np.int64))
        return build.op("Gather", value, where, axis=axis)
    # Bring the axis last, multiply, bring it back.
    order = [a for a in range(rank) if a != axis] + [axis]
    back = [int(i) for i in np.argsort(order)]
    moved = build.op("Transpose", value, perm=order) if axis != rank - 1 else value
    product = build.op("MatMul", moved, build.const(np.ascontiguousarray(matrix.T)))
    return build.op("Transpose", product, perm=back) if axis != rank - 1 else product


def _run(model: ir.Model) -> None:
    version = max(opset(model), 13)
    expand(model, {"Resize": lambda node, build: _resize(node, build, version)})


DECOMPOSE_RESIZE = Pass(
    name="decompose-resize",
    version=1,
    purpose="Expresses Resize, axis by axis, as Gather (nearest) or a constant MatMul (linear,"
    " cubic).",
    reference="ONNX operator specification, Resize, evaluated by onnx.reference",
    run=_run,
    touches=frozenset(("Resize", "Upsample")),
)
