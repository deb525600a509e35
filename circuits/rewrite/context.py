"""The public input that ties a proof to its request."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from circuits.errors import ModelError

CONTEXT_INPUT = "zkml_context"
CONTEXT_OUTPUT = "zkml_context_out"


def bind_context(
    data: bytes, limbs: int, *, hand_on: bool = False, behind: int | None = None
) -> bytes:
    """Adds ``zkml_context``, float32 ``[1, limbs]``, as an input that no node reads: the last one,
    or the one behind so many others.

    EZKL keeps an unused input and constrains its instances like any other, so a proof made for one
    context fails for every other. Its input visibility holds for *every* input: where the model's
    are not public, ``hand_on`` makes the context the graph's first output too, and an output is
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
            hint="Rename that input and export the model again.",
        )
    kind = ir.TensorType(ir.DataType.FLOAT)
    context = ir.val(CONTEXT_INPUT, shape=[1, limbs], type=kind)
    graph.inputs.insert(len(graph.inputs) if behind is None else behind, context)
    if hand_on:
        carried = ir.val(CONTEXT_OUTPUT, shape=[1, limbs], type=kind)
        graph.append(ir.node("Identity", [context], outputs=[carried]))
        graph.outputs.insert(0, carried)
    bound: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return bound
