"""Replaces a sum over the elements that TopK chooses by a masked sum over all elements.

A nearest-neighbour model mostly takes a mean of targets, votes or distances of its k nearest rows.
Such a mean needs neither their order nor their indices, only which elements are among the first k.
A network of comparators finds the k-th element, and comparisons with it give the mask.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from onnx_ir import DataType

from circuits.frontend.folding import fold_in_place
from circuits.rewrite.edit import (
    Builder,
    Pass,
    attr,
    constant,
    has_shape,
    input_at,
    ints,
    is_float,
    names_in,
    replace,
    shape_of,
    size,
)
from circuits.rewrite.following import RESHAPES, SUMS, Axes, axes_of, followed
from circuits.rewrite.selection import used, without_monotone
from circuits.rewrite.smallest import smallest

#: The most elements that are chosen from.
_MOST = 4096


def _adds_up(node: ir.Node, axes: Axes) -> bool:
    value = node.inputs[0]
    if node.op_type not in SUMS or value not in axes or value is None:
        return False
    return axes[value] in (axes_of(node) or [])


# --- the same of all elements --------------------------------------------------------------------


class _Spread:
    """Writes what was made of chosen elements for all of them."""

    def __init__(self, graph: ir.Graph, axes: Axes, extent: int) -> None:
        self.graph, self.axes, self.extent = graph, axes, extent
        self.taken = names_in(graph)
        self.all: dict[ir.Value, ir.Value] = {}
        self.mask: ir.Value

    def builder(self, node: ir.Node) -> Builder:
        return Builder(self.graph, node.outputs[0].name or node.op_type, self.taken)

    def shape(self, value: ir.Value) -> list[int]:
        found = [*shape_of(value)]
        found[self.axes[value]] = self.extent
        return found

    def of(self, value: ir.Value) -> ir.Value:
        return self.all.get(value, value)

    def write(self, node: ir.Node) -> None:
        """A node on all elements, behind itself."""
        build, out = self.builder(node), node.outputs[0]
        inputs = [None if v is None else self.of(v) for v in node.inputs]
        if node.op_type in RESHAPES:
            made = build.op("Reshape", inputs[0], build.const(ints(self.shape(out))))
        else:
            attributes = {name: attr(node, name) for name in node.attributes}
            made = build.op(node.op_type, *inputs, **attributes)
        self.all[out] = made
        self.graph.insert_before(node, build.nodes)

    def add_up(self, node: ir.Node) -> None:
        """A sum over the chosen ones, or their mean, as a sum over all."""
        value, axes, build = node.inputs[0], axes_of(node), self.builder(node)
        assert value is not None
        assert axes is not None
        count = math.prod(shape_of(value)[a] for a in axes) if node.op_type == "ReduceMean" else 1
        chosen = self._chosen(value, build, 1.0 / count)
        keep = attr(node, "keepdims", 1)
        total = build.op("ReduceSum", chosen, build.const(ints(axes)), keepdims=keep)
        replace(node, build, [total])

    def _chosen(self, value: ir.Value, build: Builder, share: float) -> ir.Value:
        """A share of each chosen element, and zero for all others. Of a product's factors one is
        chosen, the smallest."""
        node = value.producer()
        if node is not None and value in self.axes and node.op_type in ("Div", "Mul", "Neg"):
            places = range(1 if node.op_type == "Div" else len(node.inputs))
            own = {n: v for n in places if (v := node.inputs[n]) is not None and v in self.axes}
            if own and is_float(value):
                inputs = [None if v is None else self.of(v) for v in node.inputs]
                place, least = min(own.items(), key=lambda item: size(item[1]))
                inputs[place] = self._chosen(least, build, share)
                return build.op(node.op_type, *inputs)
        axis, rank = self.axes[value], len(shape_of(value))
        shape = [self.extent if n == axis else 1 for n in range(rank)]
        mask = build.op("Reshape", self.mask, build.const(ints(shape)))
        if share != 1:
            mask = build.op("Mul", mask, build.const(share))
        if value.dtype not in (None, DataType.FLOAT):
            mask = build.op("Cast", mask, to=int(value.dtype))
        return build.op("Mul", self.of(value), mask)


def _rewrite(node: ir.Node, graph: ir.Graph) -> bool:
    """Whether all that is made of a TopK was sums."""
    x, k = node.inputs[0], constant(input_at(node, 1))
    if x is None or k is None or not has_shape(x) or not is_float(x):
        return False
    axis, count = attr(node, "axis", -1) % len(shape_of(x)), int(k.reshape(-1)[0])
    extent = shape_of(x)[axis]
    if extent != size(x) or not 1 < count < extent <= _MOST or len(node.outputs) < 2:
        return False
    axes = dict.fromkeys(node.outputs, axis)
    if not used(node.outputs[1]) or not (sums := followed(axes, graph, _adds_up)):
        return False
    spread = _Spread(graph, axes, extent)
    build = spread.builder(node)
    ordered = build.op("Reshape", without_monotone(x), build.const(ints([1, extent])))
    if attr(node, "largest", 1):
        ordered = build.op("Neg", ordered)
    spread.mask = smallest(ordered, extent, count, build)
    spread.all[node.outputs[0]] = x
    places = np.arange(extent, dtype=np.int64).reshape(shape_of(x))
    spread.all[node.outputs[1]] = build.const(places)
    graph.insert_before(node, build.nodes)
    for reader in list(graph):
        if reader in sums:
            spread.add_up(reader)
        elif reader is not node and any(v in axes for v in reader.outputs):
            spread.write(reader)
    return True


def _run(model: ir.Model) -> None:
    ranked = [node for node in model.graph if node.op_type == "TopK" and node.domain == ""]
    changed = [_rewrite(node, model.graph) for node in ranked]
    if any(changed):
        fold_in_place(model)  # what was looked up at places that are all there are now


SUM_NEAREST = Pass(
    name="sum-nearest",
    version=1,
    purpose="Replaces a sum over TopK's elements by a masked sum over all elements.",
    reference="Batcher, Sorting networks and their applications, AFIPS 1968",
    run=_run,
    touches=frozenset(("TopK",)),
)
