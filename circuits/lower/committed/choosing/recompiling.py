"""A circuit that a recipe stands for, held to its model: what a rebuild asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.accuracy import (
    FAR_OFF,
    MOST_SERVED,
    MOST_TURNED,
    compare,
    far_off,
)
from circuits.calibration.reference import run_reference
from circuits.calibration.samples import Range, Sample
from circuits.committed.arithmetic import (
    Run,
    Steps,
    has_digits,
    lengths,
    lengths_of,
    nearest,
    output_scales,
)
from circuits.committed.network import (
    Floats,
    Function,
    Kind,
    Local,
    Network,
    Step,
    Sum,
    gathered,
)
from circuits.format.commitments import Weights
from circuits.format.digests import canonical_json
from circuits.format.tensors import scale_wanted
from circuits.lower.committed.choosing.candidates import (
    described,
    in_one_block,
    output_names,
    read_bounded,
)
from circuits.lower.committed.choosing.input_steps import (
    accepted_input,
    bounded_range,
    finest_wanted,
    is_rounded,
    is_tested,
    least_scale,
    whole_range,
)
from circuits.lower.committed.choosing.sampling import answers_of, inputs_of, run_samples
from circuits.lower.committed.quantising.checking import check_steps
from circuits.lower.committed.quantising.steps import FINER_BITS, integer_network
from circuits.lower.committed.reading.columns import check_columns, places_of, within_columns
from circuits.lower.committed.reading.responses import float_rows
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweredGraph


def recompiled(
    graph: FloatGraph,
    recipe: dict[str, Any],
    samples: Sequence[Sample],
    *,
    shown: bool,
    weights: Weights,
    lanes: int = 1,
    blinding: int = 0,
    ranges: Mapping[str, Range] | None = None,
) -> LoweredGraph:
    """The circuit that a recipe stands for, if it is one that this compiler could have chosen. Its
    inputs have the range that its table accepts, or that its sums are bounded for where the
    verifier looks at the input.

    What steps it takes is otherwise free, so the integers are held to onnxruntime on ``samples``,
    loosely: these are drawn from ``ranges``, and steps are chosen for a user's own. Whoever issued
    the recipe must not know them. Raises ``CannotLower`` or ``KeyError`` where it is no recipe for
    this model.
    """
    steps = Steps.from_json(recipe["steps"])
    written = canonical_json(steps.to_json()) == canonical_json(recipe["steps"])
    if not written or type(recipe["columns"]) is not int:
        raise CannotLower("the recipe is not written as this compiler writes it")
    check_columns(steps, graph.signature)
    if weights is not Weights.SEALED and any(own.columns for own in steps.inputs):
        raise CannotLower("columns are counted by weights that are no constants")
    read = read_bounded(graph, weights, places_of(steps))
    check_steps(read, steps)
    wanted = finest_wanted(read, graph, samples)
    for row, (own, tensor) in enumerate(zip(steps.inputs, graph.signature.inputs, strict=True)):
        if own.scale > scale_wanted(tensor.dtype, own.scale):  # thresholds are rounded to steps
            raise CannotLower("an input of integers counts in parts of one")
        rounded = own.finer <= FINER_BITS and shown and is_rounded(read.network, row)
        tested = is_tested(read.network, row) and (shown or has_digits(own, steps.base))
        split = bool(own.columns) and (shown or has_digits(own, steps.base))
        if own.finer and not (rounded or tested or split):
            raise CannotLower("an input is larger than what bounds it")
        counted = own.scales(tensor.size)
        least = wanted.get(tensor.name, counted)
        if is_tested(read.network, row):
            least = np.maximum(least, least_scale(read.network, row, tensor.dtype))
        if np.any(counted < least):
            at = np.argmax(least - counted)
            raise CannotLower(
                f"an input counts in steps that do not tell its thresholds apart: its scale is"
                f" {counted[at]}, and {least[at]} the least that does"
            )
    integers, scales = integer_network(read, steps), output_scales(read.network, steps)
    if steps.function != integers.function_table:
        raise CannotLower("no function is looked up in the table of the recipe")
    made = write_circuit(
        integers,
        steps,
        shown=shown,
        columns=recipe["columns"],
        results=output_names(graph),
        weights=weights,
        lanes=lanes,
        blinding=blinding,
    )
    if not in_one_block(made, steps):
        raise CannotLower("the circuit takes several blocks of columns, and salt reaches one")
    if samples:
        if ranges is not None:
            samples = within_columns(samples, graph.signature, ranges, steps.inputs, steps.base)
        _hold_to_model(read.network, graph, integers, steps, scales, samples)
    bounds = whole_range if shown else bounded_range
    accepted = [
        accepted_input(bounds(own, steps.base), tensor, own, steps.base, shown=True)
        for tensor, own in zip(graph.signature.inputs, steps.inputs, strict=True)
    ]
    return described(made, graph, steps, accepted, scales)


def _hold_to_model(
    model: Network,
    graph: FloatGraph,
    network: Network,
    steps: Steps,
    scales: Sequence[int],
    samples: Sequence[Sample],
) -> None:
    """Raises ``CannotLower`` where most samples leave the table, or integers are far off: but for
    the few samples on which they decide a comparison otherwise than the model, beside a tie."""
    reference = run_reference(graph.reference, samples)
    values = inputs_of(graph, samples)
    finite = [all(np.isfinite(output).all() for output in outputs) for outputs in reference]
    judged = ~run_samples(network, steps, values).outside & np.array(finite, dtype=bool)
    if judged.mean() < MOST_SERVED:
        raise CannotLower(f"only {judged.mean():.0%} of inputs in its range stay in its table")
    served = [v[judged] for v in values]
    made = run_samples(network, steps, served)
    got = answers_of(graph, network, scales, made.rows)
    kept = [outputs for outputs, own in zip(reference, judged, strict=True) if own]
    far = far_off(kept, got)
    if np.any(far & _decided_alike(model, network, steps, made, served)) or (
        far.mean() > MOST_TURNED
    ):
        measured = compare(kept, got)
        raise CannotLower(f"its outputs are {measured.max_error:.0%} of their range off")


def _decided_alike(
    model: Network, network: Network, steps: Steps, made: Run, values: Sequence[Floats]
) -> NDArray[np.bool_]:
    """The samples on which integers decide all comparisons as the model does. Raises
    ``CannotLower`` where what one compares is far off although all before it are decided alike."""
    alike = np.ones(len(values[0]), dtype=bool)
    every, true = lengths(network, steps), float_rows(model, values)
    for number, step in enumerate(network.steps):
        if isinstance(step, Sum):
            alike &= _same_sides(model.steps[number], step, every, true, made.rows)
        decides = step.in_ones if isinstance(step, Local) else step.kind is Kind.DECIDED
        if not decides:
            continue
        for view, own in zip(step.views, model.steps[number].views, strict=True):
            length = lengths_of(view, every)
            found = gathered(view, made.rows) / np.where(length == 0, 1.0, length)
            wanted = gathered(own, true)
            off = np.abs(found - wanted)[alike].max(initial=0.0)
            if off > FAR_OFF * (float(np.ptp(wanted)) or 1.0):
                raise CannotLower("what a comparison compares is far off")
        row = len(network.inputs) + number
        alike &= np.all(made.rows[row] == true[row], axis=1)
    return alike


def _same_sides(
    model: Step, step: Sum, lengths: Sequence[Floats], true: Sequence[Any], made: Sequence[Any]
) -> NDArray[np.bool_]:
    """The samples on which integers that functions are of lie where the model's numbers do: below,
    on or above each that it compares them with."""
    assert isinstance(model, Sum)
    alike = np.ones(len(made[0]), dtype=bool)
    for own, term in zip(model.terms, step.terms, strict=True):
        if not isinstance(own, Function) or not isinstance(term, Function) or own.ties is None:
            continue
        length = float(lengths_of(term.view, lengths).max())
        x = gathered(own.view, true).reshape(len(alike), -1)
        n = gathered(term.view, made).reshape(len(alike), -1)
        for tie in own.ties(np.arange(n.min() - 1, n.max() + 2) / length):
            alike &= np.all(np.sign(x - tie) == np.sign(n - nearest(tie * length)), axis=1)
    return alike
