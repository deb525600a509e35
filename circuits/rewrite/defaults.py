"""Attributes that ONNX lets an exporter leave out and the engine asks for."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from circuits.rewrite.edit import Pass, attr, shape_of

WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")


def _run(model: ir.Model) -> bool:
    found = [node for node in model.graph if node.op_type in WINDOWED]
    for node in found:
        _fill(node)
    return bool(found)


def _fill(node: ir.Node) -> None:
    image, weights = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    assert image is not None
    spatial = shape_of(image)[2:]
    rank = len(spatial)
    kernel = attr(node, "kernel_shape") or list(shape_of(weights)[2:] if weights else ())
    strides = attr(node, "strides") or [1] * rank
    dilations = attr(node, "dilations") or [1] * rank
    _set(node, "kernel_shape", kernel)
    _set(node, "strides", strides)
    if node.op_type != "AveragePool" or "dilations" in node.attributes:
        _set(node, "dilations", dilations)
    auto = attr(node, "auto_pad", "NOTSET")
    if node.op_type == "ConvTranspose":
        if auto == "NOTSET" and "output_shape" not in node.attributes:
            _set(node, "pads", attr(node, "pads") or [0] * (2 * rank))
        return
    if auto == "NOTSET":
        pads = attr(node, "pads") or [0] * (2 * rank)
    elif auto == "VALID":
        pads = [0] * (2 * rank)
    else:
        pads = _same(spatial, kernel, strides, dilations, lower=auto == "SAME_LOWER")
    node.attributes.pop("auto_pad", None)
    _set(node, "pads", pads)


def _same(
    spatial: tuple[int, ...],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    lower: bool,
) -> list[int]:
    """Pads that give ``ceil(extent / stride)`` outputs; the odd one goes before or after."""
    before, after = [], []
    for extent, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
        outputs = -(-extent // s)
        total = max((outputs - 1) * s + (k - 1) * d + 1 - extent, 0)
        small, large = total // 2, total - total // 2
        before.append(large if lower else small)
        after.append(small if lower else large)
    return before + after


def _set(node: ir.Node, name: str, value: Any) -> None:
    node.attributes[name] = ir.AttrInt64s(name, [int(v) for v in value])


FILL_DEFAULTS = Pass(
    name="fill-defaults",
    version=1,
    purpose="Fills in omitted strides, dilations, kernel_shape and pads.",
    reference="ONNX operator specification, Conv and MaxPool: attribute defaults, auto_pad",
    run=_run,
)
