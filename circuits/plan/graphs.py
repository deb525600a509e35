"""Graphs of a model, made inside sandbox children: plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from circuits.calibration.samples import Range, Sample, never_true
from circuits.cost.fixed_point import Count
from circuits.cost.integers import TYPICAL, cells_of, typical_legs
from circuits.engine.port import LayoutStats
from circuits.format.commitments import Weights
from circuits.format.hidden import Hidden
from circuits.format.manifest import AppliedPass
from circuits.format.profile import Visibility
from circuits.format.tensors import quantised
from circuits.frontend.labels import signs_of
from circuits.lower import (
    BitWidths,
    CannotLower,
    GraphVariant,
    choose_bits,
    lower,
    run_integers,
)
from circuits.lower.committed.choosing.candidates import ARGUMENT, committed_quanta
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask
from circuits.lower.thresholds import near_graph, near_thresholds
from circuits.plan.lowering_options import (
    estimate,
    estimate_options,
    typical_layouts,
    within_factor,
)
from circuits.rewrite import bind_context, rewrite
from circuits.rewrite.hidden_values import (
    Bound,
    bound_inputs,
    count_elements,
)

_BOUND = AppliedPass(name="bind-context", version=1)
_EXPOSED = AppliedPass(name="expose-context", version=1)
#: Its two places: here, and where a graph is left to the engine's own fixed point.
BOUND_INPUTS = AppliedPass(name="bound-inputs", version=2)
#: Entries beyond which no table is made to bound an input.
_WIDEST_TABLE = 1 << 16
#: Elements from which on a table of its own costs less than decompositions: 5 assignments an
#: element and a lookup argument, against 40.
_TABLE_PAYS = 256


def float_graph(
    model: bytes,
    samples: Sequence[Sample],
    limbs: int,
    expose: bool = False,
    accepted: Mapping[str, Range] | None = None,
) -> FloatGraph:
    """The model after every float pass, each compared with the original on ``samples``.

    ``expose``: the inputs are not public, so the context goes out as the first output.
    ``accepted``: a mask that is never true masks nothing.
    """
    rewritten = rewrite(model, samples, never_true(accepted or {}))
    return FloatGraph(
        onnx=bind_context(rewritten.onnx, limbs, expose=expose),
        plain=rewritten.onnx,
        passes=(*rewritten.passes, _EXPOSED if expose else _BOUND),
        signature=rewritten.signature,
        reference=rewritten.reference,
    )


def labels_of(reference: bytes) -> list[tuple[int, int]]:
    """The outputs of a model that are signs of others, and these."""
    return signs_of(onnx.load_model_from_string(reference).graph)


def integer_graphs(
    graph: FloatGraph,
    task: LoweringTask,
) -> list[LoweredGraph] | str:
    """Graphs of integers that keep the tolerance on the planning samples, cheapest bits first.

    Each is made without tables for ReLUs and comparisons, and with them where that may be cheaper.
    If an operator does not map integers to integers, the reason is returned instead, and the
    planner takes the fixed-point path.
    """
    try:
        choices = choose_bits(graph.plain, task.plan, task.accepted, task.max_error, task.agreement)
        choices = [choice.finer(task.finer) for choice in choices]
        return [
            _integer_graph(graph, task, variant)
            for choice in choices
            for variant in _forms(graph, task, choice)
        ]
    except CannotLower as error:
        return error.detail


def likely_shapes(graph: FloatGraph, task: LoweringTask) -> list[LayoutStats]:
    """Shapes of an integer graph with bits that most models do well with, by count; none where
    there is no such graph."""
    try:
        variant = lower(graph.plain, TYPICAL, task.accepted, write=False)
    except CannotLower:
        return []
    return typical_layouts(variant)


def count_integers(graph: FloatGraph, task: LoweringTask) -> Count | None:
    """The cells of an integer graph with typical bits; None where there is no such form."""
    try:
        variant = lower(graph.plain, TYPICAL, task.accepted, write=False)
    except CannotLower:
        return None
    return Count(
        cells=cells_of(variant, typical_legs(variant)),
        tables=len(variant.lookups),
        constants=0,
        nodes=len(variant.nodes),
    )


def thresholds(
    graph: FloatGraph,
    samples: Sequence[Sample],
    accepted: Mapping[str, Range],
    scales: Sequence[int],
    recipe: dict[str, Any] | None,
    weights: Weights,
) -> tuple[dict[str, Any], bytes] | None:
    """How many samples, and what share of the accepted range, lie within one quantum of a constant
    that the model compares with; and the graph that tells it of any input.

    ``scales`` are the circuit's input scales, ``recipe`` its recipe if it counts in integers.
    """
    quantum: Mapping[str, Any] | float = 2.0 ** -min(scales)
    if recipe is not None and recipe.get("argument") == ARGUMENT:
        quantum = committed_quanta(graph, recipe, samples, weights)
    elif recipe is not None:
        quantum = lower(graph.plain, _bits(recipe), accepted, write=False).compared
    near = near_thresholds(graph.plain, samples, quantum, accepted)
    telling = near_graph(graph.plain, quantum)
    return None if near is None or telling is None else (asdict(near), telling)


def _bits(recipe: dict[str, Any]) -> BitWidths:
    return BitWidths.from_json(recipe["bits"])


def _forms(graph: FloatGraph, task: LoweringTask, choice: BitWidths) -> list[GraphVariant]:
    """The model in the forms worth layouts, the most promising first."""

    def make(tables: bool) -> GraphVariant:
        return lower(graph.plain, choice, task.accepted, tables=tables)

    candidates = estimate_options(make)
    chosen = within_factor(candidates)
    if task.salt:
        # Salt hides what tables hold, and not what decompositions do: one form without them.
        tabled = [(s, made) for s, made in candidates if made.value_bounds.decomposed <= 1]
        known = [made.tables for made in chosen]
        chosen += [made for made in within_factor(tabled)[:1] if made.tables not in known]
    return chosen


def _integer_graph(graph: FloatGraph, task: LoweringTask, variant: GraphVariant) -> LoweredGraph:
    laid_out = lay_out(
        graph,
        variant,
        task.accepted,
        task.limbs,
        task.visibility,
        salt=task.salt,
        checked=task.checked,
    )
    answers = _outputs(variant, task.held_out)
    return replace(laid_out, answers=answers, estimated_s=estimate(variant))


def lay_out(
    graph: FloatGraph,
    variant: GraphVariant,
    accepted: Mapping[str, Range],
    limbs: int,
    visibility: Visibility,
    *,
    salt: bool = False,
    checked: bool = False,
) -> LoweredGraph:
    """The engine's graph for a lowered one: with the context's input and what bounds that which is
    not shown. ``salt``: tables are to be salted, if they can be; ``checked``: inputs and outputs
    are decomposed."""
    onnx = bind_context(variant.onnx, limbs, expose=not visibility.shows_input)
    bounds = variant.value_bounds
    own: tuple[AppliedPass, ...] = ()
    hidden = None
    decomposed, lookup_range = bounds.decomposed, bounds.lookup
    if not visibility.shows_input:
        own = (BOUND_INPUTS,)
        named = zip(accepted.items(), variant.input_scales, strict=True)
        limits = [Bound.of(name, range_, scale) for (name, range_), scale in named]
        widest = max(b.high - b.low for b in limits)
        decomposes = bounds.decomposed > 1
        by_table = (
            variant.scale == 0
            and widest <= _WIDEST_TABLE
            and (not decomposes or count_elements(variant.onnx) >= _TABLE_PAYS)
        )
        salted = salt and by_table and not decomposes
        onnx = bound_inputs(onnx, limits, by_table=by_table, salted=salted)
        if by_table:
            low, high = bounds.lookup or (0, 0)
            lookup_range = min(low, -widest), max(high, 1)
        else:
            decomposed = max(decomposed, widest)
        tables = {op.split()[0] for op in variant.lookups} | {"HardSwish"}
        hidden = Hidden(
            inputs="table" if by_table else "digits", salted_tables=len(tables) if salted else 0
        )
    largest = max(decomposed, bounds.largest if checked else 0)
    return LoweredGraph(
        label=variant.label,
        onnx=onnx,
        passes=(*graph.passes[:-1], *variant.passes, graph.passes[-1], *own),
        inputs=graph.encodings(variant.input_scales, accepted),
        outputs=graph.decodings(variant.output_scales),
        scale=variant.scale,
        bound_bits=max(1, largest.bit_length()),
        lookup_range=lookup_range,
        recipe={"bits": variant.bits.to_json(), "tables": variant.tables},
        hidden=hidden,
    )


def bound_float(
    onnx: bytes, accepted: Mapping[str, Range], scales: Sequence[int]
) -> tuple[bytes, AppliedPass] | str:
    """A graph for the engine's own fixed point in which what is not shown is bounded: its inputs,
    which the engine will count in steps of ``2^-scale``. The reason where a bound cannot be
    written."""
    limits = [
        replace(Bound.of(name, range_, scale), scale=scale)
        for (name, range_), scale in zip(accepted.items(), scales, strict=True)
    ]
    try:
        return bound_inputs(onnx, limits, by_table=False), BOUND_INPUTS
    except ValueError as error:
        return str(error)


def _outputs(variant: GraphVariant, samples: Sequence[Sample]) -> list[list[NDArray[Any]]]:
    """The outputs of the circuit for each sample, exact, in the model's units."""
    if not samples:
        return []
    scales = dict(zip(samples[0], variant.input_scales, strict=True))
    feeds = {n: quantised(np.stack([s[n] for s in samples]), k) for n, k in scales.items()}
    columns = [
        np.ldexp(np.asarray(o, dtype=np.float64), -k)
        for o, k in zip(run_integers(variant, feeds), variant.output_scales, strict=True)
    ]
    return [[c[i] for c in columns] for i in range(len(samples))]
