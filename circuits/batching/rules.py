"""How each operator carries the lanes from its inputs to its outputs.

A rule is called for nodes of which at least one input has a lane axis. An operator without a rule
cannot be batched: better refused than guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from circuits.batching.elementwise_rules import constant_beside, elementwise
from circuits.batching.recurrent_rules import recurrent
from circuits.batching.trace import BatchTrace, Shape

Rule = Callable[[BatchTrace, NodeProto], None]

_ALL = np.iinfo(np.int32).max


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _first(t: BatchTrace, node: NodeProto) -> tuple[int, Shape]:
    """Lane axis and single-lane shape of the first input, which must be the only one with lanes."""
    axis = t.axis(node.input[0])
    if axis is None or any(i and t.axis(i) is not None for i in node.input[1:]):
        t.refuse(node, "an input that should be constant depends on the model's input")
    return axis, t.shape(node, node.input[0])


# --- products --------------------------------------------------------------------------------


def matmul(t: BatchTrace, node: NodeProto) -> None:
    """Rows, columns and batch axes may carry lanes; the axis that is summed over may not."""
    places = []
    for position, name in enumerate(node.input):
        shape, axis = t.shape(node, name), t.axis(name)
        if len(shape) < 2:
            t.refuse(node, "it multiplies by a vector")
        places.append(None if axis is None else len(shape) - axis)
        if places[-1] == (1 if position == 0 else 2):
            t.refuse(node, "it sums over the batch dimension")
    left, right = places
    if left is not None and right is not None and (left != right or left < 3):
        t.refuse(node, "both sides depend on the input and have the batch in different places")
    place = left if left is not None else right
    assert place is not None
    if place > 2:
        length = t.shape(node, node.output[0])[-place]
        for position in (0, 1):
            if places[position] is None:
                constant_beside(t, node, position, place, length)
            elif t.shape(node, node.input[position])[-place] != length:
                t.refuse(node, f"it stretches the batch dimension to {length}")
    t.mark(node, len(t.shape(node, node.output[0])) - place)


def gemm(t: BatchTrace, node: NodeProto) -> None:
    """A·B + C with the lanes in the rows of A."""
    axis, shape = t.axis(node.input[0]), t.shape(node, node.input[0])
    rows = 1 if _attributes(node).get("transA", 0) else 0
    if axis != rows or t.axis(node.input[1]) is not None:
        t.refuse(node, "the batch is not in the rows of its first input")
    if len(node.input) > 2 and node.input[2]:
        if t.axis(node.input[2]) is not None:
            if t.axis(node.input[2]) != 0 or len(t.shape(node, node.input[2])) != 2:
                t.refuse(node, "what it adds has the batch in another place")
        else:
            constant_beside(t, node, 2, 2, shape[rows])
    t.mark(node, 0)


def einsum(t: BatchTrace, node: NodeProto) -> None:
    """The letter of the lane axis must be the same in each input with lanes, and in the output."""
    equation = _attributes(node)["equation"].decode().replace(" ", "")
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation:
        t.refuse(node, "its equation is not spelled out")
    letters = {
        term[axis]
        for term, name in zip(terms, node.input, strict=True)
        if (axis := t.axis(name)) is not None
    }
    letter = next(iter(letters))
    free = [term for term, name in zip(terms, node.input, strict=True) if t.axis(name) is None]
    if len(letters) > 1 or letter not in output or any(letter in term for term in free):
        t.refuse(node, "it sums over the batch dimension, or mixes it with another")
    t.mark(node, output.index(letter))


# --- windows and normalisation: the batch is the first axis -----------------------------------


def batch_first(t: BatchTrace, node: NodeProto) -> None:
    """Operators that define their first axis as the batch."""
    if _first(t, node)[0] != 0:
        t.refuse(node, "the batch is not in its first axis")
    t.mark(node, 0)


# --- along an axis ---------------------------------------------------------------------------


def along_axis(default: int) -> Rule:
    """Softmax and its like: any axis but the lanes'."""

    def rule(t: BatchTrace, node: NodeProto) -> None:
        axis, shape = _first(t, node)
        along = int(_attributes(node).get("axis", default)) % len(shape)
        if along == axis:
            t.refuse(node, "it works along the batch dimension")
        t.mark(node, axis)

    return rule


def layer_norm(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    if int(_attributes(node).get("axis", -1)) % len(shape) <= axis:
        t.refuse(node, "it normalises over the batch dimension")
    t.mark(node, axis)


def cumulative(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    along = t.constant(node, 1)
    assert along is not None
    if int(along.reshape(-1)[0]) % len(shape) == axis:
        t.refuse(node, "it works along the batch dimension")
    t.mark(node, axis)


def top_k(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    if int(_attributes(node).get("axis", -1)) % len(shape) == axis:
        t.refuse(node, "it works along the batch dimension")
    t.mark(node, axis, 0)
    t.mark(node, axis, 1)


def reduce(t: BatchTrace, node: NodeProto) -> None:
    """ReduceSum and its like, with axes as attribute or as second input."""
    axis, shape = _first(t, node)
    attrs = _attributes(node)
    given = attrs.get("axes")
    if given is None and (listed := t.constant(node, 1)) is not None:
        given = listed.reshape(-1).tolist()
    if given is None:
        given = [] if attrs.get("noop_with_empty_axes") else list(range(len(shape)))
    _reduced(t, node, axis, shape, [int(a) % len(shape) for a in given])


def arg_reduce(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    _reduced(t, node, axis, shape, [int(_attributes(node).get("axis", 0)) % len(shape)])


def _reduced(t: BatchTrace, node: NodeProto, axis: int, shape: Shape, axes: list[int]) -> None:
    if axis in axes:
        t.refuse(node, "it reduces over the batch dimension")
    gone = 0 if _attributes(node).get("keepdims", 1) else sum(a < axis for a in axes)
    t.mark(node, axis - gone)


# --- moving and cutting ----------------------------------------------------------------------


def reshaping(t: BatchTrace, node: NodeProto) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: all are the same reshape, to a shape that is known."""
    _first(t, node)
    t.reshape(node, node.input[0])


def transpose(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    order = _attributes(node).get("perm") or list(reversed(range(len(shape))))
    t.mark(node, list(order).index(axis))


def expand(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    out = t.shape(node, node.output[0])
    at = axis + len(out) - len(shape)
    if out[at] != shape[axis]:
        t.refuse(node, f"it stretches the batch dimension to {out[at]}")
    t.constant(node, 1)
    t.set_constant(node, 1, t.batched_shape(out, at))
    t.mark(node, at)


def concat(t: BatchTrace, node: NodeProto) -> None:
    rank = len(t.shape(node, node.output[0]))
    along = int(_attributes(node)["axis"]) % rank
    axes = {axis for i in node.input if (axis := t.axis(i)) is not None}
    axis = next(iter(axes))
    if len(axes) > 1:
        t.refuse(node, "its inputs have the batch in different places")
    if along == axis:
        t.refuse(node, "it joins along the batch dimension")
    for position, name in enumerate(node.input):
        if t.axis(name) is None:
            t.repeat(node, position, axis)
    t.mark(node, axis)


def split(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    if int(_attributes(node).get("axis", 0)) % len(shape) == axis:
        t.refuse(node, "it splits the batch dimension")
    for output in range(len(node.output)):
        t.mark(node, axis, output)


def slice_(t: BatchTrace, node: NodeProto) -> None:
    """A cut that leaves the lane axis whole."""
    axis, shape = _first(t, node)
    starts, ends, axes, steps = (t.constant(node, p) for p in (1, 2, 3, 4))
    assert starts is not None
    assert ends is not None
    listed = range(len(starts)) if axes is None else [int(a) % len(shape) for a in axes]
    for i, along in enumerate(listed):
        if along != axis:
            continue
        step = 1 if steps is None else int(steps[i])
        if int(starts[i]) != 0 or int(ends[i]) < shape[axis] or step != 1:
            t.refuse(node, "it cuts the batch dimension")
        t.set_constant(node, 2, [_ALL if j == i else int(e) for j, e in enumerate(ends)])
    t.mark(node, axis)


def gather(t: BatchTrace, node: NodeProto) -> None:
    """Constant indices into lanes, or indices with lanes into a constant table."""
    data, indices = node.input
    shape = t.shape(node, data)
    along = int(_attributes(node).get("axis", 0)) % len(shape)
    axis = t.axis(data)
    if axis is None:
        at = t.axis(indices)
        assert at is not None
        t.mark(node, along + at)
        return
    if t.axis(indices) is not None:
        t.refuse(node, "its indices and its data both depend on the input")
    rank = len(t.shape(node, indices))
    if along == axis:
        if shape[axis] == 1 and rank == 0:
            t.reshape(node, data)  # x[0] of a batch of one
            return
        t.refuse(node, "it picks from the batch dimension")
    t.mark(node, axis if axis < along else axis + rank - 1)


def gather_elements(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = t.axis(node.input[0]), t.shape(node, node.input[0])
    along = int(_attributes(node).get("axis", 0)) % len(shape)
    other = t.axis(node.input[1])
    if axis is None or axis == along or other not in (None, axis):
        t.refuse(node, "it picks from the batch dimension")
    if t.shape(node, node.input[1])[axis] != shape[axis]:
        t.refuse(node, "it cuts the batch dimension")
    if other is None:
        t.repeat(node, 1, axis)
    t.mark(node, axis)


def one_hot(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    at = int(_attributes(node).get("axis", -1)) % (len(shape) + 1)
    t.mark(node, axis + (at <= axis))


def pad(t: BatchTrace, node: NodeProto) -> None:
    axis, shape = _first(t, node)
    pads = t.constant(node, 1)
    if pads is None:
        t.refuse(node, "its pads are not constant")
    listed = t.constant(node, 3)
    axes = list(range(len(shape))) if listed is None else [int(a) % len(shape) for a in listed]
    half = len(axes)
    if any(int(pads[i]) or int(pads[half + i]) for i, a in enumerate(axes) if a == axis):
        t.refuse(node, "it pads the batch dimension")
    t.mark(node, axis)


# fmt: off
_ELEMENTWISE = (
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu",
    "Clip", "Cos", "Cosh", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "Max", "Mean", "Min", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
    "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus",
    "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
)
_BATCH_FIRST = (
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace",
    "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization", "MaxPool", "SpaceToDepth",
)
_REDUCE = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)
# fmt: on

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(_BATCH_FIRST, batch_first),
    **dict.fromkeys(_REDUCE, reduce),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshaping),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), along_axis(-1)),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_reduce),
    "Concat": concat,
    "CumSum": cumulative,
    "Einsum": einsum,
    "Expand": expand,
    "Gather": gather,
    "GatherElements": gather_elements,
    "Gemm": gemm,
    "LayerNormalization": layer_norm,
    "MatMul": matmul,
    "OneHot": one_hot,
    "Pad": pad,
    "Slice": slice_,
    "Split": split,
    "TopK": top_k,
    "Transpose": transpose,
}
