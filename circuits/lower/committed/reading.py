"""From a rewritten ONNX graph to a network: which models have committed hints."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from circuits.committed.network import (
    Axis,
    Convolutional,
    Dense,
    Feed,
    Floats,
    Layer,
    Network,
    Numbers,
    Shape,
    Term,
)
from circuits.lower.errors import CannotLower

_ADVICE = "Leave out --argument committed: the other circuits take more operators."
#: Axes of an image behind batch and channels.
_IMAGE = 2


@dataclass(frozen=True, kw_only=True)
class _Value:
    """Where a tensor of the graph comes from. ``shape`` is that of its elements, channels-last;
    ``order`` whether ONNX has it as an image, channels first, or flat. A sum that no layer has
    taken up yet is ``pending``; ``divisor`` is what the sums of a pool are still to be divided by.
    """

    feed: Feed
    shape: Shape
    flat: bool
    divisor: int = 1
    pending: Layer | None = None


@dataclass
class _Reader:
    """Values by name, and layers in the order in which they are rectified."""

    constants: dict[str, Floats]
    known: dict[str, _Value]
    layers: list[Layer] = field(default_factory=list)

    def value(self, node: NodeProto, name: str) -> _Value:
        if name not in self.known:
            raise _refuse(node, "a constant stands where a value is expected")
        return self.known[name]

    def ready(self, node: NodeProto, name: str) -> _Value:
        """A value that layers can read: rectified, or the input."""
        value = self.value(node, name)
        if value.pending is not None:
            raise _refuse(node, "a sum is read before it is rectified")
        return value

    def constant(self, node: NodeProto, name: str) -> Floats:
        if name not in self.constants:
            raise _refuse(node, "an operand that should be constant is not")
        return self.constants[name]


def read_network(data: bytes) -> Network:
    """The network of a rewritten model with one input and one output.

    Raises ``CannotLower`` naming the first node that has no place in one.
    """
    model = onnx.load_model_from_string(data)
    graph = model.graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise CannotLower("committed hints take one input and one output", hint=_ADVICE)
    dims = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    shape, flat = _input_shape(dims)
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    constants = {n: np.asarray(a, dtype=np.float64) for n, a in arrays.items()}
    reader = _Reader(
        constants, {graph.input[0].name: _Value(feed=Feed(source=0), shape=shape, flat=flat)}
    )
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        step = _STEPS.get(node.op_type)
        if step is None:
            raise _refuse(node, "this operator is not there yet")
        reader.known[node.output[0]] = step(reader, node, attributes)
    result = reader.known[graph.output[0].name]
    if result.pending is not None:
        if not isinstance(result.pending, Dense):
            raise CannotLower("the network ends in a convolution", hint=_ADVICE)
        reader.layers.append(replace(result.pending, last=True))
    elif result.feed != Feed(source=len(reader.layers)) or not isinstance(reader.layers[-1], Dense):
        raise CannotLower("the network does not end in a dense layer", hint=_ADVICE)
    return Network(input=shape, layers=tuple(reader.layers))


def _input_shape(dims: list[int]) -> tuple[Shape, bool]:
    if dims and dims[0] == 1 and len(dims) == 2 + _IMAGE:
        return (dims[2], dims[3], dims[1]), False
    if dims and dims[0] == 1 and len(dims) == 1 + _IMAGE:
        return (1, dims[2], dims[1]), False
    size = int(np.prod(dims))
    if size < 1 or (len(dims) > 1 and dims[0] != 1):
        raise CannotLower(f"an input of shape {dims} is no image and no vector", hint=_ADVICE)
    return (1, 1, size), True


def _conv(reader: _Reader, node: NodeProto, attributes: dict[str, Any]) -> _Value:
    value = reader.ready(node, node.input[0])
    if value.flat:
        raise _refuse(node, "its operand is no image")
    weights = reader.constant(node, node.input[1])
    spatial = weights.ndim - 2
    if spatial not in (1, _IMAGE):
        raise _refuse(node, "only one or two spatial axes are there yet")
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise _refuse(node, "padding is not spelled out")
    outputs, groups = weights.shape[0], int(attributes.get("group", 1))
    bias = (
        reader.constant(node, node.input[2])
        if len(node.input) > 2 and node.input[2]
        else np.zeros(outputs)
    )
    strides = _both(attributes.get("strides", [1] * spatial), 1)
    dilations = _both(attributes.get("dilations", [1] * spatial), 1)
    pads = attributes.get("pads", [0] * (2 * spatial))
    before, after = _both(pads[:spatial], 0), _both(pads[spatial:], 0)
    taps = _both(weights.shape[2:], 1)
    axes = [
        _axis(size, *rest)
        for size, *rest in zip(
            value.shape[:2], taps, strides, dilations, before, after, strict=True
        )
    ]
    full = _ungrouped(weights.reshape(*weights.shape[:2], *taps), groups) / value.divisor
    term = Term(feed=value.feed, weights=full, groups=groups, height=axes[0], width=axes[1])
    layer = Convolutional(terms=(term,), bias=bias)
    return _Value(feed=value.feed, shape=layer.shape, flat=False, pending=layer)


def _both(found: Any, fill: int) -> list[int]:
    """Height and width of what one spatial axis has for its width."""
    return [*[fill] * (_IMAGE - len(found)), *(int(n) for n in found)]


def _axis(size: int, taps: int, stride: int, dilation: int, before: int, after: int) -> Axis:
    outputs = (size + before + after - (taps - 1) * dilation - 1) // stride + 1
    return Axis(
        size=size, taps=taps, stride=stride, dilation=dilation, before=before, outputs=outputs
    )


def _ungrouped(weights: Floats, groups: int) -> Floats:
    """``[outputs, channels, …]`` with zeros between the groups."""
    outputs, own = weights.shape[:2]
    full = np.zeros((outputs, own * groups, *weights.shape[2:]))
    for g in range(groups):
        rows = slice(g * outputs // groups, (g + 1) * outputs // groups)
        full[rows, g * own : (g + 1) * own] = weights[rows]
    return full


def _gemm(reader: _Reader, node: NodeProto, attributes: dict[str, Any]) -> _Value:
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0:
        raise _refuse(node, "only x · W + b is there yet")
    weights = reader.constant(node, node.input[1])
    weights = weights.T if attributes.get("transB", 0) else weights
    bias = np.zeros(weights.shape[1])
    if len(node.input) > 2 and node.input[2]:
        given = reader.constant(node, node.input[2]) * attributes.get("beta", 1.0)
        bias = np.broadcast_to(given.reshape(-1), bias.shape).copy()
    return _dense(reader, node, weights, bias)


def _matmul(reader: _Reader, node: NodeProto, _: dict[str, Any]) -> _Value:
    weights = reader.constant(node, node.input[1])
    return _dense(reader, node, weights, np.zeros(weights.shape[-1]))


def _dense(reader: _Reader, node: NodeProto, weights: Floats, bias: Floats) -> _Value:
    value = reader.ready(node, node.input[0])
    height, width, channels = value.shape
    if weights.ndim != 2 or not value.flat or len(weights) != height * width * channels:
        raise _refuse(node, "its operand is no single row")
    # ONNX flattens channels first; feature maps here have them last.
    own = weights.reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
    layer = Dense(feed=value.feed, weights=own.reshape(len(weights), -1) / value.divisor, bias=bias)
    return _Value(feed=value.feed, shape=layer.shape, flat=True, pending=layer)


def _add(reader: _Reader, node: NodeProto, _: dict[str, Any]) -> _Value:
    if any(name in reader.constants for name in node.input):
        return _biased(reader, node)
    first, second = (reader.value(node, name) for name in node.input)
    if first.shape != second.shape or first.flat or second.flat:
        raise _refuse(node, "only feature maps of one shape are added")
    parts = [_as_sum(node, value) for value in (first, second)]
    layer = Convolutional(terms=parts[0].terms + parts[1].terms, bias=parts[0].bias + parts[1].bias)
    return _Value(feed=first.feed, shape=first.shape, flat=False, pending=layer)


def _as_sum(node: NodeProto, value: _Value) -> Convolutional:
    """What is added, as a sum of convolutions: a feature map is one by one weight."""
    if isinstance(value.pending, Convolutional):
        return value.pending
    if value.pending is not None or value.feed.source == 0:
        raise _refuse(node, "only what is rectified and convolutions are added")
    channels = value.shape[2]
    weights = np.eye(channels).reshape(channels, channels, 1, 1) / value.divisor
    axes = [_axis(size, 1, 1, 1, 0, 0) for size in value.shape[:2]]
    term = Term(feed=value.feed, weights=weights, groups=channels, height=axes[0], width=axes[1])
    return Convolutional(terms=(term,), bias=np.zeros(channels))


def _biased(reader: _Reader, node: NodeProto) -> _Value:
    place = 0 if node.input[0] in reader.constants else 1
    value = reader.value(node, node.input[1 - place])
    added = reader.constants[node.input[place]]
    if value.pending is None:
        raise _refuse(node, "a constant is added to what no layer has multiplied")
    channels = len(value.pending.bias)
    if not value.flat and added.size > 1:
        axes = added.shape[-(1 + _IMAGE) :] if added.ndim > _IMAGE else ()
        if not axes or added.size != channels or axes[0] != channels:
            raise _refuse(node, "the constant differs from place to place")
    elif added.size not in (1, channels):
        raise _refuse(node, "the constant is not one for each output")
    bias: Numbers = value.pending.bias + added.reshape(-1)
    return replace(value, pending=replace(value.pending, bias=bias))


def _relu(reader: _Reader, node: NodeProto, _: dict[str, Any]) -> _Value:
    value = reader.value(node, node.input[0])
    if value.pending is None:
        raise _refuse(node, "it rectifies what no layer has multiplied")
    reader.layers.append(value.pending)
    return replace(value, feed=Feed(source=len(reader.layers)), pending=None)


def _average_pool(reader: _Reader, node: NodeProto, attributes: dict[str, Any]) -> _Value:
    kernel = [int(n) for n in attributes["kernel_shape"]]
    strides = [int(n) for n in attributes.get("strides", [1] * len(kernel))]
    if strides != kernel or any(attributes.get("pads", [])):
        raise _refuse(node, "only blocks that do not overlap, without padding, are averaged")
    if attributes.get("ceil_mode", 0) or any(n != 1 for n in attributes.get("dilations", [])):
        raise _refuse(node, "only whole blocks are averaged")
    return _averaged(reader, node, _both(kernel, 1))


def _global_average(reader: _Reader, node: NodeProto, _: dict[str, Any]) -> _Value:
    return _averaged(reader, node, list(reader.ready(node, node.input[0]).shape[:2]))


def _averaged(reader: _Reader, node: NodeProto, block: list[int]) -> _Value:
    value = reader.ready(node, node.input[0])
    if value.flat or value.feed.source == 0:
        raise _refuse(node, "only feature maps behind a layer are averaged")
    height, width, channels = value.shape
    pool = (value.feed.pool[0] * block[0], value.feed.pool[1] * block[1])
    shape = (height // block[0], width // block[1], channels)
    if 0 in shape or shape != replace(value.feed, pool=pool).shape(
        reader.layers[value.feed.source - 1].shape
    ):
        raise _refuse(node, "its blocks do not fit")
    return replace(
        value,
        feed=replace(value.feed, pool=pool),
        shape=shape,
        divisor=value.divisor * block[0] * block[1],
    )


def _reshape(reader: _Reader, node: NodeProto, _: dict[str, Any]) -> _Value:
    value = reader.value(node, node.input[0])
    wanted = [int(n) for n in reader.constant(node, node.input[1])]
    size = int(np.prod(value.shape))
    known = [n for n in wanted if n > 0]
    rest = size // max(1, int(np.prod(known)))
    dims = [rest if n == -1 else n for n in wanted]
    if dims[:1] != [1] or int(np.prod(dims)) != size:
        raise _refuse(node, "it mixes the batch with other axes")
    if len(dims) == _IMAGE:
        return replace(value, flat=True)
    height, width, channels = value.shape
    image = [1, channels, height, width]
    if not value.flat and dims in (image, image[:2] + image[3:]):
        return value
    if value.feed.source == 0 and value.flat and len(dims) == 2 + _IMAGE:
        raise _refuse(node, "it makes an image out of a vector")
    raise _refuse(node, "it only flattens so far")


def _flatten(reader: _Reader, node: NodeProto, attributes: dict[str, Any]) -> _Value:
    if attributes.get("axis", 1) != 1:
        raise _refuse(node, "it mixes the batch with other axes")
    return replace(reader.value(node, node.input[0]), flat=True)


def _same(reader: _Reader, node: NodeProto, _: dict[str, Any]) -> _Value:
    return reader.value(node, node.input[0])


_STEPS = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Relu": _relu,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Identity": _same,
}


def _refuse(node: NodeProto, why: str) -> CannotLower:
    label = node.name or node.output[0]
    return CannotLower(
        f"{node.op_type} at node {label!r} has no form with committed hints: {why}",
        hint=_ADVICE,
        node=label,
        op=node.op_type,
    )
