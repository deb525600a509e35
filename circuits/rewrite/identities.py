"""Formulas that exporters write the long way: the same value with less in between.

Each holds for every finite input. What they would divide by, or take a logarithm of, is then not
there to be looked up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.rewrite.edit import (
    Builder,
    Pass,
    attr,
    behind,
    constant,
    expand,
    has_shape,
    input_at,
    is_float,
    made_by,
    shape_of,
)

#: A mask below this lets nothing through; what it becomes.
_NOTHING, _MASKED = -1e9, -40.0
#: Powers of e of less than minus this add nothing that any pass may see.
SATURATED = 16.0
_CARRY = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def _exp(node: ir.Node, build: Builder) -> ir.Value | None:
    """exp(x - log Σ exp x) is a softmax."""
    inner = made_by(node.inputs[0], "Sub")
    if inner is None:
        return None
    scores, norm = inner.inputs[0], inner.inputs[1]
    maker = made_by(behind(norm, _CARRY), "ReduceLogSumExp")
    if maker is None or scores is None or maker.inputs[0] is not scores or not has_shape(scores):
        return None
    axes = attr(maker, "axes")
    if axes is None:
        named = constant(input_at(maker, 1))
        axes = None if named is None else named.reshape(-1)
    rank = len(shape_of(scores))
    whole = norm is not None and has_shape(norm) and shape_of(norm)[-1] == 1
    if axes is None or [int(a) % rank for a in axes] != [rank - 1] or not whole:
        return None
    return build.op("Softmax", scores, axis=-1)


def _div(node: ir.Node, build: Builder) -> ir.Value | None:
    """x / x is one, and what adds up to one is not divided by its sum."""
    x, norm = node.inputs[0], node.inputs[1]
    if x is None or not has_shape(x) or x.dtype is None or not is_float(x):
        return None
    if x is norm:
        return build.const(np.ones(shape_of(x), dtype=x.dtype.numpy()))
    total = made_by(norm, "ReduceSum")
    if total is None or not has_shape(norm) or shape_of(x)[-1:] == (1,):
        return None
    summed = total.inputs[0]
    size = made_by(summed, "Abs")
    source = size.inputs[0] if size is not None else summed
    votes = _votes(source)
    if source is x and votes is not None:
        return build.op("Mul", x, build.const(1.0 / votes))
    over = norm is not None and shape_of(norm) == (*shape_of(x)[:-1], 1)
    return _over_its_sum(x, build) if source is x and over else None


def _over_its_sum(x: ir.Value, build: Builder) -> ir.Value | None:
    """x over its sum along the last axis."""
    if (powers := made_by(x, "Exp")) is not None:
        return _softmax(powers.inputs[0], build)
    return build.op("Identity", x) if adds_up_to_one(x) else None


def _softmax(scores: ir.Value | None, build: Builder) -> ir.Value:
    """Of scores less their largest, those far below it as less far."""
    below = made_by(scores, "Sub")
    top = None if below is None else made_by(below.inputs[1], "ReduceMax")
    if below is not None and top is not None and top.inputs[0] is below.inputs[0]:
        kind = np.float32 if scores is None or scores.dtype is None else scores.dtype.numpy()
        bounds = [build.const(np.array(v, dtype=kind)) for v in (-SATURATED, 0.0)]
        scores = build.op("Clip", scores, *bounds)
    return build.op("Softmax", scores, axis=-1)


def _votes(value: ir.Value | None) -> int | None:
    """How many votes are counted, where counts of votes for every class stand side by side."""
    whole = made_by(value, "Concat")
    if whole is None:
        return None
    voters: ir.Value | None = None
    classes: list[float] = []
    for part in whole.inputs:
        count = made_by(part, "ReduceSum")
        truth = made_by(behind(count.inputs[0], _CARRY) if count is not None else None, "Equal")
        if truth is None:
            return None
        level = constant(truth.inputs[1])
        if level is None or level.size != 1 or (voters not in (None, truth.inputs[0])):
            return None
        voters = truth.inputs[0]
        classes.append(float(level.reshape(-1)[0]))
    table = _table_behind(voters)
    if table is None or voters is None or not has_shape(voters) or len(set(classes)) < len(classes):
        return None
    known = {float(v) for v in table.reshape(-1)} <= set(classes)
    return shape_of(voters)[-1] if known else None


def _table_behind(value: ir.Value | None) -> NDArray[Any] | None:
    """The constants that a value is one of, where it was looked up."""
    found = behind(value, _CARRY)
    if (node := made_by(found, "Gather")) is not None:
        return constant(node.inputs[0])
    product = made_by(found, "MatMul")
    if product is not None and made_by(product.inputs[0], "OneHot") is not None:
        return constant(product.inputs[1])
    return None


def adds_up_to_one(value: ir.Value | None) -> bool:
    """Whether the last axis adds up to one for every input: a softmax, or a logistic pair."""
    maker = None if value is None else value.producer()
    if maker is None:
        return False
    if maker.op_type == "Softmax":
        return attr(maker, "axis", -1) in (-1, len(shape_of(maker.outputs[0])) - 1)
    return maker.op_type == "Sigmoid" and _mirrored(maker.inputs[0])


def _mirrored(value: ir.Value | None) -> bool:
    """Whether it is ``[-s, s]`` or ``[s, -s]``: by its weights, or as it was put together."""
    maker = None if value is None else value.producer()
    if maker is None:
        return False
    if maker.op_type == "Concat" and len(maker.inputs) == 2:
        first, second = maker.inputs
        return _negates(first, second) or _negates(second, first)
    bias = np.zeros(2)
    if maker.op_type == "Add":
        bias_at = 1 if constant(maker.inputs[1]) is not None else 0
        found = constant(maker.inputs[bias_at])
        if found is None or found.size != 2:
            return False
        bias = np.asarray(found, dtype=np.float64).reshape(-1)
        source = maker.inputs[1 - bias_at]
        maker = None if source is None else source.producer()
    if maker is None or maker.op_type != "MatMul":
        return False
    weights = constant(maker.inputs[1])
    if weights is None or weights.ndim != 2 or weights.shape[1] != 2:
        return False
    return bool(np.array_equal(weights[:, 0], -weights[:, 1]) and bias[0] == -bias[1])


def _negates(first: ir.Value | None, second: ir.Value | None) -> bool:
    maker = made_by(first, "Neg")
    return maker is not None and maker.inputs[0] is second


def _sub(node: ir.Node, build: Builder) -> ir.Value | None:
    """x - x is zero."""
    x = node.inputs[0]
    if x is None or x is not node.inputs[1] or not has_shape(x) or x.dtype is None:
        return None
    return build.const(np.zeros(shape_of(x), dtype=x.dtype.numpy()))


def _add(node: ir.Node, build: Builder) -> ir.Value | None:
    """A mask of minus infinity before a softmax, finite: what is masked is e^-40, not nothing.
    Where scores are so large that this shows, onnxruntime says so, and the model is refused."""
    readers = [use.node.op_type for use in node.outputs[0].uses()]
    if set(readers) != {"Softmax"} or node.outputs[0].is_graph_output():
        return None
    for value, mask in (node.inputs[:2], node.inputs[1::-1]):
        known = constant(mask)
        if known is None or known.dtype.kind != "f" or not np.any(known < _NOTHING):
            continue
        finite = np.where(known < _NOTHING, _MASKED, known).astype(known.dtype)
        return build.op("Add", value, build.const(finite))
    return None


def _where(node: ir.Node, build: Builder) -> ir.Value | None:
    """A choice that is made already."""
    truth = constant(node.inputs[0])
    if truth is None or truth.size == 0 or not (np.all(truth) or not np.any(truth)):
        return None
    chosen = node.inputs[1] if bool(truth.reshape(-1)[0]) else node.inputs[2]
    if chosen is None or not has_shape(chosen) or not has_shape(node.outputs[0]):
        return None
    same = shape_of(chosen) == shape_of(node.outputs[0])
    return build.op("Identity", chosen) if same and constant(chosen) is None else None


def _mul(node: ir.Node, build: Builder) -> ir.Value | None:
    """A product with zeros is zero, one with ones is the other factor."""
    for value, factor in (node.inputs[:2], node.inputs[1::-1]):
        known = constant(factor)
        if known is None or value is None or not has_shape(value) or value.dtype is None:
            continue
        shape = shape_of(node.outputs[0]) if has_shape(node.outputs[0]) else None
        if shape is None or shape != shape_of(value):
            continue
        if np.all(known == 0) and constant(value) is None:
            return build.const(np.zeros(shape, dtype=value.dtype.numpy()))
        if np.all(known == 1):
            return build.op("Identity", value)
    return None


def _run(model: ir.Model) -> None:
    expand(model, {"Div": _div, "Sub": _sub})
    expand(model, {"Add": _add, "Exp": _exp, "Mul": _mul, "Where": _where})


SIMPLIFY_ALGEBRA = Pass(
    name="simplify-algebra",
    version=2,
    purpose="Recognises Softmax; removes x - x, x / x and division by a sum that is one.",
    reference="scikit-learn's exporters: naive Bayes, one-vs-rest, power transforms",
    run=_run,
    touches=frozenset(("Add", "Div", "Exp", "Mul", "Sub", "Where")),
)
