"""Convolutions in the forms that the engine lays out: no dilations, no transposed groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import Builder, attr, constant, expanding, input_at, shape_of


def _spread(weights: NDArray[Any], dilations: Sequence[int]) -> NDArray[Any]:
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
    wide = _spread(weights, dilations)
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
    """One group, no dilation, all of the border written as pads."""
    weights = constant(input_at(node, 1))
    if weights is None:
        return None
    image, bias = node.inputs[0], constant(input_at(node, 2))
    assert image is not None
    groups = attr(node, "group", 1)
    dilations = attr(node, "dilations") or [1] * (weights.ndim - 2)
    wide = _spread(weights, dilations)
    border = _border(node, shape_of(image)[2:], wide.shape[2:])
    if border is None:
        return None
    pads, beyond = border
    wide = np.pad(wide, [(0, 0), (0, 0), *((0, more) for more in beyond)])
    attributes = {
        "strides": attr(node, "strides") or [1] * (weights.ndim - 2),
        "kernel_shape": list(wide.shape[2:]),
        "dilations": [1] * (weights.ndim - 2),
        "pads": pads,
        "group": 1,
    }
    if groups == 1:
        written = {name: attr(node, name) for name in node.attributes}
        if written | {"group": 1} == attributes:
            return None
        rest = [input_at(node, 2)][: len(node.inputs) - 2]
        return build.op("ConvTranspose", image, build.const(wide), *rest, **attributes)
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


def _border(
    node: ir.Node, image: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int]] | None:
    """Pads that give the output its size, and zeros to add behind the kernel where none would.

    ``output_padding`` takes away from the pads at the end; what is left of it reaches places that
    no input does, which are those of a longer kernel. None where pads would go below zero.
    """
    rank = len(kernel)
    strides = attr(node, "strides") or [1] * rank
    extra = attr(node, "output_padding") or [0] * rank
    sizes = attr(node, "output_shape")
    auto = attr(node, "auto_pad", "NOTSET")
    if sizes is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = [n * s for n, s in zip(image, strides, strict=True)]
    if sizes is None:
        pads = (attr(node, "pads") if auto == "NOTSET" else None) or [0] * (2 * rank)
        before, after = list(pads[:rank]), list(pads[rank:])
    else:
        before, after = [], []
        for i, size in enumerate(sizes[-rank:]):
            total = strides[i] * (image[i] - 1) + extra[i] + kernel[i] - size
            small, large = total // 2, total - total // 2
            before.append(small if auto == "SAME_UPPER" else large)
            after.append(large if auto == "SAME_UPPER" else small)
    after = [a - e for a, e in zip(after, extra, strict=True)]
    if min(before) < 0:
        return None
    return before + [max(a, 0) for a in after], [max(-a, 0) for a in after]


DECOMPOSE_CONVOLUTIONS = expanding(
    {"Conv": _conv, "ConvTranspose": _transposed},
    name="decompose-convolutions",
    version=2,
    purpose="Fills dilated kernels with zeros; splits transposed convolutions by group and pads.",
    reference="ONNX operator specification, Conv and ConvTranspose",
)
