"""Last float simplifications before rounding: fewer layers to round, fewer values to carry."""

from __future__ import annotations

from functools import lru_cache

import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import rewriter
from onnxscript.rewriter.rules import common as rules

from circuits.lower.affine import merge_affine
from circuits.model.folding import fold

#: Batch normalisations and affine maps go into the weights before them.
_RULES = (
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
)


@lru_cache(maxsize=8)
def prepare(data: bytes) -> bytes:
    """The same function with normalisations folded into weights, affine layers in a row merged, and
    shapes inferred."""
    model = ir.from_proto(onnx.load_model_from_string(data))
    rewriter.rewrite(model, pattern_rewrite_rules=list(_RULES))
    folded = ir.from_proto(fold(ir.to_proto(model)))
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(folded)
    common.IdentityEliminationPass()(folded)
    merge_affine(folded)
    common.RemoveUnusedNodesPass()(folded)
    prepared: bytes = ir.to_proto(folded).SerializeToString(deterministic=True)
    return prepared
