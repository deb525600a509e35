"""Circuits with committed hints that are exact enough, in every size that may pay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.committed.arithmetic import Split, Steps, outside, run
from circuits.committed.arrangement import as_map
from circuits.committed.claim import Commitments, Weights, usable_rows
from circuits.committed.network import Floats, Network
from circuits.lower.committed.circuit import CommittedCircuit, write_circuit
from circuits.lower.committed.quantising import (
    check_steps,
    choose_steps,
    integer_network,
    responses,
)
from circuits.lower.committed.reading import read_network
from circuits.lower.errors import CannotLower
from circuits.plan.accuracy import compare
from circuits.plan.graphs import FloatGraph, IntegerTask
from circuits.plan.samples import Range, Sample

#: Bits of activations that are tried, and by how many a table is longer at least.
_LEAST_BITS, _MOST_BITS, _TABLE_BITS = 6, 15, 1
#: In shorter tables nothing hides how often each entry is looked up.
_LEAST_LOGROWS, _MOST_LOGROWS = 10, 20
_MOST_COLUMNS = 4
#: Rows of a column that are left free.
_SPARE_ROWS = 16
#: By how much hidden results may exceed those seen on samples, the least that does first.
_MARGINS = (1.5, 2.0, 3.0)
#: Sizes beyond the first that fits.
_LONGER = 2
ARGUMENT = "committed"
#: A rebuilt circuit's error on drawn samples from which on it is another function.
_FAR_OFF = 0.1


@dataclass(frozen=True, kw_only=True)
class CommittedGraph:
    """A circuit with committed hints, its answers for the held-out samples, and what its manifest
    says of numbers. ``network`` computes its hints; ``recipe`` makes it anew; ``accepted`` is the
    range that an input has where a table bounds it."""

    label: str
    onnx: bytes
    network: bytes
    claim: Commitments
    recipe: dict[str, Any]
    logrows: int
    columns: int
    cells: int
    lookup_range: tuple[int, int]
    input_scale: int
    output_scale: int
    accepted: Range
    outputs: list[list[NDArray[Any]]]


def committed_graphs(
    graph: FloatGraph, task: IntegerTask, shown: bool, weights: Weights
) -> list[CommittedGraph] | str:
    """Circuits of a rewritten model that keep the tolerance on the planning samples; or why there
    is none. ``shown``: whether the input is public."""
    try:
        network = read_network(graph.plain)
        return list(_candidates(network, graph, task, shown, weights))
    except CannotLower as error:
        return error.detail


def recompiled(
    graph: FloatGraph,
    recipe: dict[str, Any],
    samples: Sequence[Sample],
    *,
    shown: bool,
    weights: Weights,
    lanes: int = 1,
) -> tuple[CommittedCircuit, Steps]:
    """The circuit that a recipe stands for, if it is one that this compiler could have chosen.

    What steps it takes is otherwise free, so the integers are held to the model on ``samples``,
    loosely: these are drawn, and steps are chosen for a user's own. Raises ``CannotLower`` or
    ``KeyError`` where it is no recipe for this model.
    """
    steps = Steps.from_json(recipe["steps"])
    if steps.to_json() != recipe["steps"] or type(recipe["columns"]) is not int:
        raise CannotLower("the recipe is not written as this compiler writes it")
    network = read_network(graph.plain)
    check_steps(network, steps)
    integers = integer_network(network, steps)
    name = graph.signature.outputs[0].name
    made = write_circuit(
        integers,
        steps,
        shown=shown,
        columns=recipe["columns"],
        result=name,
        weights=weights,
        lanes=lanes,
    )
    if not _in_one_block(made, steps):
        raise CannotLower("the circuit takes several blocks of columns, and salt reaches one")
    maps = _maps(network, samples)
    inside = [
        n for n in range(len(maps)) if not outside(_run(integers, steps, maps[n : n + 1]), steps)
    ]
    if inside:
        sums = responses(network, maps[inside])[-1]
        reference = _shaped(graph, sums if network.raw else np.maximum(sums, 0))
        measured = compare(reference, _answers(graph, integers, steps, maps[inside]))
        if measured.max_error > _FAR_OFF:
            raise CannotLower(f"its outputs are {measured.max_error:.0%} of their range off")
    return made, steps


def _run(network: Network, steps: Steps, maps: Floats) -> Sequence[Split]:
    return run(network, steps, _integers(maps, steps.input_scale))[0]


def _in_one_block(made: CommittedCircuit, steps: Steps) -> bool:
    """Whether random look-ups reach every column: they stand in the last block."""
    return made.cells <= made.columns * (usable_rows(steps.logrows) - _SPARE_ROWS)


def _candidates(
    network: Network, graph: FloatGraph, task: IntegerTask, shown: bool, weights: Weights
) -> Iterator[CommittedGraph]:
    plan, held_out = (_maps(network, part) for part in (task.plan, task.held_out))
    sums = responses(network, plan)
    reference = _shaped(graph, sums[-1] if network.raw else np.maximum(sums[-1], 0))
    first = None
    for logrows in range(_LEAST_LOGROWS, _MOST_LOGROWS + 1):
        if first is not None and logrows > first + _LONGER:
            return
        best = finer = None
        for bits in range(min(_MOST_BITS, logrows - _TABLE_BITS), _LEAST_BITS - 1, -1):
            steps = _steps(network, graph, task, plan, held_out, sums, bits, logrows, shown)
            if steps is None:
                break
            integers = integer_network(network, steps)
            answers = _answers(graph, integers, steps, plan)
            measured = compare(reference, answers)
            if measured.max_error > task.max_error or measured.agreement < task.agreement:
                break
            # One bit more than the least that does, where it costs no rows: inputs differ.
            best, finer = steps, best
        if finer is not None:
            best = finer
        if best is None:
            continue
        found = _fitting(network, graph, best, shown, weights)
        if found is None:
            continue
        first = first or logrows
        yield _described(found, graph, task, held_out, best, shown)


def _maps(network: Network, samples: Sequence[Sample]) -> Floats:
    """Inputs as feature maps ``[samples, height, width, channels]``."""
    rows = [
        as_map(np.asarray(next(iter(s.values())), dtype=np.float64), network.input) for s in samples
    ]
    return np.stack(rows) if rows else np.zeros((0, *network.input))


def _shaped(graph: FloatGraph, values: Floats) -> list[list[NDArray[Any]]]:
    shape = graph.signature.outputs[0].shape
    return [[v.reshape(shape)] for v in values]


def _integers(maps: Floats, scale: int) -> NDArray[np.int64]:
    scaled = np.ldexp(maps, scale)
    rounded: NDArray[np.int64] = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled).astype(
        np.int64
    )
    return rounded


def _answers(
    graph: FloatGraph, network: Network, steps: Steps, maps: Floats
) -> list[list[NDArray[Any]]]:
    _, found = run(network, steps, _integers(maps, steps.input_scale))
    return _shaped(graph, np.ldexp(found.astype(np.float64), -steps.output_scale))


def _steps(
    network: Network,
    graph: FloatGraph,
    task: IntegerTask,
    plan: Floats,
    held_out: Floats,
    sums: Sequence[Floats],
    bits: int,
    logrows: int,
    shown: bool,
) -> Steps | None:
    """Steps under which every sample has its entries in the table; None where there are none."""
    tensor = graph.signature.inputs[0]
    lower, upper = task.accepted[tensor.name]
    base = 1 << bits
    scale = math.floor(math.log2((base - 1) / max(upper - lower, abs(lower), abs(upper))))
    if tensor.dtype[0] not in "f":
        scale = min(scale, 0)
        if upper - lower > base - 1:
            return None
    low, high = (int(_integers(np.array(end), scale)) for end in (lower, upper))
    if max(high, 0) - low > base - 1:
        scale -= 1
        low = int(_integers(np.array(lower), scale))
    for margin in _MARGINS:
        steps = choose_steps(
            network,
            sums,
            base=base,
            logrows=logrows,
            input_scale=scale,
            offset=0 if shown else max(0, -low),
            margin=margin,
        )
        integers = integer_network(network, steps)
        every = _integers(np.concatenate([plan, held_out]), scale)
        if not outside(run(integers, steps, every)[0], steps):
            return steps
    return None


def _fitting(
    network: Network, graph: FloatGraph, steps: Steps, shown: bool, weights: Weights
) -> CommittedCircuit | None:
    """The circuit over the fewest columns that it fits; None where it takes too many.

    All of it stands in one block of columns, so that random look-ups reach each of them.
    """
    integers = integer_network(network, steps)
    name = graph.signature.outputs[0].name
    columns = 1
    while columns <= _MOST_COLUMNS:
        made = write_circuit(
            integers, steps, shown=shown, columns=columns, result=name, weights=weights
        )
        if _in_one_block(made, steps):
            return made
        columns = max(columns + 1, made.cells // usable_rows(steps.logrows))
    return None


def _described(
    made: CommittedCircuit,
    graph: FloatGraph,
    task: IntegerTask,
    held_out: Floats,
    steps: Steps,
    shown: bool,
) -> CommittedGraph:
    tensor = graph.signature.inputs[0]
    accepted = task.accepted[tensor.name]
    if not shown:
        low, high = -steps.offset, steps.base - 1 - steps.offset
        accepted = math.ldexp(low, -steps.input_scale), math.ldexp(high, -steps.input_scale)
    return CommittedGraph(
        label=f"committed hints, {steps.base.bit_length() - 1} bits, k = {steps.logrows}",
        onnx=made.onnx,
        network=made.arrangement.to_bytes(),
        claim=made.claim,
        recipe={"argument": ARGUMENT, "columns": made.columns, "steps": steps.to_json()},
        logrows=steps.logrows,
        columns=made.columns,
        cells=made.cells,
        lookup_range=(steps.lowest, steps.base - 1),
        input_scale=steps.input_scale,
        output_scale=steps.output_scale,
        accepted=accepted,
        outputs=_answers(graph, made.arrangement.network, steps, held_out),
    )
