"""Recurrent layers: the batch is an axis of its own, beside the steps."""

from __future__ import annotations

from onnx import NodeProto, helper

from circuits.batching.trace import BatchTrace

#: Inputs that no lane may have: weights, bias, lengths, peepholes.
_SHARED = (1, 2, 3, 4, 7)
#: First states: ``[directions, batch, hidden]``.
_STATES = (5, 6)


def recurrent(t: BatchTrace, node: NodeProto) -> None:
    """LSTM, GRU and RNN: ``X`` is ``[steps, batch, features]``, or ``[batch, steps, features]``
    with ``layout`` 1."""
    layout = {a.name: helper.get_attribute_value(a) for a in node.attribute}.get("layout", 0)
    given = {i: name for i, name in enumerate(node.input) if name}
    if 4 in given:
        t.refuse(node, "it has sequences of different lengths")
    if any(t.axis(given[i]) is not None for i in _SHARED if i in given):
        t.refuse(node, "its weights depend on the model's input")
    at = 0 if layout else 1
    if t.axis(given[0]) is None:
        t.refuse(node, "its sequence is the same in all lanes, and its first state is not")
    node.input[0] = t.moved(node, given[0], at)
    for i in _STATES:
        if i not in given:
            continue
        if t.axis(given[i]) is None:
            t.repeat(node, i, at)
        else:
            node.input[i] = t.moved(node, given[i], at)
    t.mark(node, 0 if layout else 2)
    t.mark(node, at, 1)
    t.mark(node, at, 2)
