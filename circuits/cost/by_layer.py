"""The count behind a cost report: each node's cells by formula, under its layer's name.

Passes name what they add after the node that they replace (``circuits.rewrite.edit.Builder``), so
that a rewritten node's name tells which layer of the uploaded model it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir
from onnx import ModelProto

from circuits.calibration.samples import default_ranges
from circuits.cost.fixed_point import cells_by_node
from circuits.cost.integers import TYPICAL, typical_legs
from circuits.cost.layers import CostReport, LayerCosts
from circuits.lower import CannotLower, GraphVariant, lower
from circuits.lower.committed.choosing.candidates import committed_cells
from circuits.lower.preparing import prepared
from circuits.rewrite import rewrite
from circuits.rewrite.uploaded import Layer, uploaded


def count_layers(data: bytes) -> CostReport:
    """The cost of an uploaded model, for inputs of -1…1 (or 0…1).

    Raises what rewriting raises for a model that cannot be proved.
    """
    rewritten = rewrite(data)
    accepted = default_ranges(rewritten.signature)
    origins = Origins(uploaded(data).layers)
    fixed_point = _fixed_point(onnx.load_model_from_string(rewritten.onnx), origins)
    integers, why_not = None, ""
    try:
        variant = lower(rewritten.onnx, TYPICAL, accepted, write=False)
        integers = _integers(prepared(rewritten.onnx, accepted).graph, variant, origins)
    except CannotLower as error:
        why_not = error.detail
    return CostReport(
        fixed_point=sum(fixed_point.values()),
        integers=None if integers is None else sum(integers.values()),
        committed=committed_cells(rewritten.onnx, rewritten.signature, accepted),
        integer_unsupported=why_not,
        layers=tuple(
            LayerCosts(
                layer=layer,
                op=origins.operators[layer],
                fixed_point=fixed_point.get(layer, 0),
                integers=None if integers is None else integers.get(layer, 0),
            )
            for layer in dict.fromkeys([*fixed_point, *(integers or ())])
        ),
    )


def _fixed_point(model: ModelProto, origins: Origins) -> dict[str, int]:
    """Cells in the engine's fixed point, by layer."""
    found: dict[str, int] = {}
    for node, cells in cells_by_node(model):
        layer = origins.of(node.op_type, node.name or node.output[0], *node.output)
        found[layer] = found.get(layer, 0) + cells
    return found


def _integers(graph: ir.Graph, variant: GraphVariant, origins: Origins) -> dict[str, int]:
    """Cells of an integer graph, by layer of the float ``graph`` that was lowered."""
    made = {n.name: [v.name for v in n.outputs if v.name] for n in graph}
    found: dict[str, int] = {}
    legs = typical_legs(variant)
    for node in variant.nodes:
        if cells := node.cells + node.cells_per_leg * legs:
            name, op = node.source
            layer = origins.of(op, name, *made.get(name, ()))
            found[layer] = found.get(layer, 0) + cells
    return found


class Origins:
    """Finds a rewritten node's layer in the uploaded model. ``operators`` has those of all layers
    found so far."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.operators = {layer.name: layer.op for layer in layers}
        self._layer = {name: layer.name for layer in layers for name in layer.outputs}
        self._layer |= {name: name for name in self.operators}

    def of(self, op: str, *names: str) -> str:
        """The layer that one of a node's names leads to, else the first of these names, as a layer
        of the node's own operator."""
        for name in names:
            stem = name
            while stem:
                if stem in self._layer:
                    return self._layer[stem]
                stem = stem.rpartition("/")[0]
        self.operators.setdefault(names[0], op)
        return names[0]
