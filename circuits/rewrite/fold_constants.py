"""Everything that does not depend on the input is computed now."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from circuits.frontend.folding import fold_in_place
from circuits.rewrite.edit import Pass


def _run(model: ir.Model) -> None:
    fold_in_place(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)


_REFERENCE = "https://microsoft.github.io/onnxscript/ (onnxscript.optimizer)"

FOLD_CONSTANTS = Pass(
    name="fold-constants",
    version=2,
    purpose="Folds shapes and constants, removes dead code, merges reshapes and transposes.",
    reference=_REFERENCE,
    run=_run,
    folds=True,
)

FOLD_LEFTOVERS = Pass(
    name="fold-leftovers",
    version=2,
    purpose="Folds what the other passes left constant.",
    reference=_REFERENCE,
    run=_run,
    folds=True,
)
