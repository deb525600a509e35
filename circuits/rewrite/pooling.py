"""Pooling windows that reach over the border.

EZKL pads with zeros and then pools: a maximum over negative values comes out as 0, and an average
divides by the whole window.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import Builder, attr, expanding, ints, shape_of
from circuits.rewrite.padding import padded_indices


def _reach(node: ir.Node) -> list[tuple[int, int]] | None:
    """Elements before and after each spatial axis that the windows look at (ceil_mode too).

    None when a window starts beyond the image: runtimes do not agree on whether it counts.
    """
    image, out = node.inputs[0], node.outputs[0]
    assert image is not None
    rank = len(shape_of(image)) - 2
    pads = attr(node, "pads")
    kernel, strides = attr(node, "kernel_shape"), attr(node, "strides")
    dilations = attr(node, "dilations") or [1] * rank
    reach = []
    for i in range(rank):
        extent, windows = shape_of(image)[i + 2], shape_of(out)[i + 2]
        if (windows - 1) * strides[i] >= extent + pads[i]:
            return None
        last = (windows - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
        reach.append((pads[i], last - extent - pads[i]))
    return reach


def _max_pool(node: ir.Node, build: Builder) -> ir.Value | None:
    image = node.inputs[0]
    assert image is not None
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        return None
    reach = _reach(node)
    dilations = attr(node, "dilations") or [1]
    if reach is None:
        return None
    if all(d == 1 for d in dilations):
        if not attr(node, "ceil_mode", 0) and not any(attr(node, "pads")):
            return None
        # A window that reaches over the border holds the border element already: repeating it
        # does not change the maximum.
        for axis, (before, after) in enumerate(reach, start=2):
            image = _stretch(image, axis, before, after, shape_of(node.inputs[0])[axis], build)  # type: ignore[arg-type]
        return build.op("MaxPool", image, **_plain(node))
    if any(attr(node, "pads")) or attr(node, "ceil_mode", 0):
        return None
    return _dilated_max(node, image, build)


def _stretch(
    image: ir.Value, axis: int, before: int, after: int, extent: int, build: Builder
) -> ir.Value:
    if after < 0:  # the last elements fall into no window
        bounds = [build.const(ints([v])) for v in (0, extent + after, axis)]
        image = build.op("Slice", image, *bounds)
        extent, after = extent + after, 0
    if before == after == 0:
        return image
    return build.op(
        "Gather", image, build.const(padded_indices(extent, before, after, "edge")), axis=axis
    )


def _plain(node: ir.Node) -> dict[str, object]:
    rank = len(attr(node, "kernel_shape"))
    return {
        "kernel_shape": attr(node, "kernel_shape"),
        "strides": attr(node, "strides"),
        "dilations": [1] * rank,
        "pads": [0] * (2 * rank),
    }


def _dilated_max(node: ir.Node, image: ir.Value, build: Builder) -> ir.Value:
    """The maximum over shifted copies of the image, one for each place in the window."""
    kernel, strides = attr(node, "kernel_shape"), attr(node, "strides")
    dilations, windows = attr(node, "dilations"), shape_of(node.outputs[0])[2:]
    axes = list(range(2, 2 + len(kernel)))
    value: ir.Value | None = None
    for place in itertools.product(*(range(k) for k in kernel)):
        starts = [p * d for p, d in zip(place, dilations, strict=True)]
        stops = [a + (n - 1) * s + 1 for a, n, s in zip(starts, windows, strides, strict=True)]
        bounds = [build.const(ints(v)) for v in (starts, stops, axes, strides)]
        shifted = build.op("Slice", image, *bounds)
        value = shifted if value is None else build.op("Max", value, shifted)
    assert value is not None
    return value


def _average_pool(node: ir.Node, build: Builder) -> ir.Value | None:
    image = node.inputs[0]
    assert image is not None
    if any(d != 1 for d in attr(node, "dilations") or []):
        return None
    if not any(attr(node, "pads")) and not attr(node, "ceil_mode", 0):
        return _without_count(node, image, build)
    reach = _reach(node)
    if reach is None:
        return None
    padded = [(b, max(a, 0)) for b, a in reach]
    pads = [0, 0, *(b for b, _ in padded), 0, 0, *(a for _, a in padded)]
    value = build.op("Pad", image, build.const(ints(pads))) if any(pads) else image
    value = build.op("AveragePool", value, **_average(node))
    factors = _factors(node, shape_of(image)[2:])
    return value if np.all(factors == 1) else build.op("Mul", value, build.const(factors))


def _without_count(node: ir.Node, image: ir.Value, build: Builder) -> ir.Value | None:
    if not attr(node, "count_include_pad", 0):
        return None
    return build.op("AveragePool", image, **_average(node))


def _average(node: ir.Node) -> dict[str, object]:
    return {k: v for k, v in _plain(node).items() if k != "dilations"}


def _factors(node: ir.Node, extents: Sequence[int]) -> NDArray[np.float32]:
    """Window size over the number of elements that ONNX divides by, for each output place."""
    kernel, strides, pads = attr(node, "kernel_shape"), attr(node, "strides"), attr(node, "pads")
    include = bool(attr(node, "count_include_pad", 0))
    rank = len(kernel)
    factors = np.ones([1, 1, *([1] * rank)], dtype=np.float64)
    for i, windows in enumerate(shape_of(node.outputs[0])[2:]):
        begin = np.arange(windows) * strides[i] - pads[i]
        low, high = (-pads[i], extents[i] + pads[rank + i]) if include else (0, extents[i])
        counted = np.minimum(begin + kernel[i], high) - np.maximum(begin, low)
        shape = [1] * (rank + 2)
        shape[i + 2] = windows
        factors = factors * (kernel[i] / counted).reshape(shape)
    return factors.astype(np.float32)


EXPLICIT_POOLING = expanding(
    {"MaxPool": _max_pool, "AveragePool": _average_pool},
    name="explicit-pooling",
    version=1,
    purpose="Pooling with pads, ceil_mode or dilations as pooling without, on an extended image.",
    reference="ONNX operator specification, MaxPool and AveragePool; zkonduit/ezkl pads with zeros",
)
