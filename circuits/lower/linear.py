"""Matrix products and convolutions: the layers whose weights are rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.emit import representable
from circuits.lower.lowering import Lowering, refuse
from circuits.lower.quantity import MOST_PLACES, ZERO, QuantizedValue, gather
from circuits.lower.variant import BitWidths
from circuits.rewrite.edit import attr, input_at, shape_of

#: A single row is multiplied without its zeros if they leave at most one in so many.
_SPARSE = 2


@dataclass(frozen=True)
class Rounded:
    """Whole-number weights with the step that their products come in."""

    weights: NDArray[np.float64]
    step: float


def round_weights(
    weights: NDArray[np.float64], steps: NDArray[np.float64], bits: BitWidths, layer: int
) -> Rounded:
    """Rounds ``weights · steps`` so that the largest weight, met with the finest step, has the bits
    of this layer; the step of the result is a power of two.

    ``steps`` are the input's own, whatever they are: they end in the weights. Inputs that come in
    finer steps hold larger integers, so it is they that set how fine the weights have to be.
    """
    largest = float(np.abs(weights).max(initial=0.0))
    finest = float(np.abs(steps).min(initial=np.inf))
    if largest == 0.0:
        return Rounded(np.zeros_like(weights), 1.0)
    step = 2.0 ** (math.ceil(math.log2(largest * finest)) - bits.weight(layer))
    whole = representable(weights * steps / step).astype(np.float64)
    return Rounded(whole, step)


def matrix_product(
    low: Lowering,
    q: QuantizedValue,
    view: NDArray[np.int64],
    steps: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
) -> QuantizedValue:
    """``[S, P, K] · [S, K, F]``, a stack of products, where ``view`` picks the left side's elements
    and ``steps`` are theirs. The result has shape ``[S, P, F]`` and one step.

    ``groups`` [P], of a single product: rows of one group have zeros in the same places, and are
    multiplied without.
    """
    if steps.size > 1 and not np.all(steps == steps[:, :1]):
        raise ValueError("the steps of a window differ from place to place")
    per_input = np.broadcast_to(steps, view.shape)[:, 0, :, None] if steps.size > 1 else steps
    rounded = round_weights(weights, per_input, low.bits, low.layers)
    low.layers += 1
    if groups is None:
        product = _product(low, q, view, rounded.weights)
        shape = (*view.shape[:2], weights.shape[2])
        result = low.new(product, rounded.step)
        return result.moved(result.view.reshape(shape), result.step)
    product, places = _by_groups(low, q, view[0], rounded.weights[0], groups)
    return low.new(product, rounded.step).moved(places[None], np.array(rounded.step))


def _by_groups(
    low: Lowering,
    q: QuantizedValue,
    view: NDArray[np.int64],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64],
) -> tuple[ir.Value, NDArray[np.int64]]:
    """The products of all groups in one tensor, and where in it each of the results lies."""
    outputs = weights.shape[1]
    places = np.full((len(view), outputs), ZERO, dtype=np.int64)
    parts, count = [], 0
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        terms = np.arange(len(weights))
        if len(rows) < len(view):
            terms = np.flatnonzero(np.any(view[rows] != ZERO, axis=0))
        if not terms.size:
            continue
        product = _product(low, q, view[np.ix_(rows, terms)][None], weights[terms][None])
        size = len(rows) * outputs
        parts.append(low.emit.reshape(product, [1, size]))
        places[rows] = np.arange(count, count + size).reshape(-1, outputs)
        count += size
    if len(parts) == 1:
        return parts[0], places
    return low.emit.op("Concat", parts, [1, count], axis=1), places


def _product(
    low: Lowering, q: QuantizedValue, view: NDArray[np.int64], weights: NDArray[np.float64]
) -> ir.Value:
    stack, rows, inner = view.shape
    if rows == 1:
        nonzero = int(np.count_nonzero(weights, axis=1).max(initial=0))
        if _SPARSE * nonzero <= inner:
            return _sparse_product(low, q, view[:, 0], weights, max(1, nonzero))
    if stack == 1:
        view, weights = view[0], weights[0]
    shape = (1, *view.shape[:-1], weights.shape[-1])
    left, right = gather(low.emit, q, view, (1, *view.shape)), low.emit.whole(weights)
    return low.emit.op("MatMul", [left, right], shape)


def _sparse_product(
    low: Lowering,
    q: QuantizedValue,
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
    most: int,
) -> ir.Value:
    """``[S, K] · [S, K, F]``, a row each, as S · F dot products of the ``most`` places, or fewer,
    whose weight is not zero: ``[1, S · F]``."""
    # A stable sort by "is zero" puts the others in front, in their order.
    places = np.argsort(weights == 0, axis=1, kind="stable")[:, :most].transpose(0, 2, 1)
    chosen = np.take_along_axis(weights.transpose(0, 2, 1), places, axis=2)
    outputs = chosen.shape[0] * chosen.shape[1]
    picked = np.take_along_axis(rows[:, None], places, axis=2)
    left = gather(low.emit, q, picked, (1, outputs, 1, most))
    right = low.emit.whole(chosen.reshape(1, outputs, most, 1))
    product = low.emit.op("MatMul", [left, right], [1, outputs, 1, 1])
    return low.emit.reshape(product, [1, outputs])


def _prepared(low: Lowering, q: QuantizedValue, view_of: NDArray[np.int64]) -> QuantizedValue:
    """q with one step, when its steps differ between the places of a window."""
    steps = _steps_at(q, view_of)
    return q if steps.size == 1 or bool(np.all(steps == steps[:, :1])) else low.uniform(q)


def _steps_at(q: QuantizedValue, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Steps of the elements at logical ``places`` ([S, P, K], ``ZERO`` for padding)."""
    if q.step.size == 1:
        return q.step.reshape(1)
    flat = np.append(q.steps().reshape(-1), np.nan)
    steps = flat[places]
    # A zero may have any step: give it its column's.
    column = np.where(np.isnan(steps), -np.inf, steps).max(axis=1, keepdims=True)
    column = np.where(np.isinf(column), 1.0, column)
    return np.where(np.isnan(steps), column, steps)


def windowed(
    low: Lowering,
    q: QuantizedValue,
    places: NDArray[np.int64],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
) -> QuantizedValue:
    """A stack of products over windows: ``places`` [S, P, K] are logical places in q, ``weights``
    [S, K, F].

    ``groups`` as for ``matrix_product``.
    """
    q = _prepared(low, q, places)
    growth = low.bits.weight(low.layers) + weights.shape[1].bit_length() + 1
    q = low.fitting(q, growth)
    flat = np.append(q.view.reshape(-1), ZERO)
    return matrix_product(low, q, flat[places], _steps_at(q, places), weights, groups)


def matmul(low: Lowering, node: ir.Node) -> None:
    """MatMul with a constant on one side, or of two values."""
    a, b = node.inputs[0], node.inputs[1]
    out = shape_of(node.outputs[0])
    if low.is_known(a) and low.is_known(b):
        result = _dynamic(low, low.quantity(a), low.quantity(b))
    elif low.is_known(a):
        result = _by_right(low, low.quantity(a), low.constant(node, b))
    else:
        result = _by_left(low, node, low.constant(node, a), low.quantity(b))
    store(low, node, result.moved(result.view.reshape(out), result.step))


def _by_right(low: Lowering, q: QuantizedValue, weights: NDArray[np.float64]) -> QuantizedValue:
    """Rows by a matrix, or each matrix of a stack by one of its own."""
    if weights.ndim > 2 and math.prod(weights.shape[:-2]) > 1:
        lead = np.broadcast_shapes(q.shape[:-2], weights.shape[:-2])
        logical = np.arange(q.view.size).reshape(q.shape)
        stack = np.broadcast_to(logical, (*lead, *q.shape[-2:])).reshape(-1, *q.shape[-2:])
        matrices = np.broadcast_to(weights, (*lead, *weights.shape[-2:]))
        return windowed(low, q, stack, matrices.reshape(-1, *weights.shape[-2:]))
    matrix = weights.reshape(weights.shape[-2:] if weights.ndim > 1 else (-1, 1))
    places = np.arange(q.view.size).reshape(1, -1, len(matrix))
    return windowed(low, q, places, matrix[None])


def _by_left(
    low: Lowering, node: ir.Node, weights: NDArray[np.float64], q: QuantizedValue
) -> QuantizedValue:
    """A x = (xᵀ Aᵀ)ᵀ, for each matrix of a stack of x."""
    if math.prod(weights.shape[:-2]) != 1:
        raise refuse(node, "its weights are a stack of matrices")
    matrix = weights.reshape(weights.shape[-2:] if weights.ndim > 1 else (1, -1)).T
    inner, rows = len(matrix), matrix.size // len(matrix)
    shape = q.shape if q.view.ndim > 1 else (q.view.size, 1)
    logical = np.arange(q.view.size).reshape(shape)
    places = np.swapaxes(logical, -1, -2).reshape(1, -1, inner)
    product = windowed(low, q, places, matrix[None])
    stacked = product.view.reshape(*shape[:-2], shape[-1], rows)
    return product.moved(np.swapaxes(stacked, -1, -2), product.step)


def _dynamic(low: Lowering, a: QuantizedValue, b: QuantizedValue) -> QuantizedValue:
    a, b = low.uniform(a), low.uniform(b)
    a = low.fitting(a, low.bits_of(b) + a.shape[-1].bit_length())
    b = low.fitting(b, low.bits_of(a) + a.shape[-1].bit_length())
    if a.view.ndim < 2 or b.view.ndim < 2:
        raise ValueError("a product of two values needs matrices")
    lead = np.broadcast_shapes((1,), a.shape[:-2], b.shape[:-2])  # lanes go in front
    left = low.broadcast(a, (*lead, *a.shape[-2:]))
    right = low.broadcast(b, (*lead, *b.shape[-2:]))
    shape = (*lead, a.shape[-2], b.shape[-1])
    operands = [gather(low.emit, left, left.view), gather(low.emit, right, right.view)]
    tensor = low.emit.op("MatMul", operands, shape)
    step = a.step.reshape(-1)[0] * b.step.reshape(-1)[0] * low.emit.divisor(tensor)
    return low.new(tensor, float(step))


def gemm(low: Lowering, node: ir.Node) -> None:
    """alpha · A' · B' + beta · C, with constant B."""
    q = low.quantity(node.inputs[0])
    weights = low.constant(node, node.inputs[1])
    if attr(node, "transA", 0):
        q = q.moved(q.view.T, q.step.T if q.step.ndim == 2 else q.step)
    if attr(node, "transB", 0):
        weights = weights.T
    weights = weights * float(attr(node, "alpha", 1.0))
    places = np.arange(q.view.size).reshape(1, *q.shape)
    product = windowed(low, q, places, weights[None])
    product = product.moved(product.view[0], product.step)
    added, beta = input_at(node, 2), np.array(float(attr(node, "beta", 1.0)))
    if low.is_known(added):
        other = low.scale(low.quantity(added), beta)
        product = low.add(product, low.broadcast(other, product.shape))
    elif added is not None:
        product = low.add_constant(product, low.constant(node, added) * beta)
    store(low, node, product)


def conv(low: Lowering, node: ir.Node) -> None:
    """A convolution of any rank, as a product over its patches: of each group its own."""
    q = low.quantity(node.inputs[0])
    weights = low.constant(node, node.inputs[1])
    groups = attr(node, "group", 1)
    picks = conv_places(q.shape, weights.shape[2:], attr(node, "strides"), attr(node, "pads"))
    stack = picks.reshape(len(picks), groups, -1).transpose(1, 0, 2)
    columns = weights.reshape(groups, weights.shape[0] // groups, -1).transpose(0, 2, 1)
    _store_map(low, node, windowed(low, q, stack, columns))


def _store_map(low: Lowering, node: ir.Node, product: QuantizedValue) -> None:
    """Records a feature map, ``[groups, places, channels of a group]``, with its bias."""
    out = shape_of(node.outputs[0])
    rows = product.moved(product.view.transpose(1, 0, 2).reshape(-1, out[1]), product.step)
    if (added := input_at(node, 2)) is not None:
        rows = low.add_constant(rows, low.constant(node, added))
    view = rows.view.reshape(out[0], *out[2:], out[1])
    store(low, node, rows.moved(np.moveaxis(view, -1, 1), rows.step))


def conv_places(
    image: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], pads: list[int]
) -> NDArray[np.int64]:
    """Logical places of every window: ``[N · positions, C · kernel]``, ``ZERO`` for padding."""
    rank = len(kernel)
    if math.prod(image) * math.prod(kernel) > MOST_PLACES:
        raise ValueError("its patches have too many elements")
    logical = np.arange(math.prod(image), dtype=np.int64).reshape(image)
    width = [(0, 0), (0, 0), *((pads[i], pads[rank + i]) for i in range(rank))]
    padded = np.pad(logical, width, constant_values=ZERO)
    axes = tuple(range(2, 2 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axes)
    strided = windows[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
    order = [0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank)]
    return np.ascontiguousarray(strided.transpose(order)).reshape(-1, image[1] * math.prod(kernel))


def conv_transpose(low: Lowering, node: ir.Node) -> None:
    """A transposed convolution as a product over what each output element sees."""
    q = low.quantity(node.inputs[0])
    weights = low.constant(node, node.inputs[1])
    if attr(node, "group", 1) != 1 or "output_shape" in node.attributes:
        raise refuse(node, "groups or output_shape")
    out = shape_of(node.outputs[0])
    strides, pads = attr(node, "strides"), attr(node, "pads")
    kernel = weights.shape[2:]
    spread = _spread_places(q.shape, strides)
    rank = len(kernel)
    before = [k - 1 - pads[i] for i, k in enumerate(kernel)]
    after = [out[2 + i] + kernel[i] - 1 - before[i] - spread.shape[2 + i] for i in range(rank)]
    if min(*before, *after) < 0:
        raise refuse(node, "pads wider than the kernel")
    width = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    padded = np.pad(spread, width, constant_values=ZERO)
    axes = tuple(range(2, 2 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axes)
    order = [0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank)]
    picks = np.ascontiguousarray(windows.transpose(order)).reshape(
        -1, weights.shape[0] * math.prod(kernel)
    )
    flipped = np.flip(weights, axis=axes)
    columns = np.moveaxis(flipped, 1, -1).reshape(-1, weights.shape[1])
    _store_map(low, node, windowed(low, q, picks[None], columns[None], _phases(out, strides)))


def _phases(out: tuple[int, ...], strides: list[int]) -> NDArray[np.int64]:
    """For each place of an output ``[N, F, *spatial]`` which of the input's gaps its window sees:
    those of a stride's s places, which come round after s."""
    phases = np.zeros((1,) * len(strides), dtype=np.int64)
    for axis, stride in enumerate(strides):
        along = np.arange(out[2 + axis]) % stride
        shape = [-1 if i == axis else 1 for i in range(len(strides))]
        phases = phases * stride + along.reshape(shape)
    return np.tile(phases.reshape(-1), out[0])


def _spread_places(image: tuple[int, ...], strides: list[int]) -> NDArray[np.int64]:
    """Places of an image with ``stride - 1`` zeros between its elements."""
    logical = np.arange(math.prod(image), dtype=np.int64).reshape(image)
    extents = [(d - 1) * s + 1 for d, s in zip(image[2:], strides, strict=True)]
    spread = np.full([*image[:2], *extents], ZERO, dtype=np.int64)
    spread[(slice(None), slice(None), *(slice(None, None, s) for s in strides))] = logical
    return spread


def store(low: Lowering, node: ir.Node, q: QuantizedValue) -> None:
    """Records the quantity of a node's first output."""
    name = node.outputs[0].name
    assert name is not None
    low.known[name] = q
