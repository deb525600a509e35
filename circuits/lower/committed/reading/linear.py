"""Convolutions and products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from circuits.committed.network import Axis, Convolution, Floats, Kind, Product, Sum, Term
from circuits.lower.committed.reading.draft import Draft
from circuits.lower.committed.reading.flows import as_elements
from circuits.lower.committed.reading.nodes import Node, Refused, as_onnx, both_axes, image_of
from circuits.lower.committed.reading.values import Value, channelwise, constant, of_addresses, raw

#: Axes of an image, and of a matrix.
_IMAGE = _MATRIX = 2


def conv(node: Node) -> Value:
    value, weights = node.value(0), node.constant(1)
    spatial = weights.ndim - 2
    if spatial not in (1, _IMAGE):
        raise Refused("only one or two spatial axes are there yet")
    if node.attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise Refused("padding is not spelled out")
    strides = both_axes(node.attributes.get("strides", [1] * spatial), 1)
    dilations = both_axes(node.attributes.get("dilations", [1] * spatial), 1)
    pads = node.attributes.get("pads", [0] * (2 * spatial))
    before, after = both_axes(pads[:spatial], 0), both_axes(pads[spatial:], 0)
    outputs = weights.shape[0]
    bias = node.constant(2) if node.has(2) else np.zeros(outputs)
    found = _convolved(
        node.draft,
        image_of(value),
        weights.reshape(*weights.shape[:2], *both_axes(weights.shape[2:], 1)),
        bias,
        list(zip(strides, dilations, before, after, strict=True)),
    )
    return as_onnx(found, spatial)


def _convolved(
    draft: Draft,
    value: Value,
    weights: Floats,
    bias: Floats,
    steps: Sequence[tuple[int, int, int, int]],
) -> Value:
    """A convolution of a feature map; ``steps`` has stride, dilation and zeros before and after."""
    taps = weights.shape[2:]
    axes = []
    for size, count, (stride, dilation, before, after) in zip(
        value.shape[:2], taps, steps, strict=True
    ):
        outputs = (size + before + after - (count - 1) * dilation - 1) // stride + 1
        axes.append(
            Axis(
                size=size,
                taps=count,
                stride=stride,
                dilation=dilation,
                before=before,
                outputs=outputs,
            )
        )
    if any(a.outputs < 1 for a in axes):
        raise Refused("it has no outputs")
    shape = (axes[0].outputs, axes[1].outputs, len(bias))
    value = _linear(draft, value, weights.size)
    if np.any(value.constant):
        if any(s[2:] != (0, 0) for s in steps) or np.any(value.constant != value.constant[:1, :1]):
            value = draft.materialize(value)
        else:
            own = value.constant[0, 0].reshape(-1, weights.shape[1])
            kernel = weights.sum(axis=(2, 3)).reshape(len(own), -1, weights.shape[1])
            bias = bias + np.einsum("goc,gc->go", kernel, own).reshape(-1)
    terms: list[Term] = []
    for part in value.parts:
        factor = part.factor[0, 0].reshape(-1, weights.shape[1])
        spread = np.repeat(factor, len(bias) // len(factor), axis=0)
        terms.append(
            Convolution(
                view=raw(part.addresses),
                weights=weights * spread[:, :, None, None],
                height=axes[0],
                width=axes[1],
            )
        )
    return draft.row(Sum(kind=Kind.SIGNED, shape=shape, terms=tuple(terms), bias=bias), shape)


def _linear(draft: Draft, value: Value, weights: int) -> Value:
    """A feature map as a convolution can read it: its parts have a factor and steps of one length
    for each channel. Several parts are added up first where the weights are many."""
    ready = all(
        part.function is None
        and np.all(part.factor == part.factor[:1, :1])
        and channelwise(draft.lengths(part.addresses))
        for part in value.parts
    )
    if ready and (len(value.parts) - 1) * weights <= 5 * value.size:
        return value
    materialized = draft.materialize(value)
    if channelwise(draft.lengths(materialized.addresses)):
        return materialized
    return draft.uniform(materialized)


def transposed(node: Node) -> Value:
    """A convolution of the image with zeros between its elements, by the kernel turned around."""
    value, weights = node.value(0), node.constant(1)
    attributes, spatial = node.attributes, weights.ndim - 2
    plain = attributes.get("auto_pad", b"NOTSET") == b"NOTSET" and "output_shape" not in attributes
    if not plain or attributes.get("group", 1) != 1 or any(attributes.get("output_padding", ())):
        raise Refused("groups and padding are not spelled out")
    if any(d != 1 for d in attributes.get("dilations", ())):
        raise Refused("its kernel has gaps")
    taps = both_axes(weights.shape[2:], 1)
    strides = both_axes(attributes.get("strides", [1] * spatial), 1)
    pads = attributes.get("pads", [0] * (2 * spatial))
    before, after = both_axes(pads[:spatial], 0), both_axes(pads[spatial:], 0)
    image = image_of(value)
    high, wide = image.shape[:2]

    def spread(a: NDArray[np.float64]) -> NDArray[np.float64]:
        full = np.zeros(((high - 1) * strides[0] + 1, (wide - 1) * strides[1] + 1, a.shape[2]))
        full[:: strides[0], :: strides[1]] = a
        return full

    stretched = node.draft.moved(image, spread)
    kernel = weights.reshape(*weights.shape[:2], *taps).transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    steps = [(1, 1, t - 1 - b, t - 1 - a) for t, b, a in zip(taps, before, after, strict=True)]
    if any(s[2] < 0 for s in steps):
        raise Refused("it cuts more than the kernel reaches")
    bias = node.constant(2) if node.has(2) else np.zeros(len(kernel))
    return as_onnx(_convolved(node.draft, stretched, kernel, bias, steps), spatial)


def gemm(node: Node) -> Value:
    left, right = node.value(0), node.value(1)
    if node.attributes.get("transA", 0):
        left = left.moved(np.transpose)
    if node.attributes.get("transB", 0):
        right = right.moved(np.transpose)
    found = _product(node.draft, left, right)
    if node.attributes.get("alpha", 1.0) != 1.0:
        found = found.scaled(np.array(node.attributes["alpha"]))
    if not node.has(2):
        return found
    added = node.value(2).scaled(np.array(node.attributes.get("beta", 1.0)))
    bare = found.parts and not added.parts
    return node.draft.biased(found, added) if bare else found.plus(added)


def matmul(node: Node) -> Value:
    return _product(node.draft, node.value(0), node.value(1))


def _product(draft: Draft, left: Value, right: Value) -> Value:
    if min(len(left.shape), len(right.shape)) < _MATRIX:
        raise Refused("an operand is no matrix")
    if left.parts and right.parts:
        return _of_values(draft, left, right)
    if not left.parts and not right.parts:
        return constant(left.constant @ right.constant)
    if not left.parts:
        turned = _product(draft, _turned(right), _turned(left))
        return _turned(turned)
    matrix: Floats = right.constant
    if math.prod(matrix.shape[:-2]) != 1:
        raise Refused("a stack of matrices multiplies one")
    inner, outer = matrix.shape[-2:]
    matrix = matrix.reshape(inner, outer)
    rows, bias = left.moved(lambda a: a.reshape(-1, 1, inner)), np.zeros(outer)
    if rows.shape[0] == 1 and len(rows.parts) > 1 and all(p.function is None for p in rows.parts):
        rows, matrix, bias = as_elements(rows, matrix)
    found = _convolved(
        draft,
        rows,
        matrix.T[:, :, None, None],
        bias,
        [(1, 1, 0, 0)] * 2,
    )
    shape = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return found.reshaped((*shape, left.shape[-2], outer))


def _turned(value: Value) -> Value:
    return value.moved(lambda a: np.swapaxes(a, -1, -2))


def _of_values(draft: Draft, left: Value, right: Value) -> Value:
    """Matrices of values."""
    stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    (m, k), n = left.shape[-2:], right.shape[-1]
    factor = 1.0
    own = []
    for value in (left, right):
        part = value.parts[0]
        if len(value.parts) == 1 and part.function is None and not np.any(value.constant):
            number = float(part.factor.reshape(-1)[0])
            if np.all(part.factor == number):  # a factor is the product's
                own.append(draft.uniform(of_addresses(part.addresses)))
                factor *= number
                continue
        own.append(draft.uniform(value))
    first, second = own
    a = first.moved(lambda x: np.broadcast_to(x, (*stack, m, k)).reshape(-1, m, k))
    b = second.moved(lambda x: np.broadcast_to(x, (*stack, k, n)).reshape(-1, k, n))
    term = Product(left=raw(a.addresses), right=raw(b.addresses), factor=factor)
    shape = (math.prod(stack), m, n)
    return draft.row(
        Sum(kind=Kind.SIGNED, shape=shape, terms=(term,), bias=np.zeros(n)), (*stack, m, n)
    )
