"""Models that exporters wrote and onnxruntime refuses: small integers where ONNX has none, and
places outside a table.

Tried only on a model that onnxruntime does not load as it is; what comes out is then the reference.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir import DataType

from circuits.frontend.outputs import ML
from circuits.rewrite.edit import Builder, Pass, constant, expand, ints, shape_of

_NARROW = (DataType.INT8, DataType.INT16, DataType.UINT8, DataType.UINT16)


def _cast(node: ir.Node, build: Builder) -> ir.Value | None:
    target = node.attributes["to"].as_int()
    if target not in [int(t) for t in _NARROW]:
        return None
    wide = build.op("Cast", node.inputs[0], to=int(DataType.INT32))
    node.outputs[0].type = ir.TensorType(DataType.INT32)
    return wide


def _run(model: ir.Model) -> None:
    expand(model, {"Cast": _cast})
    for value in model.graph.initializers.values():
        _widen(value)


def _widen(value: ir.Value) -> None:
    """A constant of narrow integers, as one of 32 bits; quantised weights keep their type."""
    tensor = value.const_value
    if tensor is None or value.dtype not in _NARROW:
        return
    if any("Linear" in use.node.op_type for use in value.uses()):
        return
    value.const_value = ir.tensor(tensor.numpy().astype(np.int32), name=value.name)
    value.type = ir.TensorType(DataType.INT32)


WIDEN_INTEGERS = Pass(
    name="widen-integers",
    version=1,
    purpose="Widens casts to 8- and 16-bit integers to 32 bits where onnxruntime needs it.",
    reference="ONNX operator specification, MatMul: no 8-bit integers",
    run=_run,
)


def _extract(node: ir.Node, build: Builder) -> ir.Value | None:
    """Gather along the last axis, which counts negative places from the end."""
    data, places = node.inputs
    if constant(data) is None or data is None or len(shape_of(data)) != 1:
        return None
    flat = build.op("Reshape", places, build.const(ints([-1])))
    found = build.op("Gather", data, flat, axis=0)
    return build.op("Reshape", found, build.const(ints([1, -1])))


def _run_extract(model: ir.Model) -> None:
    expand(model, {"ArrayFeatureExtractor": _extract}, domain=ML)


WRAP_FEATURE_INDICES = Pass(
    name="wrap-feature-indices",
    version=1,
    purpose="Replaces negative feature indices, which a mask leaves out, so that onnxruntime runs"
    " them.",
    reference="onnxruntime, ml/array_feature_extractor.cc: places are in [0, stride)",
    run=_run_extract,
    touches=frozenset(("ArrayFeatureExtractor",)),
)
