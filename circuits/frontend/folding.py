"""What a model is once everything that does not depend on its input has been computed.

Exporters write shapes as little computations (Shape, Gather, Concat, Reshape); only after folding
them is it known which operators a circuit would really hold.
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache

import onnx
import onnx_ir as ir
from onnx import ModelProto
from onnx_ir.passes import common
from onnxscript import optimizer

from circuits.errors import ModelError
from circuits.frontend.fixed_shapes import infer_shapes

#: Bytes of a constant node's inputs and output beyond which it is left alone.
FOLD_INPUT_LIMIT = 1 << 20
FOLD_OUTPUT_LIMIT = 1 << 24
#: Nodes up to which the optimiser's patterns are looked for too: each is tried on every node.
FEW_NODES = 300

logging.getLogger("onnx_ir.passes.common.initializer_deduplication").setLevel(logging.WARNING)


def _should_fold(node: ir.Node) -> bool | None:
    """The optimiser leaves ConstantOfShape alone; the engine wants to see a tensor."""
    if node.op_type != "ConstantOfShape" or node.inputs[0] is None:
        return None
    shape = ir.convenience.get_const_tensor(node.inputs[0])
    small = shape is not None and math.prod(shape.numpy().tolist()) * 8 <= FOLD_OUTPUT_LIMIT
    return True if small else None


def _all_known(model: ir.Model) -> bool:
    """Whether every value has a shape of numbers: then nothing is left to infer on the way."""
    return all(
        value.shape is not None and value.shape.is_static() and value.type is not None
        for node in model.graph
        for value in node.outputs
    )


def _fold_only(model: ir.Model) -> None:
    """Constants folded and what is the same merged: linear in the nodes."""
    optimizer.fold_constants_ir(
        model,
        onnx_shape_inference=not _all_known(model),
        input_size_limit=FOLD_INPUT_LIMIT,
        output_size_limit=FOLD_OUTPUT_LIMIT,
        should_fold=_should_fold,
    )
    for step in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        step(model)


def fold(model: ModelProto) -> ModelProto:
    """A copy with constants folded, unused nodes gone and shapes inferred; same inputs and outputs.

    ``model`` must be sound and bound (``read_model``, ``bind_shapes``). Raises ``ModelError`` when
    a constant part of the graph cannot be computed.
    """
    graph = ir.from_proto(model)
    fold_in_place(graph)
    return infer_shapes(ir.to_proto(graph))


@lru_cache(maxsize=2)
def _folded(data: bytes) -> bytes:
    return bytes(fold(onnx.load_model_from_string(data)).SerializeToString(deterministic=True))


def folded(data: bytes) -> ModelProto:
    """``fold``, remembered for models that are asked about several times."""
    return onnx.load_model_from_string(_folded(data))


def fold_in_place(model: ir.Model) -> None:
    """``fold`` on a parsed model; shapes of what is new are not inferred."""
    common.RemoveInitializersFromInputsPass()(model)
    try:
        if len(model.graph) <= FEW_NODES:
            optimizer.optimize_ir(
                model,
                num_iterations=8,
                input_size_limit=FOLD_INPUT_LIMIT,
                output_size_limit=FOLD_OUTPUT_LIMIT,
                should_fold=_should_fold,
            )
        else:
            _fold_only(model)
    except Exception as error:  # the optimiser evaluates the model's own constants: any may fail
        raise ModelError(
            f"a constant part of the model cannot be computed: {str(error).splitlines()[0]}"
        ) from error
