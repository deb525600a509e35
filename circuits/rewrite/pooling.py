"""Pooling with pads, ceil_mode or dilations, as Gather before a plain pool.

EZKL pads with zeros and then pools: a maximum over negative values comes out as 0, and an average
divides by the whole window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import Builder, attr, expanding, ints, shape_of


@dataclass(frozen=True)
class _Axis:
    """What the windows along one spatial axis look at: ``places`` ``[windows, kernel]``, of which
    those ``inside`` the image, of this ``extent``, are elements of it. ``counted``: how many of
    each window ONNX divides by where pads count too."""

    places: NDArray[np.int64]
    inside: NDArray[np.bool_]
    extent: int
    counted: NDArray[np.int64]


def _axes(node: ir.Node) -> list[_Axis] | None:
    """None where they are windows of neighbours without pads, or one has no element of the image:
    runtimes do not agree on whether that counts."""
    image, out = node.inputs[0], node.outputs[0]
    assert image is not None
    rank = len(shape_of(image)) - 2
    pads, dilations = attr(node, "pads"), attr(node, "dilations") or [1] * rank
    if not any(pads) and not attr(node, "ceil_mode", 0) and all(d == 1 for d in dilations):
        return None
    found = []
    for i, (kernel, stride) in enumerate(
        zip(attr(node, "kernel_shape"), attr(node, "strides"), strict=True)
    ):
        extent, windows = shape_of(image)[i + 2], shape_of(out)[i + 2]
        places = np.arange(windows)[:, None] * stride - pads[i] + np.arange(kernel) * dilations[i]
        inside = (places >= 0) & (places < extent)
        if not inside.any(axis=1).all():
            return None
        counted = (places < extent + pads[rank + i]).sum(axis=1)
        found.append(_Axis(places, inside, extent, counted))
    return found


def _max_pool(node: ir.Node, build: Builder) -> ir.Value | None:
    value, axes = node.inputs[0], _axes(node)
    assert value is not None
    second = len(node.outputs) > 1 and node.outputs[1]
    if axes is None or (second and (second.uses() or second.is_graph_output())):
        return None
    for number, axis in enumerate(axes, start=2):
        # An element of the same window once more does not change the maximum.
        first = np.take_along_axis(axis.places, axis.inside.argmax(axis=1)[:, None], axis=1)
        places = np.where(axis.inside, axis.places, first)
        value = _picked(value, places, axis, number, build)
    return build.op("MaxPool", value, **_side_by_side(node), dilations=[1] * len(axes))


def _average_pool(node: ir.Node, build: Builder) -> ir.Value | None:
    value, axes = node.inputs[0], _axes(node)
    assert value is not None
    include = bool(attr(node, "count_include_pad", 0))
    if axes is None:
        return None
    ends = [0 if axis.inside.all() else 1 for axis in axes]
    if any(ends):  # a zero behind each axis stands for all that is outside
        value = build.op("Pad", value, build.const(ints([0] * (len(ends) + 4) + ends)))
    factors = np.ones([1] * (len(axes) + 2))
    for number, axis in enumerate(axes, start=2):
        places = np.where(axis.inside, axis.places, axis.extent)
        value = _picked(value, places, axis, number, build)
        counted = axis.counted if include else axis.inside.sum(axis=1)
        shape = [-1 if i == number else 1 for i in range(factors.ndim)]
        factors = factors * (places.shape[1] / counted).reshape(shape)
    value = build.op("AveragePool", value, **_side_by_side(node))
    if np.all(factors == 1):
        return value
    return build.op("Mul", value, build.const(factors.astype(np.float32)))


def _picked(
    value: ir.Value, places: NDArray[np.int64], axis: _Axis, number: int, build: Builder
) -> ir.Value:
    flat = places.reshape(-1)
    if np.array_equal(flat, np.arange(axis.extent)):
        return value
    return build.op("Gather", value, build.const(flat), axis=number)


def _side_by_side(node: ir.Node) -> dict[str, object]:
    kernel = attr(node, "kernel_shape")
    return {"kernel_shape": kernel, "strides": kernel, "pads": [0] * (2 * len(kernel))}


DECOMPOSE_POOLING = expanding(
    {"MaxPool": _max_pool, "AveragePool": _average_pool},
    name="decompose-pooling",
    version=2,
    purpose="Expresses pads, ceil_mode and dilations of pools as Gather before a plain pool.",
    reference="ONNX operator specification, MaxPool and AveragePool; zkonduit/ezkl pads with zeros",
)
