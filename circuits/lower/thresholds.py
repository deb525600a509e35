"""What a model compares with constants: how near its values come to them.

Integers decide as floats do wherever a value and a threshold are not within one step of each other,
and where they are equal (``circuits.lower.levels``). What is left can be counted: on samples, over
the whole accepted range, and of every input that is proved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from onnx_ir.passes import common

from circuits.errors import ModelError
from circuits.lower.levels import decided
from circuits.rewrite.compare import Sample, run
from circuits.rewrite.comparisons import MIRRORED
from circuits.rewrite.edit import Builder, names_in

_COMPARISONS = frozenset({"Less", "LessOrEqual", "Greater", "GreaterOrEqual"})
#: A step is so many times smaller than the gap between a calibration value and a threshold.
_MARGIN = 4.0
#: And than the gap between two thresholds of one element, or between one and 0.
_BETWEEN = 2.0
#: By how much of it a sum of float32 may miss what it is exactly.
_ALIKE = 2.0**-16
#: Bits of a float32's significand: a step of a threshold's last bit tells all its neighbours apart.
_SIGNIFICAND = 23
#: Fractional bits of an input that compares at most.
MOST_BITS = 30
#: Samples that are drawn to see how often a computed value is near a threshold.
_DRAWN = 1024
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NearThresholds:
    """Of ``samples``, those with a value ``within_one_quantum`` of a constant that it is compared
    with and not equal to, in one of ``comparisons`` (a tree's tests, each distinct one once).

    ``share_of_range``: how likely an input is so near whose elements are drawn uniformly, each from
    the range that it has among the samples; ``share_of_accepted``: from all that is accepted, which
    is one range for all elements of an input.
    """

    samples: int
    within_one_quantum: int
    comparisons: int
    share_of_range: float = 0.0
    share_of_accepted: float = 0.0


@dataclass(frozen=True)
class Test:
    """A comparison with a constant: the value compared, what decides it, the output's name."""

    value: str
    op: str
    level: Floats
    output: str


def near_thresholds(
    onnx_bytes: bytes,
    samples: Sequence[Sample],
    quantum: Mapping[str, Any] | float,
    accepted: Mapping[str, tuple[float, float]] | None = None,
) -> NearThresholds | None:
    """Counts on a rewritten float graph; None when it compares nothing with a constant.

    ``quantum`` is the step in which the circuit counts the compared values: one for all, or, by the
    name of the comparison's output, what broadcasts to its shape. ``accepted``: the range of each
    input, else that of the samples.
    """
    graph = near_graph(onnx_bytes, quantum)
    if graph is None or not samples:
        return None
    counts = near_counts(graph, samples)
    seen = {name: _ranges(name, samples) for name in samples[0]}
    whole = seen | {
        name: (np.full_like(seen[name][0], low), np.full_like(seen[name][1], high))
        for name, (low, high) in (accepted or {}).items()
        if name in seen
    }
    return NearThresholds(
        samples=len(samples),
        within_one_quantum=sum(count > 0 for count in counts),
        comparisons=sum(math.prod(shape) for shape in _shapes(onnx_bytes, samples[0])),
        share_of_range=_share(onnx_bytes, graph, quantum, samples[0], seen),
        share_of_accepted=_share(onnx_bytes, graph, quantum, samples[0], whole),
    )


def near_counts(graph: bytes, samples: Sequence[Sample]) -> list[int]:
    """For each sample, how many compared values are within a quantum of their threshold, and not
    equal to it; ``graph`` is what ``near_graph`` gave."""
    return [int(answer[0].reshape(-1)[0]) for answer in run(graph, samples)]


def near_graph(onnx_bytes: bytes, quantum: Mapping[str, Any] | float) -> bytes | None:
    """The float graph with one output: how many compared values are within a quantum of their
    threshold. None for a model that compares nothing with a constant."""
    found = tests_of(onnx.load_model_from_string(onnx_bytes))
    if not found:
        return None
    model = ir.from_proto(onnx.load_model_from_string(onnx_bytes))
    graph = model.graph
    made = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    values = {value.name: value for value in made}
    build = Builder(graph, "near", names_in(graph))
    counts = []
    for test in found:
        step = quantum if isinstance(quantum, float) else quantum.get(test.output, 0.0)
        level, _ = decided(test.op, test.level)  # on which integers decide exactly
        value = build.op("Cast", values[test.value], to=ir.DataType.DOUBLE)
        gap = build.op("Abs", build.op("Sub", value, build.const(np.asarray(level))))
        close = build.op("Less", gap, build.const(np.asarray(step, dtype=np.float64)))
        both = build.op("And", close, build.op("Greater", gap, build.const(np.zeros(()))))
        ones = build.op("Cast", both, to=ir.DataType.FLOAT)
        counts.append(build.op("ReduceSum", ones, keepdims=0))
    total = build.op("Sum", *counts)
    total.shape, total.type = ir.Shape([]), ir.TensorType(ir.DataType.FLOAT)
    graph.extend(build.nodes)
    graph.outputs[:] = [total]
    common.RemoveUnusedNodesPass()(model)
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def bits_for_thresholds(onnx_bytes: bytes, samples: Sequence[Sample]) -> int:
    """Fractional bits with which no sample lies within a quarter of its distance from a threshold
    that it is not equal to: of inputs that are compared as they come. 0 where none is. No fewer
    than tell thresholds from each other.

    No more than tell a threshold from the next float32 are ever of use.
    """
    model = onnx.load_model_from_string(onnx_bytes)
    bits = max(_between(model, samples[0]).values(), default=0)
    for columns, test in _picked(model, samples[0]):
        name, places = columns
        own = places >= 0
        level, _ = decided(test.op, np.broadcast_to(test.level, places.shape)[own])
        values = np.stack([np.asarray(s[name], dtype=np.float64).reshape(-1) for s in samples])
        gaps = np.abs(values[:, places[own]] - level)
        gaps = np.where(gaps > 0, gaps, np.inf).min(axis=0)
        # Values on the grid of tenths are told from thresholds between them; 1 bit for a tie.
        with np.errstate(divide="ignore"):
            wanted = np.ceil(np.log2(_MARGIN / gaps))
            enough = _SIGNIFICAND + 1 - np.floor(np.log2(np.abs(level)))
        needed = np.minimum(wanted, np.where(level == 0, MOST_BITS, enough))
        bits = max(bits, 1, int(needed.max(initial=0.0)))
    return min(bits, MOST_BITS)


def bits_between_thresholds(onnx_bytes: bytes, sample: Sample) -> dict[str, int]:
    """Fractional bits that each input of floats which is compared takes at least, by its name, as
    it comes or scaled and shifted: whatever samples a circuit was planned with. ``sample`` only
    runs the model."""
    return _between(onnx.load_model_from_string(onnx_bytes), sample)


def bits_between(levels: Floats) -> int:
    """Fractional bits that tell the thresholds of one element from each other, and from 0.

    With fewer, no integer would be between two of them, and what a model answers there would never
    occur; or all values of an element would be on one side.
    """
    known = np.unique(np.append(levels[np.isfinite(levels)], 0.0))
    gaps, larger = np.diff(known), np.maximum(np.abs(known[1:]), np.abs(known[:-1]))
    wanted = np.ceil(np.log2(_BETWEEN / gaps))
    enough = _SIGNIFICAND + 1 - np.floor(np.log2(larger))
    return min(MOST_BITS, int(np.minimum(wanted, enough).max(initial=1.0)))


def _between(model: ModelProto, sample: Sample) -> dict[str, int]:
    """``bits_between`` of the element of each input that takes most."""
    levels: dict[tuple[str, int], list[float]] = {}
    for name, places, found in _levels(model, sample):
        for place, level in zip(places.tolist(), found.tolist(), strict=True):
            levels.setdefault((name, place), []).append(level)
    bits: dict[str, int] = {}
    for (name, _), own in levels.items():
        bits[name] = max(bits.get(name, 1), bits_between(np.array(own)))
    return bits


def _levels(model: ModelProto, sample: Sample) -> Iterator[tuple[str, NDArray[np.int64], Floats]]:
    """Elements of float inputs by their flat places, each with the number from which on what is
    compared decides otherwise, in the input's own units: of comparisons with constants that read a
    single element, scaled and shifted at most.

    Found by running the graph on elements that are all 0, then all 1, then numbered: the first two
    tell shift and factor, the next two the element and whether it is that one alone.
    """

    def codes(order: Floats) -> list[Floats]:
        return [0 * order, 0 * order + 1, order + 1, -3 * order - 7]

    for name, order, found, at, made in _probed(model, sample, codes):
        for test in found:
            shift, unit, one, other = (m[at[test.value]].astype(np.float64) for m in made)
            factor = unit - shift
            with np.errstate(divide="ignore", invalid="ignore"):
                place = np.rint((one - shift) / factor - 1)
                alone = np.isfinite(place) & (place >= 0) & (place < order.size)
                for code, values in ((place + 1, one), (-3 * place - 7, other)):
                    wide = np.abs(factor * code) + np.abs(shift)
                    alone &= np.abs(factor * code + shift - values) <= _ALIKE * wide
            level, _ = decided(test.op, test.level)
            shape = np.broadcast_shapes(alone.shape, level.shape)
            own = np.broadcast_to(alone, shape)
            spread = (np.broadcast_to(x, shape)[own] for x in (place, level, shift, factor))
            where, level, shift, factor = spread
            given = (level - shift) / factor
            near = np.abs(given) <= _ALIKE * np.abs(
                shift / factor
            )  # float32 does not tell it from 0
            yield name, where.astype(np.int64), np.where(near, 0.0, given)


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
    shown = sorted({test.value for test in tests_of(model)} - given - jumping - inputs)
    if not shown:
        return onnx_bytes
    whole = _exposing(model, [*(o.name for o in model.graph.output), *shown])
    return bytes(whole.SerializeToString())


def tests_of(model: ModelProto) -> list[Test]:
    """The comparisons of a value with a constant, as ``value op constant``."""
    constants = {t.name: t for t in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type not in _COMPARISONS:
            continue
        left, right = node.input
        op = node.op_type
        if left in constants:
            left, right, op = right, left, MIRRORED[op]
        if right in constants and left not in constants:
            level = numpy_helper.to_array(constants[right]).astype(np.float64)
            found.append(Test(left, op, level, node.output[0]))
    return found


def _share(
    onnx_bytes: bytes,
    graph: bytes,
    quantum: Mapping[str, Any] | float,
    sample: Sample,
    ranges: Mapping[str, tuple[Floats, Floats]],
) -> float:
    """What part of the ranges is near a threshold: by arithmetic for inputs that are compared as
    they come, on drawn samples for values that are computed."""
    model = onnx.load_model_from_string(onnx_bytes)
    picked = _picked(model, sample)
    spans: dict[tuple[str, int], list[tuple[float, float]]] = {}
    known = 0
    for (name, places), test in picked:
        step = quantum if isinstance(quantum, float) else quantum.get(test.output, 0.0)
        levels = np.broadcast_to(test.level, places.shape).reshape(-1)
        steps = np.broadcast_to(np.asarray(step, dtype=np.float64), places.shape).reshape(-1)
        for place, level, width in zip(places.reshape(-1), levels, steps, strict=True):
            if place < 0:
                continue
            known += 1
            spans.setdefault((name, int(place)), []).append((level - width, level + width))
    free = 1.0
    for (name, at), near in spans.items():
        low, high = (float(end.reshape(-1)[at]) for end in ranges[name])
        covered = _covered(near, low, high)
        free *= 1.0 - min(1.0, covered / (high - low)) if high > low else 1.0
    if known == sum(math.prod(shape) for shape in _shapes(onnx_bytes, sample)):
        return float(1.0 - free)
    drawn = _drawn(ranges, sample)
    return max(float(1.0 - free), float(np.mean(np.array(near_counts(graph, drawn)) > 0)))


def _covered(spans: list[tuple[float, float]], low: float, high: float) -> float:
    """The length of the union of intervals, within bounds."""
    total, reached = 0.0, low
    for start, end in sorted(spans):
        new = min(end, high) - max(start, reached)
        if new > 0:
            total += new
            reached = min(end, high)
    return total


def _ranges(name: str, samples: Sequence[Sample]) -> tuple[Floats, Floats]:
    """The least and the largest value of each element."""
    values = np.stack([np.asarray(s[name], dtype=np.float64) for s in samples])
    return values.min(axis=0), values.max(axis=0)


def _drawn(ranges: Mapping[str, tuple[Floats, Floats]], sample: Sample) -> list[Sample]:
    rng = np.random.default_rng(2)

    def one(name: str, like: NDArray[Any]) -> NDArray[Any]:
        low, high = ranges[name]
        if like.dtype.kind == "f":
            return rng.uniform(low, high, like.shape).astype(like.dtype)
        whole = rng.integers(low.astype(np.int64), high.astype(np.int64), like.shape, endpoint=True)
        return whole.astype(like.dtype)

    likes = {name: np.asarray(values) for name, values in sample.items()}
    return [{name: one(name, like) for name, like in likes.items()} for _ in range(_DRAWN)]


def _picked(model: ModelProto, sample: Sample) -> list[tuple[tuple[str, NDArray[np.int64]], Test]]:
    """Tests of float inputs that are compared as they come, each with the input's name and, in the
    comparison's shape, the flat place of each element (-1: of another input, or computed).

    Found by running the graph on numbered elements: what is only moved shows their numbers.
    """
    out = []

    def codes(order: Floats) -> list[Floats]:
        return [order + 1, -3 * order - 7]

    for name, order, found, at, (first, second) in _probed(model, sample, codes):
        for test in found:
            one, other = first[at[test.value]], second[at[test.value]]
            moved = (other == -3 * (one - 1) - 7) & np.isin(one - 1, order)
            if moved.any():
                shape = np.broadcast_shapes(one.shape, test.level.shape)
                where = np.broadcast_to(np.where(moved, one - 1, -1), shape).astype(np.int64)
                out.append(((name, where), test))
    return out


def _probed(
    model: ModelProto, sample: Sample, codes: Callable[[Floats], list[Floats]]
) -> Iterator[tuple[str, Floats, list[Test], dict[str, int], list[list[NDArray[Any]]]]]:
    """Float inputs by their names with the numbers of their elements, and what comparisons with
    constants compare (by places of their values' names) where an input's elements are each of
    ``codes`` of these numbers, and the other inputs the sample's."""
    found = tests_of(model)
    names = [n for n in sample if np.asarray(sample[n]).dtype.kind == "f"]
    if not found or not names:
        return
    # An imputed value is its input wherever that is not missing.
    there = {n: np.zeros_like(v) if np.asarray(v).dtype == bool else v for n, v in sample.items()}
    exposed = _exposing(model, sorted({test.value for test in found}))
    at = {o.name: i for i, o in enumerate(exposed.graph.output)}
    data = exposed.SerializeToString()
    for name in names:
        like = np.asarray(sample[name])
        order = np.arange(like.size, dtype=np.float64).reshape(like.shape)
        feeds = [{**there, name: code.astype(like.dtype)} for code in codes(order)]
        try:
            made = run(data, feeds)
        except ModelError:  # numbers that this model takes no input from
            continue
        yield name, order, found, at, made


def _shapes(onnx_bytes: bytes, sample: Sample) -> list[tuple[int, ...]]:
    """The shape of each comparison."""
    model = onnx.load_model_from_string(onnx_bytes)
    found = tests_of(model)
    values = sorted({test.value for test in found})
    answers = dict(
        zip(values, run(_exposing(model, values).SerializeToString(), [sample])[0], strict=True)
    )
    return [np.broadcast_shapes(answers[t.value].shape, t.level.shape) for t in found]


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
