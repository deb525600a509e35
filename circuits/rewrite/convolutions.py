"""Convolutions in the forms that the engine lays out: no dilations, no transposed groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import Builder, Pass, attr, constant, expand, input_at, shape_of


def spread_kernel(weights: NDArray[Any], dilations: Sequence[int]) -> NDArray[Any]:
    """The kernel with zeros between its elements: the same convolution without dilation."""
    spatial = [(k - 1) * d + 1 for k, d in zip(weights.shape[2:], dilations, strict=True)]
    wide = np.zeros([*weights.shape[:2], *spatial], dtype=weights.dtype)
    wide[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = weights
    return wide


def _conv(node: ir.Node, build: Builder) -> ir.Value | None:
    weights = constant(input_at(node, 1))
    dilations = attr(node, "dilations", [])
    if weights is None or all(d == 1 for d in dilations):
        return None
    wide = spread_kernel(weights, dilations)
    attributes = _attributes(node, wide)
    rest = [input_at(node, 0), build.const(wide), input_at(node, 2)]
    return build.op(node.op_type, *rest[: len(node.inputs)], **attributes)


def _attributes(node: ir.Node, weights: NDArray[Any]) -> dict[str, Any]:
    rank = weights.ndim - 2
    kept = {
        k: attr(node, k)
        for k in ("strides", "pads", "group", "output_padding", "output_shape", "auto_pad")
    }
    return {
        **{k: v for k, v in kept.items() if v is not None},
        "kernel_shape": list(weights.shape[2:]),
        "dilations": [1] * rank,
    }


def _transposed(node: ir.Node, build: Builder) -> ir.Value | None:
    weights = constant(input_at(node, 1))
    groups = attr(node, "group", 1)
    if groups == 1 or weights is None:
        return _conv(node, build)
    image, bias = node.inputs[0], constant(input_at(node, 2))
    assert image is not None
    wide = spread_kernel(weights, attr(node, "dilations"))
    attributes = _attributes(node, wide) | {"group": 1}
    split = build.const(np.full(groups, shape_of(image)[1] // groups, dtype=np.int64))
    parts = build.ops("Split", image, split, outputs=groups, axis=1)
    biases = np.split(bias, groups) if bias is not None else [None] * groups
    made = [
        build.op(
            "ConvTranspose",
            part,
            build.const(kernel),
            *([build.const(b)] if b is not None else []),
            **attributes,
        )
        for part, kernel, b in zip(parts, np.split(wide, groups), biases, strict=True)
    ]
    return build.op("Concat", *made, axis=1)


def _run(model: ir.Model) -> None:
    expand(model, {"Conv": _conv, "ConvTranspose": _transposed})


PLAIN_CONVOLUTIONS = Pass(
    name="plain-convolutions",
    version=1,
    purpose="Dilated kernels spread with zeros, grouped transposed convolutions split by group.",
    reference="ONNX operator specification, Conv and ConvTranspose",
    run=_run,
)
