"""A model taken apart: each layer as a model of its own, so that the engine can price it alone.

And which layer of the uploaded model each node of its rewritten form comes from: passes name what
they add after the node that they replace (``circuits.rewrite.edit.Builder``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from circuits.calibration.samples import default_ranges
from circuits.cost.fixed_point import node_cells
from circuits.cost.integers import TYPICAL, cost_by_layer, typical_legs
from circuits.cost.layers import Integers, Part, Parts
from circuits.frontend.fixed_shapes import known_dims, static_shape
from circuits.lower import CannotLower, GraphVariant, lower
from circuits.lower.committed.candidates import committed_cells
from circuits.lower.fold_norms import with_folded_norms
from circuits.rewrite import rewrite
from circuits.rewrite.pipeline import folded_alone
from circuits.rewrite.uploaded import Layer, uploaded

#: Nodes beyond which no part is made: the engine's count of so many takes minutes.
_MOST_NODES = 400
#: Bytes that all growing parts of a model may have together.
_MOST_BYTES = 64 << 20


def take_apart(data: bytes) -> Parts:
    """The parts of an uploaded model, for inputs of -1…1 (or 0…1).

    Raises what rewriting raises for a model that cannot be proved.
    """
    found = uploaded(data)
    origins = Origins(found.layers)
    rewritten = rewrite(data)
    accepted = default_ranges(rewritten.signature)
    before = folded_alone(found.written)
    after = onnx.load_model_from_string(rewritten.onnx)
    large = max(len(before.graph.node), len(after.graph.node)) > _MOST_NODES
    exported = _parts(before, origins, large=large)
    parts = _parts(after, origins, grow=True, large=large)
    # Layers as the uploaded graph has them, then those that rewriting added.
    operators = dict.fromkeys(p.layer for p in [*exported, *parts])
    operators |= {p.layer: p.op for p in [*parts, *exported]}
    integers: Integers | str
    try:
        variant = lower(rewritten.onnx, TYPICAL, accepted)
        integers = _integers(rewritten.onnx, variant, origins, operators)
    except CannotLower as error:
        integers = error.detail
    return Parts(
        exported=exported,
        rewritten=parts,
        onnx=rewritten.onnx,
        integers=integers,
        committed=committed_cells(rewritten.onnx, rewritten.signature, accepted),
        operators={layer: op or "" for layer, op in operators.items()},
        large=large,
    )


def _integers(
    plain: bytes, variant: GraphVariant, origins: Origins, operators: dict[str, str | None]
) -> Integers:
    """An integer graph's cost by layer of the uploaded model; layers unknown so far are noted."""
    rewritten = with_folded_norms(plain)
    made = {n.name: [v.name for v in n.outputs if v.name] for n in rewritten.graph}
    legs, layers = typical_legs(variant), dict[str, int]()
    for cost in cost_by_layer(variant, legs):
        layer = origins.of(cost.layer, *made.get(cost.layer, ()))
        operators.setdefault(layer, cost.op)
        layers[layer] = layers.get(layer, 0) + cost.assignments
    return Integers(onnx=variant.onnx, legs=legs, scale=variant.scale, layers=layers)


class Origins:
    """Finds a rewritten node's layer in the uploaded model."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.operators = {layer.name: layer.op for layer in layers}
        self._layer = {name: layer.name for layer in layers for name in layer.outputs}
        self._layer |= {name: name for name in self.operators}

    def of(self, *names: str) -> str:
        """The layer that one of a node's names leads to, else the first of these names."""
        for name in names:
            stem = name
            while stem:
                if stem in self._layer:
                    return self._layer[stem]
                stem = stem.rpartition("/")[0]
        return names[0]


def _parts(model: ModelProto, origins: Origins, *, large: bool, grow: bool = False) -> list[Part]:
    """Each node alone or, with ``grow``, at the end of all that comes before it; of a ``large``
    model only what a formula says."""
    graph = model.graph
    values = {v.name: v for v in [*graph.input, *graph.value_info, *graph.output]}
    constants = {t.name: t for t in graph.initializer} | dict(_constant_nodes(graph))
    shapes = {name: known_dims(v) for name, v in values.items()}
    shapes |= {name: list(t.dims) for name, t in constants.items()}
    found = []
    grow = grow and not large and model.ByteSize() * len(graph.node) <= _MOST_BYTES
    for place, node in enumerate(graph.node):
        if not any(name and name not in constants for name in node.input):
            continue
        layer = origins.of(node.name or node.output[0], *node.output)
        found.append(
            Part(
                layer=layer,
                op=origins.operators.get(layer, node.op_type),
                onnx=None if large else _alone(model, [node], values, constants),
                grown=_alone(model, graph.node[: place + 1], values, constants) if grow else None,
                counted=node_cells(node, shapes),
            )
        )
    return found


def _constant_nodes(graph: GraphProto) -> Iterable[tuple[str, TensorProto]]:
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            yield node.output[0], node.attribute[0].t


def _alone(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    values: dict[str, ValueInfoProto],
    constants: dict[str, TensorProto],
) -> bytes | None:
    """Nodes as a model: what they read becomes its inputs, what none of them reads its outputs."""
    made = [name for node in nodes for name in node.output if name]
    read = list(dict.fromkeys(name for node in nodes for name in node.input if name))
    inputs = [name for name in read if name not in constants and name not in made]
    last = {name for name in nodes[-1].output if name}
    outputs = [
        name for name in made if name not in constants and (name not in read or name in last)
    ]
    known = [values.get(name) for name in [*inputs, *outputs]]
    if any(v is None or static_shape(v) is None for v in known):
        return None
    graph = helper.make_graph(
        nodes,
        "part",
        [values[name] for name in inputs],
        [values[name] for name in outputs],
        [_named(constants[name], name) for name in read if name in constants and name not in made],
    )
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return bytes(alone.SerializeToString(deterministic=True))


def _named(tensor: TensorProto, name: str) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy
