"""The smallest of many, by comparators: the k-th is found by a network, then all are compared with
it. Takes a few comparisons for each element, however many are chosen."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from onnx_ir import DataType

from circuits.rewrite.edit import Builder, ints


def smallest(x: ir.Value, extent: int, count: int, build: Builder) -> ir.Value:
    """``[1, n]``: one where an element is among the ``count`` smallest, of equal ones the first,
    else zero."""
    kth = _kth(x, extent, count, build)
    sides = [build.op("Less", x, kth), build.op("Greater", x, kth)]
    before, behind = (build.op("Cast", side, to=int(DataType.FLOAT)) for side in sides)
    sure = build.op("ReduceSum", before, build.const(ints([1])), keepdims=1)
    # How many come before each that is the k-th or equal to it, and that one; those before it come
    # out below one, those behind it beyond the count.
    places = np.arange(1, extent + 1, dtype=np.float32)[None]
    other = _running(build.op("Add", before, behind), extent, build)
    rank = build.op("Add", build.op("Sub", build.const(places), other), sure)
    first = build.op("Mul", before, build.const(float(extent)))
    last = build.op("Mul", behind, build.const(2.0 * extent))
    rank = build.op("Add", rank, build.op("Sub", last, first))
    chosen = build.op("Less", rank, build.const(float(count + 1)))
    return build.op("Cast", chosen, to=int(DataType.FLOAT))


def _running(bits: ir.Value, extent: int, build: Builder) -> ir.Value:
    """``[1, n]``: the sum of a row up to each element, by blocks."""
    width = math.isqrt(extent - 1) + 1
    blocks = -(-extent // width)
    if blocks * width > extent:
        zeros = np.zeros((1, blocks * width - extent), dtype=np.float32)
        bits = build.op("Concat", bits, build.const(zeros), axis=1)
    grid = build.op("Reshape", bits, build.const(ints([blocks, width])))
    inside = build.op("MatMul", grid, build.const(np.triu(np.ones((width, width), np.float32))))
    last = build.op("Gather", inside, build.const(ints([width - 1])), axis=1)
    earlier = np.tril(np.ones((blocks, blocks), np.float32), -1)
    whole = build.op("Add", inside, build.op("MatMul", build.const(earlier), last))
    row = build.op("Reshape", whole, build.const(ints([1, blocks * width])))
    return build.op("Gather", row, build.const(ints(range(extent))), axis=1)


def _kth(x: ir.Value, extent: int, number: int, build: Builder) -> ir.Value:
    """``[1, 1]``: the element that is at place ``number``, counted from one, in ascending order."""
    at = {wire: wire for wire in range(extent)}
    for layer, wanted in _network(extent, number - 1):
        lows = [pair for pair in layer if pair[0] in wanted]
        highs = [pair for pair in layer if pair[1] in wanted]
        rest = sorted(wanted - {wire for pair in layer for wire in pair})
        parts, wires = [], [low for low, _ in lows] + [high for _, high in highs] + rest
        for pairs, op in ((lows, "Min"), (highs, "Max")):
            if pairs:
                sides = [ints(at[pair[n]] for pair in pairs) for n in (0, 1)]
                parts.append(
                    build.op(op, *(build.op("Gather", x, build.const(s), axis=1) for s in sides))
                )
        if rest:
            parts.append(build.op("Gather", x, build.const(ints(at[w] for w in rest)), axis=1))
        x = parts[0] if len(parts) == 1 else build.op("Concat", *parts, axis=1)
        at = {wire: place for place, wire in enumerate(wires)}
    return x


def _network(extent: int, wire: int) -> list[tuple[list[tuple[int, int]], set[int]]]:
    """Layers of comparators, which put the smaller of two wires on the first, until one wire has
    its place in the order; with the wires that are still needed behind each layer.

    Blocks as long as that wire's place are sorted, and merged in pairs of which the smaller half
    is kept (Batcher), without what the wire does not depend on.
    """
    block = 1 << wire.bit_length()
    layers, merged = list[list[tuple[int, int]]](), 1
    while merged < block:
        step = merged
        while step >= 1:
            layers.append(
                [
                    (first + low, first + low + step)
                    for first in range(0, extent, block)
                    for start in range(step % merged, block - step, 2 * step)
                    for low in range(start, min(start + step, block - step))
                    if low // (2 * merged) == (low + step) // (2 * merged)
                ]
            )
            step //= 2
        merged *= 2
    apart = block
    while apart < extent:
        starts = range(0, extent - apart, 2 * apart)
        layers.append([(s + n, s + apart + block - 1 - n) for s in starts for n in range(block)])
        step = block // 2
        while step >= 1:
            inner = [n for n in range(block) if not n & step]
            layers.append([(s + n, s + n + step) for s in starts for n in inner])
            step //= 2
        apart *= 2
    wanted, found = {wire}, []
    for layer in reversed(layers):
        kept = [p for p in layer if p[1] < extent and wanted.intersection(p)]
        if kept:
            found.append((kept, wanted))
            wanted = wanted.union(*kept)
    return found[::-1]
