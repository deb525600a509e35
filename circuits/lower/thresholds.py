"""How many samples lie so close to a threshold that rounding may put them on its other side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from circuits.rewrite.compare import Sample, run

_COMPARISONS = frozenset({"Less", "LessOrEqual", "Greater", "GreaterOrEqual"})
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NearThresholds:
    """Of ``samples``, those with a value ``within_one_quantum`` of a constant that it is compared
    with, in one of ``comparisons`` (a tree's tests, each distinct one once)."""

    samples: int
    within_one_quantum: int
    comparisons: int


def near_thresholds(
    onnx_bytes: bytes, samples: Sequence[Sample], quantum: Mapping[str, Any] | float
) -> NearThresholds | None:
    """Counts on a rewritten float graph; None when it compares nothing with a constant.

    ``quantum`` is the step in which the circuit counts the compared values: one for all, or, by the
    name of the comparison's output, what broadcasts to its shape.
    """
    model = onnx.load_model_from_string(onnx_bytes)
    tests = _tests(model)
    if not tests or not samples:
        return None
    exposed = _exposing(model, sorted({value for value, _, _ in tests}))
    places = {o.name: i for i, o in enumerate(exposed.graph.output)}
    answers = run(exposed.SerializeToString(), samples)
    near = np.zeros(len(samples), dtype=bool)
    count = 0
    for value, level, output in tests:
        step = quantum if isinstance(quantum, float) else quantum.get(output, 0.0)
        gap = np.abs(np.stack([a[places[value]] for a in answers]) - level)
        near |= (gap <= step).reshape(len(samples), -1).any(axis=1)
        count += int(np.prod(gap.shape[1:]))
    return NearThresholds(
        samples=len(samples), within_one_quantum=int(near.sum()), comparisons=count
    )


def showing_compared(onnx_bytes: bytes) -> bytes:
    """The model with the values that it compares with constants as further outputs: an answer that
    is only a class says nothing of how near the decision was.

    What depends on another comparison is left out: it jumps where that one does.
    """
    model = onnx.load_model_from_string(onnx_bytes)
    given = {o.name for o in model.graph.output}
    jumping: set[str] = set()
    for node in model.graph.node:
        if node.op_type in _COMPARISONS or jumping.intersection(node.input):
            jumping.update(node.output)
    inputs = {i.name for i in model.graph.input}  # rounded alike with what they are compared to
    shown = sorted({value for value, _, _ in _tests(model)} - given - jumping - inputs)
    if not shown:
        return onnx_bytes
    whole = _exposing(model, [*(o.name for o in model.graph.output), *shown])
    return bytes(whole.SerializeToString())


def _tests(model: ModelProto) -> list[tuple[str, Floats, str]]:
    """Each comparison with a constant: the value compared, the constant, the output's name."""
    constants = {t.name: t for t in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type not in _COMPARISONS:
            continue
        left, right = node.input
        if left in constants:
            left, right = right, left
        if right in constants and left not in constants:
            level = numpy_helper.to_array(constants[right]).astype(np.float64)
            found.append((left, level, node.output[0]))
    return found


def _exposing(model: ModelProto, values: Sequence[str]) -> ModelProto:
    """The model with these values as its outputs, and no others."""
    kinds = {v.name: v for v in [*model.graph.value_info, *model.graph.input, *model.graph.output]}
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for name in values:
        output = copy.graph.output.add()
        output.name = name
        if name in kinds:
            output.CopyFrom(kinds[name])
        else:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    return copy
