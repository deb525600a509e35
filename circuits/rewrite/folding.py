"""Everything that does not depend on the input is computed now."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from circuits.model.folding import fold
from circuits.rewrite.edit import Pass


def _run(model: ir.Model) -> None:
    folded = ir.from_proto(fold(ir.to_proto(model)))
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(folded)
    common.IdentityEliminationPass()(folded)
    common.RemoveUnusedNodesPass()(folded)
    model.graph = folded.graph


_REFERENCE = "https://microsoft.github.io/onnxscript/ (onnxscript.optimizer)"

FOLD_CONSTANTS = Pass(
    name="fold-constants",
    version=2,
    purpose="Compute shapes and constants now, drop dead code, collapse reshapes and transposes.",
    reference=_REFERENCE,
    run=_run,
)

FOLD_AGAIN = Pass(
    name="fold-leftovers",
    version=2,
    purpose="Fold what the other passes left constant.",
    reference=_REFERENCE,
    run=_run,
)
