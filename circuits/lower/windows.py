"""Pooling and reductions: sums and maxima over windows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.elementwise import magnitude, square
from circuits.lower.linear import conv_places, store
from circuits.lower.lowering import Lowering, refuse
from circuits.lower.quantity import ZERO, QuantizedValue, gather
from circuits.rewrite.edit import attr, constant, input_at, ints, shape_of


def _pool_places(node: ir.Node, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Windows within each channel: ``[N · C · positions, kernel]``."""
    kernel = tuple(attr(node, "kernel_shape"))
    flat = (shape[0] * shape[1], 1, *shape[2:])
    return conv_places(flat, kernel, attr(node, "strides"), attr(node, "pads"))


def max_pool(low: Lowering, node: ir.Node) -> None:
    name = node.inputs[0].name if node.inputs[0] is not None else None
    assert name is not None
    put_off = low.known[name]
    q = low.positive(replace(put_off, relu=False))
    places = _pool_places(node, q.shape)
    if np.any(places == ZERO):
        raise refuse(node, "padding")
    store(low, node, _maximum_over(low, q, places, shape_of(node.outputs[0]), put_off.relu))


def reduce_max(low: Lowering, node: ir.Node) -> None:
    q = low.positive(low.quantity(node.inputs[0]))
    places, _ = _reduced(node, q.shape)
    store(low, node, _maximum_over(low, q, places, shape_of(node.outputs[0]), False))


def _maximum_over(
    low: Lowering, q: QuantizedValue, places: NDArray[np.int64], shape: tuple[int, ...], relu: bool
) -> QuantizedValue:
    steps = q.steps().reshape(-1)[places]
    if not bool(np.all(steps == steps[:, :1])):
        q = low.uniform(q)
        steps = q.steps().reshape(-1)[places]
    views = q.view.reshape(-1)[places]
    tensor, times = low.maxima(q, [views[:, k] for k in range(places.shape[1])])
    step = q.step.reshape(()) if q.step.size == 1 else steps[None, :, 0]
    result = low.new(tensor, step / times)
    result = low.relu(result) if relu else result
    each = result.step if result.step.size == 1 else result.steps().reshape(shape)
    return result.moved(result.view.reshape(shape), np.asarray(each))


def average_pool(low: Lowering, node: ir.Node) -> None:
    q = low.quantity(node.inputs[0])
    places = _pool_places(node, q.shape)
    share = 1.0 / math.prod(attr(node, "kernel_shape"))
    store(low, node, _sum_over(low, q, places, shape_of(node.outputs[0]), share))


def reduce_sum(low: Lowering, node: ir.Node) -> None:
    """ReduceSum, ReduceL1, ReduceSumSquare; ReduceMean and GlobalAveragePool."""
    q = low.quantity(node.inputs[0])
    if node.op_type == "ReduceL1":
        q = magnitude(low, q)
    elif node.op_type == "ReduceSumSquare":
        q = square(low, q)
    places, count = _reduced(node, q.shape)
    share = 1.0 / count if node.op_type in ("ReduceMean", "GlobalAveragePool") else 1.0
    store(low, node, _sum_over(low, q, places, shape_of(node.outputs[0]), share))


def _reduced(node: ir.Node, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], int]:
    given = constant(input_at(node, 1))
    if input_at(node, 1) is not None and given is None:
        raise refuse(node, "axes that are not constant")
    axes = attr(node, "axes") if given is None else [int(a) for a in given]
    rank = len(shape)
    if node.op_type.startswith("Global"):
        axes = range(2, rank)
    chosen = [a % rank for a in axes] if axes else list(range(rank))
    kept = [a for a in range(rank) if a not in chosen]
    count = math.prod(shape[a] for a in chosen)
    logical = np.arange(math.prod(shape)).reshape(shape).transpose(kept + chosen)
    return logical.reshape(-1, count), count


def _sum_over(
    low: Lowering,
    q: QuantizedValue,
    places: NDArray[np.int64],
    shape: tuple[int, ...],
    share: float,
) -> QuantizedValue:
    """Sums of windows; the factor goes into the step and costs nothing."""
    flat_steps = np.append(q.steps().reshape(-1), np.nan)
    steps = flat_steps[places]
    first = np.nanmax(np.where(np.isnan(steps), -np.inf, steps), axis=1)
    if not bool(np.all(np.isnan(steps) | (steps == first[:, None]))):
        q = low.uniform(q)
        first = np.full(places.shape[0], float(q.step.reshape(-1)[0]))
    views = np.append(q.view.reshape(-1), ZERO)[places]
    windows = gather(low.emit, q, views, (1, *views.shape))
    total = low.emit.op(
        "ReduceSum", [windows, low.emit.indices(ints([2]))], [1, places.shape[0]], keepdims=0
    )
    step = first[0] if bool(np.all(first == first[0])) else first
    result = low.new(total, np.asarray(step * share))
    return result.moved(
        result.view.reshape(shape),
        result.step if result.step.ndim == 0 else result.step.reshape(shape),
    )


def arg_max(low: Lowering, node: ir.Node) -> None:
    """ArgMax and ArgMin: the place of an element, counted from 0, so that its step is 1."""
    q = low.quantity(node.inputs[0])
    if node.op_type == "ArgMin":
        q = replace(q, step=-q.step)
    if attr(node, "select_last_index", 0):
        raise refuse(node, "select_last_index")
    q = low.uniform(q)
    axis = attr(node, "axis", 0) % q.view.ndim
    view = np.moveaxis(q.view, axis, -1)
    one = q.step.reshape(-1)[0]
    rows = low.materialized(q.moved(view.reshape(1, -1, view.shape[-1]), one))
    shape = [1, rows.shape[1]]
    found = low.emit.op("ArgMax", [rows.tensor], shape, ir.DataType.INT64, axis=2, keepdims=0)
    number = low.new(low.emit.op("Cast", [found], shape, to=int(ir.DataType.FLOAT)), 1.0)
    store(low, node, number.moved(number.view.reshape(shape_of(node.outputs[0])), number.step))
