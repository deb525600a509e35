"""Circuits with committed hints that are exact enough, in every size that may pay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from circuits.calibration.accuracy import (
    Measured,
    compare,
)
from circuits.calibration.samples import Range, Sample, corner_samples, draw
from circuits.committed.arithmetic import (
    InputSteps,
    Run,
    Steps,
    lengths,
    lengths_of,
    output_scales,
    run,
)
from circuits.committed.network import Floats, Function, Kind, Network, gathered
from circuits.format.commitments import COLUMN_SALT, Weights, usable_rows
from circuits.format.manifest import AppliedPass
from circuits.format.tensors import InputEncoding, Signature
from circuits.lower.committed.circuit import CommittedCircuit, write_circuit
from circuits.lower.committed.input_steps import (
    accepted_input,
    choose_inputs,
    compares,
    is_tested,
)
from circuits.lower.committed.quantising import (
    BENDS,
    Extent,
    choose_steps,
    comparisons,
    gap,
    integer_network,
    responses,
)
from circuits.lower.committed.reading import Read, read_network
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask
from circuits.lower.thresholds import bits_for_thresholds

#: Bits of activations that are tried, and by how many a table is longer at least.
_LEAST_BITS, _MOST_BITS, _TABLE_BITS = 6, 15, 1
#: In shorter tables nothing hides how often each entry is looked up.
LEAST_LOGROWS, _MOST_LOGROWS = 10, 20
_MOST_COLUMNS = 4
#: Rows of a column that are left free.
_SPARE_ROWS = 16
#: By how much hidden results may exceed those seen on samples, the least that does first.
_MARGINS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
#: Sizes beyond the first that fits.
_LONGER = 2
#: Share of the tolerance that the sides of a comparison may be off by.
_DECISIVE = 0.5
ARGUMENT = "committed"
_COMMITTED = AppliedPass(name="commit-hints", version=1)
#: Drawn samples that tell how many cells a model takes.
_TYPICAL_SAMPLES = 8
_MUCH_TO_COUNT, _MANY = 1 << 23, 1_000


class _Inexact(CannotLower):
    """No table makes a network exact enough: how near it came."""

    def __init__(self, measured: Measured) -> None:
        super().__init__(f"it is off by {measured.max_error:.3%} of the output's range")
        self.measured = measured


def committed_graphs(
    graph: FloatGraph, task: LoweringTask, shown: bool, weights: Weights
) -> list[LoweredGraph] | Measured | str:
    """Circuits of a rewritten model that keep the tolerance on the planning samples; else how near
    one came, or why there is none. ``shown``: whether inputs are public."""
    try:
        read = read_bounded(graph)
        if weights is Weights.PRIVATE and any(step.rounded for _, step in read.network.sums):
            raise CannotLower(
                "before a rounding, weights are longer than the table that bounds them"
            )
        return list(_candidates(read, graph, task, shown, weights))
    except _Inexact as error:
        return error.measured
    except CannotLower as error:
        return error.detail


def read_bounded(graph: FloatGraph) -> Read:
    """The network of a model. Raises ``CannotLower``, also for inputs that a table's end would not
    bound: a mask that is neither 0 nor 1 would forge what it masks."""
    if bounded := [t.name for t in graph.signature.inputs if t.meaning()]:
        raise CannotLower(f"input {bounded[0]!r} has a range of its own")
    read = read_network(graph.plain)
    for row in range(len(read.network.inputs)):
        if compares(read.network, row) and not is_tested(read.network, row):
            raise CannotLower("an input is compared with constants, and used otherwise as well")
    return read


def committed_cells(
    plain: bytes, signature: Signature, accepted: Mapping[str, Range]
) -> int | None:
    """The cells of a model's smallest circuit, for public inputs and sealed weights; None where
    there is none, or the model is too large to count in passing. ``plain``: the model rewritten."""
    if len(plain) > _MUCH_TO_COUNT or len(onnx.load_model_from_string(plain).graph.node) > _MANY:
        return None
    graph = FloatGraph(onnx=b"", plain=plain, passes=(), signature=signature, reference=b"")
    samples = draw(signature, accepted).plan[:_TYPICAL_SAMPLES]
    task = LoweringTask(
        accepted=dict(accepted), limbs=1, plan=samples, held_out=samples, agreement=0.0
    )
    try:
        found = _candidates(read_bounded(graph), graph, task, True, Weights.SEALED)
        return next((made.size[2] for made in found if made.size), None)
    except (CannotLower, ArithmeticError, ValueError):
        return None


def output_names(graph: FloatGraph) -> list[str]:
    return [output.name for output in graph.signature.outputs]


def run_samples(network: Network, steps: Steps, values: Sequence[Floats]) -> Run:
    scaled = zip(values, steps.inputs, strict=True)
    return run(network, steps, [_integers(v, own.scale) for v, own in scaled])


def in_one_block(made: CommittedCircuit, steps: Steps) -> bool:
    """Whether random look-ups reach every column: they stand in the last block."""
    return made.cells <= made.columns * (usable_rows(steps.logrows) - _SPARE_ROWS)


def _candidates(
    read: Read, graph: FloatGraph, task: LoweringTask, shown: bool, weights: Weights
) -> Iterator[LoweredGraph]:
    def exact(wanted: list[list[NDArray[Any]]], got: list[list[NDArray[Any]]]) -> bool:
        measured = compare(wanted, got)
        tried.append(measured)
        return measured.max_error <= task.max_error and measured.agreement >= task.agreement

    plan, held_out = inputs_of(graph, task.plan), inputs_of(graph, task.held_out)
    every = [np.concatenate(both) for both in zip(plan, held_out, strict=True)]
    seen = responses(read.network, plan)
    reference = _shaped(graph, seen.outputs)
    unseen = _shaped(graph, responses(read.network, held_out).outputs)
    told_apart = _told_apart(read.network, graph, task)
    first = None
    tried: list[Measured] = []
    found = too_large = False

    def tables(logrows: int, bend: int) -> list[tuple[Steps, Network]]:
        """What is exact enough on the samples to plan on, the finest first."""
        passing: list[tuple[Steps, Network]] = []
        for bits in range(min(_MOST_BITS, logrows - _TABLE_BITS), _LEAST_BITS - 1, -1):
            inputs = choose_inputs(read.network, graph, task, 1 << bits, shown, told_apart)
            inside = _steps(
                read, graph, task, every, seen.extents, inputs, bits, logrows, shown, bend, weights
            )
            if inside is None:
                break
            steps, integers = inside
            scales = output_scales(read.network, steps)
            answers, made_of = answers_of(graph, integers, steps, scales, plan)
            misjudged = _misjudged(integers, steps, made_of, seen.gaps)
            if not exact(reference, answers) or misjudged > _DECISIVE * task.max_error:
                break
            passing.append((steps, integers))
            if weights is not Weights.SEALED or told_apart is not None:
                break  # the table is the same for all weights, and finer costs nothing or less
        return passing

    blinding = COLUMN_SALT if task.visibility.names_input else 0
    bends = BENDS if _functions(read.network) else BENDS[:1]
    for logrows in range(LEAST_LOGROWS, _MOST_LOGROWS + 1):
        if first is not None and logrows > first + _LONGER:
            return
        passing = next(filter(None, (tables(logrows, bend) for bend in bends)), [])
        # One bit more than the least that does, where it costs no rows: inputs differ.
        for steps, integers in passing[max(len(passing) - 2, 0) :: -1]:
            scales = output_scales(read.network, steps)
            answers = answers_of(graph, integers, steps, scales, held_out)[0]
            if serves := exact(unseen, answers):
                break
        if not passing:
            continue
        made = _fitting(integers, graph, steps, shown, weights, blinding)
        if made is None:
            too_large = True
            continue
        first = first or (logrows if serves else None)
        accepted = [
            accepted_input(task.accepted[tensor.name], tensor, own, steps.base, shown)
            for tensor, own in zip(graph.signature.inputs, steps.inputs, strict=True)
        ]
        found = True
        yield replace(described(made, graph, steps, accepted, scales), answers=answers)
    if too_large and not found:
        raise CannotLower(f"it needs more than {_MOST_COLUMNS} columns of 2^{_MOST_LOGROWS} rows")
    if tried and not found:
        raise _Inexact(min(tried, key=lambda measured: measured.max_error))


def _told_apart(network: Network, graph: FloatGraph, task: LoweringTask) -> int | None:
    """Fractional bits that tell inputs from the constants that they are compared with."""
    if not any(step.kind is Kind.DECIDED for _, step in network.sums):
        return None
    return bits_for_thresholds(graph.plain, task.plan)


def _functions(network: Network) -> bool:
    return any(isinstance(term, Function) for _, step in network.sums for term in step.terms)


def _misjudged(network: Network, steps: Steps, made: Run, gaps: Sequence[Floats]) -> float:
    """By how much the sides of comparisons are off, over the range of their differences: an answer
    that is only a class says nothing of how near the decision was."""
    every, worst = lengths(network, steps), 0.0
    for number, wanted in zip(comparisons(network), gaps, strict=True):
        step = network.steps[number]
        length = lengths_of(step.views[0], every).reshape(-1)
        found = gap(network, number, made.rows) / np.where(length == 0, 1.0, length)
        width = float(np.ptp(wanted)) or float(np.abs(wanted).max(initial=0.0)) or 1.0
        worst = max(worst, float(np.abs(found - wanted).max(initial=0.0)) / width)
    return worst


def committed_quanta(
    graph: FloatGraph, recipe: dict[str, Any], samples: Sequence[Sample]
) -> dict[str, NDArray[Any]]:
    """How near a circuit's values have to be to a constant for it to decide otherwise than the
    model, by the names of the comparisons' outputs and in their shapes: a step, and the most that
    they are off by on ``samples``."""
    read, steps = read_network(graph.plain), Steps.from_json(recipe["steps"])
    network, values = integer_network(read, steps), inputs_of(graph, samples)
    every, first = lengths(network, steps), len(network.inputs)
    made, gaps = run_samples(network, steps, values), responses(read.network, values).gaps
    wanted = dict(zip(comparisons(network), gaps, strict=True))
    scales = np.array([own.scale for own in steps.inputs])
    found = {name: np.exp2(-scales[rows].astype(np.float64)) for name, rows in read.tested.items()}
    for name, row in read.decided.items():
        number = row - first
        view = network.steps[number].views[0]
        own = lengths_of(view, every)
        off = 0.0
        if number in wanted:
            inside = gap(network, number, made.rows) / own.reshape(-1) - wanted[number]
            off = float(np.abs(inside[~made.outside]).max(initial=0.0))
        found[name] = 1 / own + off
    return found


def inputs_of(graph: FloatGraph, samples: Sequence[Sample]) -> list[Floats]:
    """Each input of all samples, ``[samples, elements]``."""
    return [
        np.array([np.asarray(s[t.name], dtype=np.float64).reshape(-1) for s in samples]).reshape(
            len(samples), t.size
        )
        for t in graph.signature.inputs
    ]


def _shaped(graph: FloatGraph, outputs: Sequence[Floats]) -> list[list[NDArray[Any]]]:
    """Outputs ``[samples, elements]`` as each sample's tensors."""
    shapes = [output.shape for output in graph.signature.outputs]
    return [
        [values.reshape(shape) for values, shape in zip(row, shapes, strict=True)]
        for row in zip(*outputs, strict=True)
    ]


def _integers(maps: Floats, scale: int) -> NDArray[np.int64]:
    scaled = np.ldexp(maps, scale)
    rounded: NDArray[np.int64] = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled).astype(
        np.int64
    )
    return rounded


def answers_of(
    graph: FloatGraph,
    network: Network,
    steps: Steps,
    scales: Sequence[int],
    values: Sequence[Floats],
) -> tuple[list[list[NDArray[Any]]], Run]:
    """The circuit's outputs, and how it came to them."""
    made = run_samples(network, steps, values)
    outputs = [
        np.ldexp(gathered(output, made.rows).astype(np.float64), -scale)
        for output, scale in zip(network.outputs, scales, strict=True)
    ]
    return _shaped(graph, outputs), made


def _steps(
    read: Read,
    graph: FloatGraph,
    task: LoweringTask,
    every: Sequence[Floats],
    extents: Sequence[Extent],
    inputs: Sequence[InputSteps] | None,
    bits: int,
    logrows: int,
    shown: bool,
    bend: int,
    weights: Weights,
) -> tuple[Steps, Network] | None:
    """Steps under which every sample has its entries in the table, and the integers; None where
    there are none."""
    if inputs is None:
        return None
    base = 1 << bits
    edges = [
        accepted_input(task.accepted[t.name], t, own, base, shown)
        for t, own in zip(graph.signature.inputs, inputs, strict=True)
    ]
    corners = inputs_of(graph, corner_samples(tuple(edges)))
    every = [np.concatenate(both) for both in zip(every, corners, strict=True)]
    extremes = responses(read.network, corners).extents
    for margin in _MARGINS:
        try:
            steps = choose_steps(
                read,
                [e.reaching(least, margin) for e, least in zip(extents, extremes, strict=True)],
                base=base,
                logrows=logrows,
                inputs=inputs,
                margin=margin,
                bend=bend,
                packs=weights is Weights.SEALED,
                largest_weight=base // 2 - 1 if weights is Weights.PRIVATE else None,
            )
            integers = integer_network(read, steps)
        except CannotLower:
            return None
        if not np.any(run_samples(integers, steps, every).outside):
            return steps, integers
    return None


def _fitting(
    integers: Network,
    graph: FloatGraph,
    steps: Steps,
    shown: bool,
    weights: Weights,
    blinding: int,
) -> CommittedCircuit | None:
    """The circuit over the fewest columns that it fits; None where it takes too many.

    All of it stands in one block of columns, so that random look-ups reach each of them.
    """
    if blinding and sum(integers.inputs) + blinding > usable_rows(steps.logrows):
        return None
    columns = 1
    while columns <= _MOST_COLUMNS:
        made = write_circuit(
            integers,
            steps,
            shown=shown,
            columns=columns,
            results=output_names(graph),
            weights=weights,
            blinding=blinding,
        )
        if in_one_block(made, steps):
            return made
        columns = max(columns + 1, made.cells // usable_rows(steps.logrows))
    return None


def described(
    made: CommittedCircuit,
    graph: FloatGraph,
    steps: Steps,
    accepted: Sequence[InputEncoding],
    scales: Sequence[int],
) -> LoweredGraph:
    return LoweredGraph(
        label=f"committed hints, {steps.base.bit_length() - 1} bits, k = {steps.logrows}",
        onnx=made.onnx,
        passes=(*graph.passes[:-1], _COMMITTED),
        inputs=tuple(accepted),
        outputs=graph.decodings(scales),
        lookup_range=(steps.lowest, steps.base - 1),
        recipe={"argument": ARGUMENT, "columns": made.columns, "steps": steps.to_json()},
        network=made.arrangement.to_bytes(),
        commitments=made.claim,
        size=(steps.logrows, made.columns, made.cells),
    )
