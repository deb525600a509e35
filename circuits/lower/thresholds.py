"""What a model compares with constants: how near its values come to them.

Integers decide as floats do wherever a value and a threshold are not within one step of each other,
and where they are equal (``circuits.lower.levels``). What is left can be counted: on samples, over
the whole accepted range, and of every input that is proved.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
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

    def step(self, quantum: Mapping[str, Any] | float) -> Floats:
        """The quantum of this comparison."""
        own = quantum if isinstance(quantum, float) else quantum.get(self.output, 0.0)
        return np.asarray(own, dtype=np.float64)


@dataclass(frozen=True)
class Probed:
    """Elements of a float input that a test compares, scaled and shifted at most: their flat
    ``places`` (-1: none's alone), the ``factor`` and the ``shift`` of each, in the comparison's
    shape."""

    name: str
    test: Test
    places: NDArray[np.int64]
    factor: Floats
    shift: Floats

    @property
    def level(self) -> Floats:
        """What decides each element."""
        return np.broadcast_to(decided(self.test.op, self.test.level)[0], self.places.shape)

    @property
    def as_they_come(self) -> NDArray[np.bool_]:
        own: NDArray[np.bool_] = (self.places >= 0) & (self.factor == 1) & (self.shift == 0)
        return own


class Compared:
    """What a rewritten float model compares with constants."""

    def __init__(self, onnx_bytes: bytes) -> None:
        self.model = onnx.load_model_from_string(onnx_bytes)
        self.tests = _tests_of(self.model)
        self.values = sorted({test.value for test in self.tests})

    def near_graph(self, quantum: Mapping[str, Any] | float) -> bytes:
        """The graph with one output: how many values are within a quantum of their threshold."""
        model = ir.from_proto(self.model)
        graph = model.graph
        made = [*graph.inputs, *(value for node in graph for value in node.outputs)]
        values = {value.name: value for value in made}
        build = Builder(graph, "near", names_in(graph))
        counts = []
        for test in self.tests:
            level, _ = decided(test.op, test.level)  # on which integers decide exactly
            value = build.op("Cast", values[test.value], to=ir.DataType.DOUBLE)
            gap = build.op("Abs", build.op("Sub", value, build.const(np.asarray(level))))
            close = build.op("Less", gap, build.const(test.step(quantum)))
            both = build.op("And", close, build.op("Greater", gap, build.const(np.zeros(()))))
            ones = build.op("Cast", both, to=ir.DataType.FLOAT)
            counts.append(build.op("ReduceSum", ones, keepdims=0))
        total = build.op("Sum", *counts)
        total.shape, total.type = ir.Shape([]), ir.TensorType(ir.DataType.FLOAT)
        graph.extend(build.nodes)
        graph.outputs[:] = [total]
        common.RemoveUnusedNodesPass()(model)
        return bytes(ir.to_proto(model).SerializeToString(deterministic=True))

    def on(self, feeds: Sequence[Sample]) -> list[dict[str, Floats]]:
        """The compared values by their names, on inputs."""
        found = run(_giving(self.model, self.values), feeds)
        return [dict(zip(self.values, made, strict=True)) for made in found]

    def count(self, sample: Sample) -> int:
        """How many comparisons there are, of single elements."""
        (values,) = self.on([sample])
        shapes = (np.broadcast_shapes(values[t.value].shape, t.level.shape) for t in self.tests)
        return sum(math.prod(shape) for shape in shapes)

    def probed(self, sample: Sample) -> Iterator[Probed]:
        """Each test with the elements of each float input that it compares.

        Found by running the graph on elements that are all 0, then all 1, then numbered: the first
        two tell shift and factor, the next two the element and whether it is that one alone.
        ``sample`` has the other inputs.
        """
        # An imputed value is its input wherever that is not missing.
        there = {n: np.zeros_like(v) if v.dtype == bool else v for n, v in sample.items()}
        floats = [name for name, like in sample.items() if like.dtype.kind == "f"]
        for name in floats if self.tests else ():
            like = np.asarray(sample[name])
            order = np.arange(like.size, dtype=np.float64).reshape(like.shape)
            codes = (0 * order, 0 * order + 1, order + 1, -3 * order - 7)
            try:
                made = self.on([{**there, name: code.astype(like.dtype)} for code in codes])
            except ModelError:  # numbers that this model takes no input from
                continue
            for test in self.tests:
                yield _told(name, test, order.size, [values[test.value] for values in made])


def _told(name: str, test: Test, size: int, made: Sequence[Floats]) -> Probed:
    """What the values of a test tell on the four codes of ``probed``."""
    shift, unit, one, other = made
    factor = unit - shift
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.rint((one - shift) / factor - 1)
        alone = np.isfinite(place) & (place >= 0) & (place < size)
        for code, values in ((place + 1, one), (-3 * place - 7, other)):
            wide = np.abs(factor * code) + np.abs(shift)
            alone &= np.abs(factor * code + shift - values) <= _ALIKE * wide
    shape = np.broadcast_shapes(alone.shape, test.level.shape)
    where = np.where(alone, place, -1).astype(np.int64)
    spread = (np.broadcast_to(x, shape) for x in (where, factor, shift))
    return Probed(name, test, *spread)  # type: ignore[arg-type]


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
    compared = Compared(onnx_bytes)
    if not compared.tests or not samples:
        return None
    graph, first = compared.near_graph(quantum), samples[0]
    seen = {name: _ranges(name, samples) for name in first}
    whole = seen | {
        name: (np.full_like(seen[name][0], low), np.full_like(seen[name][1], high))
        for name, (low, high) in (accepted or {}).items()
        if name in seen
    }
    probed, count = [*compared.probed(first)], compared.count(first)
    exact = sum(int(own.as_they_come.sum()) for own in probed) == count

    def share(ranges: Mapping[str, tuple[Floats, Floats]]) -> float:
        """By arithmetic for inputs that are compared as they come, on drawn samples for values that
        are computed."""
        near = _share(probed, quantum, ranges)
        if exact:
            return near
        return max(near, float(np.mean(np.array(near_counts(graph, _drawn(ranges, first))) > 0)))

    return NearThresholds(
        samples=len(samples),
        within_one_quantum=sum(count > 0 for count in near_counts(graph, samples)),
        comparisons=count,
        share_of_range=share(seen),
        share_of_accepted=share(whole),
    )


def near_counts(graph: bytes, samples: Sequence[Sample]) -> list[int]:
    """For each sample, how many compared values are within a quantum of their threshold, and not
    equal to it; ``graph`` is what ``near_graph`` gave."""
    return [int(answer[0].reshape(-1)[0]) for answer in run(graph, samples)]


def near_graph(onnx_bytes: bytes, quantum: Mapping[str, Any] | float) -> bytes | None:
    """The float graph with one output: how many compared values are within a quantum of their
    threshold. None for a model that compares nothing with a constant."""
    compared = Compared(onnx_bytes)
    return compared.near_graph(quantum) if compared.tests else None


def bits_for_thresholds(onnx_bytes: bytes, samples: Sequence[Sample]) -> int:
    """Fractional bits with which no sample lies within a quarter of its distance from a threshold
    that it is not equal to: of inputs that are compared as they come. 0 where none is. No fewer
    than tell thresholds from each other.

    No more than tell a threshold from the next float32 are ever of use.
    """
    probed = [*Compared(onnx_bytes).probed(samples[0])]
    bits = max(_between(probed).values(), default=0)
    for found in probed:
        if not np.any(own := found.as_they_come):
            continue
        level = found.level[own]
        values = np.stack([np.asarray(s[found.name], np.float64).reshape(-1) for s in samples])
        gaps = np.abs(values[:, found.places[own]] - level)
        gaps = np.where(gaps > 0, gaps, np.inf).min(axis=0)
        # Values on the grid of tenths are told from thresholds between them; 1 bit for a tie.
        with np.errstate(divide="ignore"):
            wanted = np.ceil(np.log2(_MARGIN / gaps))
            enough = _SIGNIFICAND + 1 - np.floor(np.log2(np.abs(level)))
        needed = np.minimum(wanted, np.where(level == 0, MOST_BITS, enough))
        bits = max(bits, 1, int(needed.max(initial=0.0)))
    return min(bits, MOST_BITS)


def bits_between_thresholds(
    onnx_bytes: bytes, sample: Sample, among: Collection[str] | None = None
) -> dict[tuple[str, int], int]:
    """Fractional bits that each element of an input of floats which is compared takes at least, by
    the input's name and its place, as it comes or scaled and shifted: whatever samples a circuit
    was planned with. ``sample`` only runs the model. ``among``: the outputs of the comparisons that
    count, of all where it is None.
    """
    probed = Compared(onnx_bytes).probed(sample)
    return _between([p for p in probed if among is None or p.test.output in among])


def bits_between(levels: Floats, least: float = 1.0) -> int:
    """Fractional bits that tell the thresholds of one element from each other, and from 0, but no
    fewer than the ``least``.

    With fewer, no integer would be between two of them, and what a model answers there would never
    occur; or all values of an element would be on one side.
    """
    known = np.unique(np.append(levels[np.isfinite(levels)], 0.0))
    gaps, larger = np.diff(known), np.maximum(np.abs(known[1:]), np.abs(known[:-1]))
    wanted = np.ceil(np.log2(_BETWEEN / gaps))
    enough = _SIGNIFICAND + 1 - np.floor(np.log2(larger))
    return min(MOST_BITS, int(np.minimum(wanted, enough).max(initial=least)))


def _between(probed: Sequence[Probed]) -> dict[tuple[str, int], int]:
    """``bits_between`` of each element of each input, by the numbers from which on what is compared
    decides otherwise, in the input's own units."""
    levels: dict[tuple[str, int], list[float]] = {}
    for found in probed:
        own = found.places >= 0
        factor, shift = found.factor[own], found.shift[own]
        given = (found.level[own] - shift) / factor
        # float32 does not tell it from 0
        given = np.where(np.abs(given) <= _ALIKE * np.abs(shift / factor), 0.0, given)
        for place, level in zip(found.places[own].tolist(), given.tolist(), strict=True):
            levels.setdefault((found.name, place), []).append(level)
    return {element: bits_between(np.array(each)) for element, each in levels.items()}


def showing_compared(onnx_bytes: bytes) -> bytes:
    """The model with the values that it compares with constants as further outputs: an answer that
    is only a class says nothing of how near the decision was.

    What depends on another comparison is left out: it jumps where that one does.
    """
    model = onnx.load_model_from_string(onnx_bytes)
    outputs = [o.name for o in model.graph.output]
    jumping: set[str] = set()
    for node in model.graph.node:
        if node.op_type in _COMPARISONS or jumping.intersection(node.input):
            jumping.update(node.output)
    inputs = {i.name for i in model.graph.input}  # rounded alike with what they are compared to
    values = {test.value for test in _tests_of(model)}
    shown = sorted(values - {*outputs} - jumping - inputs)
    return _giving(model, [*outputs, *shown]) if shown else onnx_bytes


def _tests_of(model: ModelProto) -> list[Test]:
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
    probed: Sequence[Probed],
    quantum: Mapping[str, Any] | float,
    ranges: Mapping[str, tuple[Floats, Floats]],
) -> float:
    """What part of the ranges of inputs that are compared as they come is near a threshold."""
    spans: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for found in probed:
        own = found.as_they_come
        levels = np.broadcast_to(found.test.level, own.shape)[own]
        steps = np.broadcast_to(found.test.step(quantum), own.shape)[own]
        for place, level, width in zip(found.places[own], levels, steps, strict=True):
            near = spans.setdefault((found.name, int(place)), [])
            near.append((level - width, level + width))
    free = 1.0
    for (name, at), near in spans.items():
        low, high = (float(end.reshape(-1)[at]) for end in ranges[name])
        covered = _covered(near, low, high)
        free *= 1.0 - min(1.0, covered / (high - low)) if high > low else 1.0
    return float(1.0 - free)


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


def _giving(model: ModelProto, values: Sequence[str]) -> bytes:
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
    return bytes(copy.SerializeToString())
