"""The compiler's doors, called inside sandbox children: plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.samples import Range, Sample, default_ranges
from circuits.cost.assignments import IntegerLayers
from circuits.cost.fixed_point import Count
from circuits.cost.integers import cost_by_layer
from circuits.engine.port import LayoutStats
from circuits.format.hidden import Hidden
from circuits.format.hints import Hints, HintSpec
from circuits.format.manifest import AppliedPass
from circuits.format.profile import Visibility
from circuits.lower import (
    BitWidths,
    CannotLower,
    GraphVariant,
    LoweringOptions,
    choose_bits,
    lower,
    run_integers,
)
from circuits.lower.bits import keeps_tolerance, quantised
from circuits.lower.committed.candidates import committed_cells
from circuits.lower.graphs import FloatGraph, IntegerGraph, IntegerTask
from circuits.lower.thresholds import near_graph, near_thresholds
from circuits.plan.fitting import fitted
from circuits.plan.lowering_options import (
    default_options,
    shapes,
    tabulable_relus,
    weigh_forms,
    within_factor,
)
from circuits.rewrite import bind_context, rewrite
from circuits.rewrite.hidden_values import (
    Bound,
    bound_inputs,
    count_elements,
    largest_number,
    tie_weights,
)

_TYPICAL = BitWidths(input=5, weights=(8,))
#: Bits of a digit in the engine's usual decomposition.
_DIGIT_BITS = 14
_BOUND = AppliedPass(name="bind-context", version=1)
_HANDED_ON = AppliedPass(name="hand-on-context", version=1)
#: Its two places: here, and where a graph is left to the engine's own fixed point.
BOUND_INPUTS = AppliedPass(name="bound-inputs", version=1)
TIED_WEIGHTS = AppliedPass(name="tie-weights", version=1)
#: Entries beyond which no table is made to bound an input.
_WIDEST_TABLE = 1 << 16
#: Elements from which on a table of its own costs less than decompositions: 5 assignments an
#: element and a lookup argument, against 40.
_TABLE_PAYS = 256


def float_graph(
    model: bytes, samples: Sequence[Sample], limbs: int, expose: bool = False
) -> FloatGraph:
    """The model after every float pass, each compared with the original on ``samples``.

    ``expose``: the inputs are not public, so the context goes out as the first output.
    """
    rewritten = rewrite(model, samples)
    return FloatGraph(
        onnx=bind_context(rewritten.onnx, limbs, expose=expose),
        plain=rewritten.onnx,
        passes=(*rewritten.passes, _HANDED_ON if expose else _BOUND),
        signature=rewritten.signature,
        reference=rewritten.reference,
    )


def integer_graphs(
    graph: FloatGraph,
    task: IntegerTask,
) -> list[IntegerGraph] | str:
    """Graphs of integers that keep the tolerance on the planning samples, cheapest bits first.

    Each in the forms that may pay: convolutions as such or as matrix products, the first ReLUs as
    tables. Where an operator is no map of integers the answer is the reason: the model then takes
    the other road.
    """
    try:
        choices = choose_bits(graph.plain, task.plan, task.accepted, task.max_error, task.agreement)
        choices = [choice.finer(task.finer) for choice in choices]
        return [
            made
            for choice in choices
            for bits, form in _forms(graph, task, choice)
            for made in _held_or_not(graph, task, bits, form)
        ]
    except CannotLower as error:
        return error.detail


def typical_integers(graph: FloatGraph, task: IntegerTask) -> IntegerGraph | str:
    """An integer graph with bits that most models do well with: for pricing, not for proving."""
    try:
        form = default_options(
            lambda form: lower(graph.plain, _TYPICAL, task.accepted, form),
            hints=task.hints,
        )
        return _integer_graph(graph, task, _TYPICAL, form)
    except CannotLower as error:
        return error.detail


def likely_shapes(graph: FloatGraph, task: IntegerTask) -> list[LayoutStats]:
    """Shapes of an integer graph with bits that most models do well with, by count; none where
    there is no such graph."""
    try:
        variant = lower(graph.plain, _TYPICAL, task.accepted, LoweringOptions(hints=task.hints))
    except CannotLower:
        return []
    return shapes(variant)


def count_integers(graph: FloatGraph, task: IntegerTask) -> Count | None:
    """The cells of an integer graph with typical bits; None where there is no such form."""
    try:
        variant = lower(graph.plain, _TYPICAL, task.accepted, LoweringOptions(hints=task.hints))
    except CannotLower:
        return None
    layers = cost_by_layer(variant, _legs(variant))
    return Count(
        cells=sum(layer.assignments for layer in layers),
        tables=len(variant.lookups),
        constants=0,
        nodes=len(variant.sources),
    )


def _legs(variant: GraphVariant) -> int:
    return max(2, -(-variant.value_bounds.decomposed.bit_length() // _DIGIT_BITS))


def layer_costs(model: bytes) -> tuple[bytes, IntegerLayers | str, int | None]:
    """The rewritten model, its integer graph with typical bits and each layer's cost, for inputs of
    -1…1 (or 0…1), or why there is none, and the cells of a circuit with committed hints."""
    rewritten = rewrite(model)
    accepted = default_ranges(rewritten.signature)
    committed = committed_cells(rewritten.onnx, rewritten.signature, accepted)
    try:
        variant = lower(rewritten.onnx, _TYPICAL, accepted)
    except CannotLower as error:
        return rewritten.onnx, error.detail, committed
    legs = _legs(variant)
    layers = [asdict(c) for c in cost_by_layer(variant, legs)]
    lowered = IntegerLayers(onnx=variant.onnx, legs=legs, scale=variant.scale, layers=layers)
    return rewritten.onnx, lowered, committed


def thresholds(
    graph: FloatGraph,
    samples: Sequence[Sample],
    accepted: Mapping[str, Range],
    scales: Sequence[int],
    recipe: dict[str, Any] | None,
) -> tuple[dict[str, Any], bytes] | None:
    """How many samples, and what share of the accepted range, lie within one quantum of a constant
    that the model compares with; and the graph that tells it of any input.

    ``scales`` are the circuit's input scales, ``recipe`` its recipe if it counts in integers.
    """
    quantum: Mapping[str, Any] | float = 2.0 ** -min(scales)
    if recipe is not None:
        quantum = lower(graph.plain, _bits(recipe), accepted).compared
    near = near_thresholds(graph.plain, samples, quantum, accepted)
    telling = near_graph(graph.plain, quantum)
    return None if near is None or telling is None else (asdict(near), telling)


def _bits(recipe: dict[str, Any]) -> BitWidths:
    return BitWidths.from_json(recipe["bits"])


def _forms(
    graph: FloatGraph, task: IntegerTask, choice: BitWidths
) -> list[tuple[BitWidths, LoweringOptions]]:
    """The forms worth pricing, the most promising first: with the bits chosen, and with steps a
    little longer where a table just fits then."""

    def make(bits: BitWidths, form: LoweringOptions) -> GraphVariant:
        return lower(graph.plain, bits, task.accepted, form)

    def weighed(
        bits: BitWidths, tables: Container[int] | None = None
    ) -> Iterator[tuple[float, tuple[BitWidths, LoweringOptions]]]:
        forms = weigh_forms(
            partial(make, bits),
            has_conv=b"Conv" in graph.plain,
            tables=tables,
            hints=int(task.hints),
        )
        return ((seconds, (bits, form)) for seconds, form in forms)

    candidates = list(weighed(choice))
    if tables := tabulable_relus(make(choice, LoweringOptions())):
        exact_enough = keeps_tolerance(
            graph.plain, task.plan, task.accepted, task.max_error, task.agreement
        )
        for bits, count in fitted(choice, make, exact_enough, tables):
            candidates += weighed(bits, (count,))
    chosen = within_factor(candidates)
    if task.salt:
        # Salt hides what tables hold, and not what decompositions do: one form without them.
        tabled = [(s, c) for s, c in candidates if make(*c).value_bounds.decomposed <= 1]
        chosen += [c for c in within_factor(tabled)[:1] if c not in chosen]
    return chosen


def _held_or_not(
    graph: FloatGraph, task: IntegerTask, bits: BitWidths, form: LoweringOptions
) -> Iterator[IntegerGraph]:
    """A graph, and the same with wider tables and nothing spent on keeping them narrow."""
    held = _integer_graph(graph, task, bits, form)
    yield held
    if not held.scale:
        return
    try:
        free = _integer_graph(graph, task, bits, replace(form, saturate=False))
    except CannotLower:
        return
    if free.onnx != held.onnx:
        yield free


def _integer_graph(
    graph: FloatGraph, task: IntegerTask, bits: BitWidths, form: LoweringOptions
) -> IntegerGraph:
    variant = lower(graph.plain, bits, task.accepted, form)
    recipe = {"bits": bits.to_json(), "form": asdict(form)}
    lowering = variant.passes
    laid_out = lay_out(variant, task.accepted, task.limbs, task.visibility, salt=task.salt)
    return IntegerGraph(
        label=variant.label,
        onnx=laid_out.onnx,
        passes=(*graph.passes[:-1], *lowering, graph.passes[-1], *laid_out.passes),
        input_scales=variant.input_scales,
        output_scales=variant.output_scales,
        bound=max(laid_out.decomposed, variant.value_bounds.largest if task.checked else 0),
        lookup_range=laid_out.lookup_range,
        recipe=recipe,
        outputs=_outputs(variant, task.held_out),
        scale=variant.scale,
        given=given(variant),
        hidden=laid_out.hidden,
    )


@dataclass(frozen=True, kw_only=True)
class LaidOut:
    """What the engine lays out of a lowered graph: with the context's input and, where inputs are
    not shown, with what bounds them (``passes`` says so). ``decomposed`` and ``lookup_range`` are
    as in ``ValueBounds``, all that is added included."""

    onnx: bytes
    passes: tuple[AppliedPass, ...]
    decomposed: int
    lookup_range: tuple[int, int] | None
    hidden: Hidden | None


def lay_out(
    variant: GraphVariant,
    accepted: Mapping[str, Range],
    limbs: int,
    visibility: Visibility,
    *,
    salt: bool = False,
) -> LaidOut:
    """The engine's graph for a lowered one. ``salt``: tables are to be salted, if they can be."""
    onnx = bind_context(
        variant.laid_out,
        limbs,
        expose=not visibility.shows_input,
        behind=len(variant.input_scales),
    )
    bounds = variant.value_bounds
    if visibility.shows_input:
        tied = not visibility.shows_weights
        largest = largest_number(onnx) if tied else 0
        return LaidOut(
            onnx=tie_weights(onnx) if tied else onnx,
            passes=(TIED_WEIGHTS,) if tied else (),
            decomposed=max(bounds.decomposed, largest),
            lookup_range=bounds.lookup,
            hidden=Hidden(weights=largest) if tied else None,
        )
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
    low, high = bounds.lookup or (0, 0)
    tables = {op.split()[0] for op in variant.lookups} | {"HardSwish"}
    return LaidOut(
        onnx=onnx,
        passes=(BOUND_INPUTS,),
        decomposed=bounds.decomposed if by_table else max(bounds.decomposed, widest),
        lookup_range=(min(low, -widest), max(high, 1)) if by_table else bounds.lookup,
        hidden=Hidden(
            inputs="table" if by_table else "digits", salted_tables=len(tables) if salted else 0
        ),
    )


def bound_float(
    onnx: bytes, accepted: Mapping[str, Range], scales: Sequence[int], visibility: Visibility
) -> tuple[bytes, AppliedPass] | str:
    """A graph for the engine's own fixed point in which what is not shown is bounded: its inputs,
    which the engine will count in steps of ``2^-scale``, or its weights. The reason where a bound
    cannot be written."""
    if visibility.shows_input:
        return tie_weights(onnx), TIED_WEIGHTS
    limits = [
        replace(Bound.of(name, range_, scale), scale=scale)
        for (name, range_), scale in zip(accepted.items(), scales, strict=True)
    ]
    try:
        return bound_inputs(onnx, limits, by_table=False), BOUND_INPUTS
    except ValueError as error:
        return str(error)


def given(variant: GraphVariant) -> HintSpec | None:
    """What is given to a lowered graph beside its inputs; None where nothing is."""
    hinted = variant.hinted
    if hinted is None:
        return None
    claim = Hints(
        residues=hinted.residues,
        results=hinted.results,
        challenged=hinted.challenged,
        output_bounds=hinted.output_bounds,
        most_bits=hinted.most_bits,
        lookup=hinted.lookup,
    )
    return HintSpec(graph=hinted.hints, claim=claim)


def _outputs(variant: GraphVariant, samples: Sequence[Sample]) -> list[list[NDArray[Any]]]:
    """What the circuit would answer for each sample, exactly, in the model's units."""
    if not samples:
        return []
    scales = dict(zip(samples[0], variant.input_scales, strict=True))
    feeds = {n: quantised(np.stack([s[n] for s in samples]), k) for n, k in scales.items()}
    columns = [
        np.ldexp(np.asarray(o, dtype=np.float64), -k)
        for o, k in zip(run_integers(variant, feeds), variant.output_scales, strict=True)
    ]
    return [[c[i] for c in columns] for i in range(len(samples))]
