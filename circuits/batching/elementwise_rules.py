"""Operators that work element by element, and what stands beside a value with lanes."""

from __future__ import annotations

from onnx import NodeProto

from circuits.batching.trace import BatchTrace, Shape


def elementwise(t: BatchTrace, node: NodeProto) -> None:
    """Broadcasting aligns axes from the right: the lanes must lie equally far from it in all."""
    rank = len(t.shape(node, node.output[0]))
    laned = [i for i in node.input if i and t.axis(i) is not None]
    place = _common_place(t, node, laned)
    laned = [i for i in node.input if i and t.axis(i) is not None]
    beside = [s for i in node.input if i and len(s := t.shape(node, i)) >= place]
    length = t.shape(node, laned[0])[-place]
    if any(shape[-place] not in (1, length) for shape in beside) or any(
        t.shape(node, i)[-place] != length for i in laned
    ):
        _stretched(t, node, place)
        return
    for position, name in enumerate(node.input):
        if name and name not in laned:
            constant_beside(t, node, position, place, length)
    t.mark(node, rank - place)


def _common_place(t: BatchTrace, node: NodeProto, laned: list[str]) -> int:
    """How far from the right the lanes lie in all of these inputs, moved there where they do not.
    Moving costs no cells."""
    places = {len(t.shape(node, i)) - _axis(t, i) for i in laned}
    reach = min(len(t.shape(node, i)) for i in laned)
    place = max((p for p in places if p <= reach), default=None)
    if place is None:
        t.refuse(node, "its inputs have the batch in different places")
    for position, name in enumerate(node.input):
        if name in laned:
            node.input[position] = t.moved(node, name, len(t.shape(node, name)) - place)
    return place


def _axis(t: BatchTrace, name: str) -> int:
    axis = t.axis(name)
    assert axis is not None
    return axis


def constant_beside(t: BatchTrace, node: NodeProto, position: int, place: int, length: int) -> None:
    """A value of no lane beside one whose lane axis is ``place`` from the right: broadcast along
    the lanes, or repeated for each."""
    shape = t.shape(node, node.input[position])
    here = shape[len(shape) - place] if len(shape) >= place else 1
    if here == 1:
        return
    if here != length:
        t.refuse(node, f"it stretches the batch dimension to {here}")
    t.repeat(node, position, len(shape) - place)


def _stretched(t: BatchTrace, node: NodeProto, place: int) -> None:
    """A node that broadcasts along the axis of the lanes, ``place`` axes from the right.

    That axis counts something else than inputs from then on: the support vectors of an SVM, say. So
    the lanes stand apart from it for the time of the operator, ``[L, 1, F]`` beside ``[1, S, F]``,
    and the outcome ``[L, S, F]`` is then the batched form of ``[S, F]``.
    """
    for position, name in enumerate(node.input):
        if not name:
            continue
        shape = t.shape(node, name)
        if len(shape) < place:
            continue  # broadcast from further right
        at = len(shape) - place
        lanes = 1 if t.axis(name) is None else t.lanes
        node.input[position] = t.reshaped(name, _apart(shape, at, lanes))
    out = t.shape(node, node.output[0])
    t.mark(node, len(out) - place)
    t.reshape_output(node, t.batched_shape(out, len(out) - place))


def _apart(shape: Shape, at: int, lanes: int) -> list[int]:
    """The shape with an axis for the lanes before axis ``at``."""
    return [*shape[:at], lanes, *shape[at:]]
