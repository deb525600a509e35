"""The public input that ties a proof to its request."""

from __future__ import annotations

from itertools import count

import onnx
from onnx import GraphProto, TensorProto, helper

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
    model = onnx.load_model_from_string(data)
    graph = model.graph
    if any(i.name == CONTEXT_INPUT for i in graph.input):
        raise ModelError(
            f"the model has an input named {CONTEXT_INPUT!r}, which names the proof's context here",
            advice="Rename that input and export the model again.",
        )
    if expose:
        _refuse_passed_through(graph)
    _tell_constants(graph)
    context = helper.make_tensor_value_info(CONTEXT_INPUT, TensorProto.FLOAT, [1, limbs])
    graph.input.append(context)
    if expose:
        names = {node.name for node in graph.node}
        number = next(n for n in count() if f"node_Identity_{n}" not in names)
        graph.node.add(
            op_type="Identity",
            name=f"node_Identity_{number}",
            input=[CONTEXT_INPUT],
            output=[CONTEXT_OUTPUT],
        )
        carried = helper.make_tensor_value_info(CONTEXT_OUTPUT, TensorProto.FLOAT, [1, limbs])
        outputs = [carried, *graph.output]
        del graph.output[:]
        graph.output.extend(outputs)
    return bytes(model.SerializeToString(deterministic=True))


def _tell_constants(graph: GraphProto) -> None:
    """Types and shapes of all constants, before those of values, as onnx-ir writes them."""
    told = {value.name: value for value in graph.value_info}
    given = {value.name for value in graph.input}
    constants = [
        told.pop(t.name, None) or helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in graph.initializer
        if t.name not in given
    ]
    del graph.value_info[:]
    graph.value_info.extend([*constants, *told.values()])


def _refuse_passed_through(graph: GraphProto) -> None:
    """Raises ``ProfileContradiction`` where an output is an input that is not to be shown: it would
    be shown, and EZKL makes a cell of its own of such an output, tied to no private input."""
    makers = {name: node for node in graph.node for name in node.output}
    inputs = {value.name for value in graph.input}
    for output in graph.output:
        source = output.name
        while (node := makers.get(source)) and node.op_type in _SAME_NUMBERS and node.input:
            source = node.input[0]
        if source in inputs:
            raise ProfileContradiction(
                f"output {output.name!r} is the input {source!r}, which the profile keeps"
                " private: a proof would show it",
                advice="Export the model without that output, or prove it with public visibility.",
            )
