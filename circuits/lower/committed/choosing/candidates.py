"""Circuits with committed hints that are exact enough, in every size that may pay."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from circuits.calibration.accuracy import Measured
from circuits.calibration.samples import Range, Sample, draw
from circuits.committed.arithmetic import Steps, lengths, lengths_of
from circuits.committed.network import Floats, Network
from circuits.format.commitments import COLUMN_SALT, Weights, usable_rows
from circuits.format.manifest import AppliedPass
from circuits.format.tensors import InputEncoding, Signature
from circuits.lower.committed.choosing.counting import least_cells
from circuits.lower.committed.choosing.input_steps import compares, is_tested
from circuits.lower.committed.choosing.sampling import inputs_of, run_samples
from circuits.lower.committed.choosing.searching import Search
from circuits.lower.committed.quantising.steps import integer_network
from circuits.lower.committed.quantising.tables import best_table
from circuits.lower.committed.reading.columns import (
    Group,
    Places,
    are_far_apart,
    grouped,
    places_of,
)
from circuits.lower.committed.reading.draft import Compared
from circuits.lower.committed.reading.network import Read, read_network
from circuits.lower.committed.reading.responses import comparisons, gap, responses
from circuits.lower.committed.reading.values import ROW
from circuits.lower.committed.writing.circuit import CommittedCircuit, write_circuit
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask

#: In shorter tables nothing hides how often each entry is looked up.
LEAST_LOGROWS, _MOST_LOGROWS = 10, 20
_MOST_COLUMNS = 4
#: Rows of a column that are left free.
_SPARE_ROWS = 16
#: Sizes beyond the first that fits.
_LONGER = 2
#: Share of the rows and columns that a circuit may have at most which does not hold the corners of
#: the accepted range.
_WITHOUT_CORNERS = 0.7
ARGUMENT = "committed"
_COMMITTED = AppliedPass(name="commit-hints", version=1)
#: What a column of a circuit with one table costs less than of one with two, about.
_ANOTHER_TABLE = 1.4
#: Drawn samples that tell how many cells a model takes.
_TYPICAL_SAMPLES = 8
_MUCH_TO_COUNT, _MANY = 1 << 23, 1_000
#: How small a part of a step tells how a value changes with it.
_CLOSE = 64


class _Inexact(CannotLower):
    """No table makes a network exact enough: how near it came."""

    def __init__(self, measured: Measured) -> None:
        super().__init__(f"it is off by {measured.max_error:.3%} of the output's range")
        self.measured = measured


def committed_graphs(
    graph: FloatGraph, task: LoweringTask, shown: bool, weights: Weights
) -> list[LoweredGraph] | Measured | str:
    """Circuits of a rewritten model that keep the tolerance on the planning samples; else how near
    one came, or why there is none. ``shown``: whether inputs are public.

    Columns of different size get steps of their own where they are far apart, or where no circuit
    serves held-out samples without.
    """
    whole: list[tuple[Group, ...]] = [()] * len(graph.signature.inputs)
    columns = grouped(graph.signature, task) if weights is Weights.SEALED else whole
    ways = [columns, whole] if are_far_apart(columns) else [whole, columns]
    found = _tried(graph, task, shown, weights, ways[0])
    if any(columns) and not (isinstance(found, list) and any(serves for _, serves in found)):
        found = _nearer(found, _tried(graph, task, shown, weights, ways[1]))
    return [made for made, _ in found] if isinstance(found, list) else found


_Found = list[tuple[LoweredGraph, bool]] | Measured | str


def _tried(
    graph: FloatGraph,
    task: LoweringTask,
    shown: bool,
    weights: Weights,
    columns: Sequence[Sequence[Group]],
) -> _Found:
    """What ``_candidates`` has; else how near one came, or why there is none."""
    try:
        read = read_bounded(graph, weights, [[own.places for own in each] for each in columns])
        if weights is Weights.PRIVATE and any(step.rounded for _, step in read.network.sums):
            raise CannotLower(
                "before a rounding, weights are longer than the table that bounds them"
            )
        return _by_table_or_not(read, graph, task, shown, weights, columns)
    except _Inexact as error:
        return error.measured
    except CannotLower as error:
        return error.detail


def _by_table_or_not(
    read: Read,
    graph: FloatGraph,
    task: LoweringTask,
    shown: bool,
    weights: Weights,
    columns: Sequence[Sequence[Group]],
) -> list[tuple[LoweredGraph, bool]]:
    """``_candidates`` with a second table for functions, where one has many of them, and those
    without that are little larger. Raises what refuses them, the one that came nearest."""
    found: list[tuple[LoweredGraph, bool]] = []
    refused: list[CannotLower] = []
    within = math.inf
    best = None if weights is Weights.PRIVATE else best_table(read.network)
    for function in dict.fromkeys((best, None)):
        try:
            found += _candidates(read, graph, task, shown, weights, columns, function, within)
        except CannotLower as error:
            refused.append(error)
        sizes = [made.size for made, serves in found if serves and made.size is not None]
        within = min((_ANOTHER_TABLE * (n << k) for k, n, _ in sizes), default=math.inf)
    if not found and refused:
        raise min(refused, key=_off)
    return found


def _off(error: CannotLower) -> float:
    return error.measured.max_error if isinstance(error, _Inexact) else math.inf


def _nearer(first: _Found, second: _Found) -> _Found:
    """The first, unless the second has circuits, or came nearer to one."""
    if isinstance(second, list):
        return second or first
    if isinstance(first, Measured) and isinstance(second, Measured):
        return min(first, second, key=lambda measured: measured.max_error)
    return first


def read_bounded(
    graph: FloatGraph, weights: Weights = Weights.SEALED, columns: Places | None = None
) -> Read:
    """The network of a model, as ``read_network`` has it. Raises ``CannotLower``, also for inputs
    that a table's end would not bound: a mask that is neither 0 nor 1 would forge what it masks."""
    if bounded := [t.name for t in graph.signature.inputs if t.meaning()]:
        raise CannotLower(f"input {bounded[0]!r} has a range of its own")
    if empty := [t.name for t in graph.signature.outputs if not t.size]:
        raise CannotLower(f"output {empty[0]!r} has no element")
    read = read_network(graph.plain, weights, columns)
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
        sealed = Weights.SEALED
        whole: list[tuple[Group, ...]] = [()] * len(signature.inputs)
        read = read_bounded(graph, sealed)
        for function in (best_table(read.network), None):
            found = _candidates(read, graph, task, True, sealed, whole, function)
            with contextlib.suppress(CannotLower, StopIteration):
                return next(made.size[2] for made, _ in found if made.size)
        return None
    except (CannotLower, ArithmeticError, ValueError):
        return None


def output_names(graph: FloatGraph) -> list[str]:
    return [output.name for output in graph.signature.outputs]


def in_one_block(made: CommittedCircuit, steps: Steps) -> bool:
    """Whether random look-ups reach every column: they stand in the last block."""
    return made.cells <= _room(steps.logrows, made.columns)


def _room(logrows: int, columns: int = _MOST_COLUMNS) -> int:
    """The cells that so many columns have."""
    return columns * (usable_rows(logrows) - _SPARE_ROWS)


def _candidates(
    read: Read,
    graph: FloatGraph,
    task: LoweringTask,
    shown: bool,
    weights: Weights,
    columns: Sequence[Sequence[Group]],
    function: str | None = None,
    within: float = math.inf,
) -> Iterator[tuple[LoweredGraph, bool]]:
    """Circuits for every input that is accepted, and much smaller ones that hold no corner of the
    accepted range: where a network divides by how much its input varies, a corner at which that is
    nothing would cost all others their bits. Where columns have ranges of their own only such, for
    what is drawn from these. With each, whether it is exact enough on held-out samples, too.
    ``function``: the operator of a second table. ``within``: rows times columns at most."""
    least = least_cells(read.network, read.ones, shown=shown)
    sizes = [k for k in range(LEAST_LOGROWS, _MOST_LOGROWS + 1) if least <= _room(k)]
    blinding = COLUMN_SALT if task.visibility.names_input else 0
    tried: list[Measured] = []
    area, exact, any_made = within, not sizes, False
    for corners in (False,) if any(columns) else (True, False):
        search = Search(
            read, graph, task, shown, weights, corners=corners, columns=columns, function=function
        )
        most, first = area if corners else _WITHOUT_CORNERS * area, None
        for logrows in sizes:
            if 1 << logrows > most or (first is not None and logrows > first + _LONGER):
                break
            trial = search.coarsest(logrows)
            if trial is None:
                continue
            exact = True
            made = _fitting(trial.integers, graph, trial.steps, shown, weights, blinding)
            if made is None or made.columns << logrows > most:
                continue
            serves = search.serves(trial)
            area, first = min(area, made.columns << logrows), first or (logrows if serves else None)
            any_made = True
            own = described(made, graph, trial.steps, trial.accepted, trial.scales)
            holds = search.holds_corners(trial)
            yield replace(own, answers=trial.answers, holds_corners=holds), serves
            if serves and made.columns == 1 and trial.held_out.agreement == 1:
                break  # no size beyond it is cheaper
        tried += search.tried
    if any_made or within < math.inf:
        return
    if exact:
        raise CannotLower(f"it needs more than {_MOST_COLUMNS} columns of 2^{_MOST_LOGROWS} rows")
    if tried:
        raise _Inexact(min(tried, key=lambda measured: measured.max_error))


def committed_quanta(
    graph: FloatGraph,
    recipe: dict[str, Any],
    samples: Sequence[Sample],
    weights: Weights = Weights.SEALED,
) -> dict[str, NDArray[Any]]:
    """How near a circuit's values have to be to a constant for it to decide otherwise than the
    model, by the names of the comparisons' outputs and in their shapes: a step, and the most that
    they are off by on ``samples``."""
    steps = Steps.from_json(recipe["steps"])
    read = read_network(graph.plain, weights, places_of(steps))
    network, values = integer_network(read, steps), inputs_of(graph, samples)
    every, first = lengths(network, steps), len(network.inputs)
    made, gaps = run_samples(network, steps, values), responses(read.network, values).gaps
    wanted = dict(zip(comparisons(network), gaps, strict=True))
    scales = [
        own.scales(size).astype(np.float64)
        for own, size in zip(steps.inputs, network.inputs, strict=True)
    ]
    starts, every_scale = np.cumsum([0, *network.inputs]), np.concatenate(scales)
    found = {
        name: np.exp2(-every_scale[starts[addresses // ROW] + addresses % ROW])
        for name, addresses in read.tested.items()
    }
    for name, row in read.decided.items():
        number = row - first
        view = network.steps[number].views[0]
        own = lengths_of(view, every)
        off = 0.0
        if number in wanted:
            inside = gap(network, number, made.rows) / own.reshape(-1) - wanted[number]
            off = float(np.abs(inside[~made.outside]).max(initial=0.0))
        found[name] = 1 / own + off
    for name, compared in read.compared.items():
        found.setdefault(name, _quantum(compared, scales[compared.row], values[compared.row]))
    return found


def _quantum(compared: Compared, scales: Floats, values: Floats) -> NDArray[Any]:
    """By how much the sides of a comparison move with a step of the input element that they are
    made of: the most, or of each element where these count in different steps."""
    x, apart = np.unique(values), compared.gaps
    own, most = scales[compared.sources], np.zeros(len(compared.sources))
    for scale in np.unique(own):
        near = 2.0**-scale / _CLOSE
        moved = [np.abs(apart(x + side) - apart(x)) for side in (near, -near)]
        # The lesser of two sides: at a tie one of them may jump.
        most = np.where(own == scale, _CLOSE * np.minimum(*moved).max(axis=0), most)
    if len(np.unique(own)) == 1:
        return np.asarray(most.max())
    return most[-math.prod(compared.shape) :].reshape(compared.shape)


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
        label=_label(steps),
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


def _label(steps: Steps) -> str:
    function = "" if steps.function is None else f", a table of {steps.function.op}"
    return f"committed hints, {steps.base.bit_length() - 1} bits{function}, k = {steps.logrows}"
