"""The rewritten graph as it is lowered: fewer layers to round, and no tables at an input's places.

An input's places have bounds: within a table and never negative, each is a row of zeros with a
single one, by which the table is multiplied. Where the bounds reach further the lookup stays, and
has no form in integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import rewriter
from onnxscript.rewriter.rules import common as rules

from circuits.frontend.fixed_shapes import infer_shapes
from circuits.frontend.folding import fold
from circuits.rewrite.edit import Builder, attr, constant, expand
from circuits.rewrite.selection import look_up, source

Ends = tuple[tuple[str, float, float], ...]
#: Batch normalisations go into the weights before them.
_RULES = (
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
)


def prepared(data: bytes, input_bounds: Mapping[str, tuple[float, float]]) -> ir.Model:
    """The same function, its shapes inferred; ``input_bounds`` as ``lower`` has them. Remembered:
    whoever asks may read it, and not change it."""
    ends = ((n, float(np.min(low)), float(np.max(high))) for n, (low, high) in input_bounds.items())
    return _prepared(data, tuple(ends))


@lru_cache(maxsize=8)
def _prepared(data: bytes, ends: Ends) -> ir.Model:
    proto = infer_shapes(onnx.load_model_from_string(data))
    operators = {node.op_type for node in proto.graph.node}
    model = ir.from_proto(proto)
    if "Gather" in operators and _without_lookups(model, ends):
        proto = ir.to_proto(model)
        del proto.graph.value_info[:]
        model = ir.from_proto(infer_shapes(proto))
    if "BatchNormalization" in operators:
        rewriter.rewrite(model, pattern_rewrite_rules=list(_RULES))
        model = ir.from_proto(fold(ir.to_proto(model)))
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    return model


def _without_lookups(model: ir.Model, ends: Ends) -> bool:
    """Writes such lookups out as products; whether there were any."""
    bounds = {name: (low, high) for name, low, high in ends}
    found = False

    def gather(node: ir.Node, build: Builder) -> ir.Value | None:
        nonlocal found
        table, places = constant(node.inputs[0]), source(node.inputs[1])
        if table is None or places is None or not places.is_graph_input():
            return None
        low, high = bounds[places.name or ""]
        if low < 0 or high >= table.shape[attr(node, "axis", 0)]:
            return None
        made = look_up(node, build)
        found |= made is not None
        return made

    expand(model, {"Gather": gather})
    return found
