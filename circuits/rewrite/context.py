"""The public input that ties a proof to its request."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from circuits.errors import ModelError, ProfileContradiction

CONTEXT_INPUT = "zkml_context"
CONTEXT_OUTPUT = "zkml_context_out"
#: Operators whose result has the numbers of their operand in their order.
_SAME_NUMBERS = frozenset(
    {"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
)


def bind_context(data: bytes, limbs: int, *, expose: bool = False) -> bytes:
    """Adds ``zkml_context``, float32 ``[1, limbs]``, as the last input, which no node reads.

    EZKL keeps an unused input and constrains its instances like any other, so a proof made for one
    context fails for every other. Its input visibility holds for *every* input: where the model's
    are not public, ``expose`` makes the context the graph's first output too, and an output is
    public. ``limbs == 0`` returns the model as it is. Raises ``ModelError`` when the model already
    has an input of that name.
    """
    if limbs == 0:
        return data
    model = ir.from_proto(onnx.load_model_from_string(data))
    graph = model.graph
    if any(i.name == CONTEXT_INPUT for i in graph.inputs):
        raise ModelError(
            f"the model has an input named {CONTEXT_INPUT!r}, which names the proof's context here",
            advice="Rename that input and export the model again.",
        )
    if expose:
        _refuse_passed_through(graph)
    kind = ir.TensorType(ir.DataType.FLOAT)
    context = ir.val(CONTEXT_INPUT, shape=[1, limbs], type=kind)
    graph.inputs.append(context)
    if expose:
        carried = ir.val(CONTEXT_OUTPUT, shape=[1, limbs], type=kind)
        graph.append(ir.node("Identity", [context], outputs=[carried]))
        graph.outputs.insert(0, carried)
    bound: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return bound


def _refuse_passed_through(graph: ir.Graph) -> None:
    """Raises ``ProfileContradiction`` where an output is an input that is not to be shown: it would
    be shown, and EZKL makes a cell of its own of such an output, tied to no private input."""
    for output in graph.outputs:
        source: ir.Value | None = output
        while source is not None and (node := source.producer()) is not None:
            source = node.inputs[0] if node.op_type in _SAME_NUMBERS and node.inputs else None
        if source is not None and source in graph.inputs:
            raise ProfileContradiction(
                f"output {output.name!r} is the input {source.name!r}, which the profile keeps"
                " private: a proof would show it",
                advice="Export the model without that output, or prove it with public visibility.",
            )
