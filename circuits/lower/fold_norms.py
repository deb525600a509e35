"""Last float simplifications before rounding: fewer layers to round, fewer values to carry."""

from __future__ import annotations

from functools import lru_cache

import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import rewriter
from onnxscript.rewriter.rules import common as rules

from circuits.frontend.fixed_shapes import infer_shapes
from circuits.frontend.folding import fold
from circuits.lower.affine import merge_affine

#: Batch normalisations and affine maps go into the weights before them.
_RULES = (
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
)


@lru_cache(maxsize=8)
def with_folded_norms(data: bytes) -> ir.Model:
    """The same function with normalisations folded into weights, affine layers in a row merged, and
    shapes inferred. Remembered: whoever asks may read it, and not change it."""
    model = ir.from_proto(infer_shapes(onnx.load_model_from_string(data)))
    if any(node.op_type == "BatchNormalization" for node in model.graph):
        rewriter.rewrite(model, pattern_rewrite_rules=list(_RULES))
        model = ir.from_proto(fold(ir.to_proto(model)))
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        common.IdentityEliminationPass()(model)
    merge_affine(model)
    common.RemoveUnusedNodesPass()(model)
    return model
