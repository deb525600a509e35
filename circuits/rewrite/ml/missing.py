"""Missing values by masks: what a model asks of NaN, asked of which values are missing.

An input whose values may be missing has 0 there, and a mask beside it; the model begins by making
NaN of both (``circuits.frontend.inputs``). Here no NaN is made: a mask goes beside each value that
would have been one, up to where the model asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir import DataType

from circuits.errors import UnsupportedOperator
from circuits.frontend.missing import ELEMENTWISE, WITH_CONSTANT
from circuits.frontend.plain import MOVES
from circuits.rewrite.edit import (
    Builder,
    Pass,
    attr,
    constant,
    has_shape,
    ints,
    names_in,
    replace,
    shape_of,
)
from circuits.rewrite.ml.estimators import tree_classifier, tree_regressor

_TREES: Mapping[str, Callable[..., Sequence[ir.Value] | ir.Value]] = {
    "TreeEnsembleClassifier": tree_classifier,
    "TreeEnsembleRegressor": tree_regressor,
}


class _Masks:
    """The graph as it is walked, and what is known of its values."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._taken = names_in(graph)
        self._masks: dict[ir.Value, ir.Value] = {}  # of a value: where it is missing
        self._asked: dict[ir.Value, tuple[ir.Value, bool]] = {}  # a mask, and whether it is turned

    def walk(self) -> bool:
        """Whether there was any."""
        for node in list(self._graph):
            if (mask := _made_missing(node)) is not None:
                build = self._build(node)
                replace(node, build, [build.op("Identity", node.inputs[2])])
                self._masks[build.nodes[-1].outputs[0]] = mask
            elif node.op_type == "Not" and node.inputs[0] and node.inputs[0] in self._asked:
                mask, turned = self._asked[node.inputs[0]]
                self._asked[node.outputs[0]] = mask, not turned
            elif any(value in self._masks for value in node.inputs):
                self._reach(node)
        return bool(self._masks)

    def _build(self, node: ir.Node) -> Builder:
        return Builder(self._graph, node.outputs[0].name or node.op_type, self._taken)

    def _mask(self, value: ir.Value | None) -> ir.Value | None:
        return None if value is None else self._masks.get(value)

    def _reach(self, node: ir.Node) -> None:
        """A node that reads what may be missing."""
        op, build = node.op_type, self._build(node)
        mask = self._mask(node.inputs[0])
        if op == "IsNaN" and mask is not None:
            replace(node, build, [build.op("Identity", mask)])
            self._asked[build.nodes[-1].outputs[0]] = mask, False
        elif op == "Imputer" and mask is not None:
            replace(node, build, [_imputed(node, mask, build)])
        elif op in _TREES and mask is not None:
            there = build.op("Sub", build.const(1.0), _number(mask, build))
            try:
                made = _TREES[op](node, build, there)
            except ValueError as error:
                raise _refused(node, str(error)) from error
            replace(node, build, [made] if isinstance(made, ir.Value) else made)
        elif op == "Where" and self._chooses(node):
            return
        elif op in MOVES or op in ELEMENTWISE or op in WITH_CONSTANT:
            self._hand_on(node, build)
        else:
            raise _refused(node, "what it reads may be missing")

    def _chooses(self, node: ir.Node) -> bool:
        """Whether it takes a value only where that is there."""
        asked = None if node.inputs[0] is None else self._asked.get(node.inputs[0])
        if asked is None:
            return False
        mask, turned = asked
        given, other = (node.inputs[1], node.inputs[2])[:: 1 if turned else -1]
        return self._mask(given) is mask and self._mask(other) is None

    def _hand_on(self, node: ir.Node, build: Builder) -> None:
        """Puts masks beside what a node makes."""
        op = node.op_type
        own = [self._mask(value) for value in node.inputs]
        if op in ("Concat", "FeatureVectorizer"):
            axis = attr(node, "axis", 1)
            parts = [m or _none(v, build) for m, v in zip(own, node.inputs, strict=True)]
            made: Sequence[ir.Value] = [build.op("Concat", *parts, axis=axis)]
        elif op == "ArrayFeatureExtractor":
            picks = constant(node.inputs[1])
            if picks is None:
                raise ValueError("places that depend on the input")
            made = [build.op("Gather", own[0], build.const(ints(picks.reshape(-1))), axis=-1)]
        elif op in MOVES and op != "Identity":
            attributes = {name: attr(node, name) for name in node.attributes}
            inputs = [own[0], *node.inputs[1:]]
            made = build.ops(op, *inputs, outputs=len(node.outputs), **attributes)
        else:
            mask = next(m for m in own if m is not None)
            made = [self._widened(node, mask, build)]
        self._graph.insert_before(node, build.nodes)
        self._masks |= dict(zip(node.outputs, made, strict=True))

    def _widened(self, node: ir.Node, mask: ir.Value, build: Builder) -> ir.Value:
        """The mask in the shape of what the node makes of its value and a constant."""
        value = next(v for v in node.inputs if v is not None and self._mask(v) is mask)
        sizes = [k.shape for k in (constant(v) for v in node.inputs) if k is not None]
        if node.op_type not in WITH_CONSTANT or all(np.prod(s) == 1 for s in sizes):
            return mask
        if not has_shape(value):
            raise ValueError("a shape that is not known")
        shape = np.broadcast_shapes(shape_of(value), *sizes)
        if shape == shape_of(value):
            return mask
        return build.op("Expand", mask, build.const(ints(shape)))


def _refused(node: ir.Node, why: str) -> UnsupportedOperator:
    return UnsupportedOperator.at(node.op_type, node.name or "", why, advice="Impute before it.")


def _made_missing(node: ir.Node) -> ir.Value | None:
    """The mask of a ``Where(mask, NaN, x)`` at an input."""
    if node.op_type != "Where" or node.inputs[0] is None:
        return None
    nan = constant(node.inputs[1])
    if not node.inputs[0].is_graph_input() or nan is None or nan.dtype.kind != "f":
        return None
    return node.inputs[0] if bool(np.all(np.isnan(nan))) else None


def _imputed(node: ir.Node, mask: ir.Value, build: Builder) -> ir.Value:
    """The value where it is there, and what stands in for it."""
    x = node.inputs[0]
    assert x is not None
    values = np.array(attr(node, "imputed_value_floats"), dtype=np.float32)
    kind = x.dtype or DataType.FLOAT
    return build.op("Where", mask, build.const(values.astype(kind.numpy())), x)


def _number(mask: ir.Value, build: Builder) -> ir.Value:
    return build.op("Cast", mask, to=int(DataType.FLOAT))


def _none(value: ir.Value | None, build: Builder) -> ir.Value:
    """The mask of what is never missing."""
    assert value is not None
    if has_shape(value):
        return build.const(np.zeros(shape_of(value), dtype=bool))
    return build.op("Not", build.op("Equal", value, value))


def _run(model: ir.Model) -> bool:
    return _Masks(model.graph).walk()


MASK_MISSING = Pass(
    name="mask-missing",
    version=1,
    purpose="Replaces NaN by masks of missing values, which trees, imputers and IsNaN read.",
    reference="ONNX-ML operator specification: nodes_missing_value_tracks_true, Imputer",
    run=_run,
    touches=frozenset(("Where",)),
)
