"""Estimates what a circuit for a model costs, before any heavy work.

It predicts a few typical number formats instead of measuring which is exact enough. So an estimate
takes about a second and a plan may end up cheaper or more expensive by some tens of percent.
Graphs of integers are counted by their layers. One in fixed point is laid out by the engine or,
where that would take minutes, counted by formula (``circuits.cost.fixed_point``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from circuits.calibration.accuracy import Measured
from circuits.cost.fixed_point import Count, count
from circuits.cost.model import CostModel, Prediction
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits, RunArgs
from circuits.errors import EngineError, ModelTooLarge, NoPlan
from circuits.format.profile import Profile
from circuits.lower.committed.choosing.candidates import committed_graphs
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask
from circuits.plan.committed import committed_shape
from circuits.plan.graphs import count_integers, likely_shapes
from circuits.plan.layouts import Layouts, at_smallest
from circuits.plan.lowered_candidates import base_args

#: Bits that a fixed-point circuit at scale 7 decomposes: products rescaled, and not rescaled.
_FIXED_POINT = ((1, 28), (10, 56))
_TABLE = (-(1 << 14), 1 << 14)
#: Cells beyond which one shape is measured and the others are derived from it, and beyond which not
#: even one is: the engine counts about a million a second.
_MANY, _TOO_MANY = 100_000, 20_000_000
#: Rows of the largest circuit that the engine lays out.
_MOST_CELLS = 1 << 26
#: Nodes beyond which neither the engine is asked nor a committed circuit written: for so many that
#: takes seconds, for ten times as many minutes.
_MANY_NODES = 1_000
#: Digits of a large circuit: the table of one is no longer than the circuit is anyway.
_WIDE_DIGIT = 15


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The cheapest shape found: what it would cost, and whether it fits the limits given.

    ``argument``: ``committed`` or ``plain``. ``counted``: by whom its cells were counted,
    ``engine`` or ``formula``.
    """

    argument: str
    logrows: int
    columns: int
    predicted: Prediction
    setup_s: float
    fits: bool
    limit_bytes: int
    source: str
    error: dict[str, float]
    assignments: int = 0
    counted: str = "engine"

    @property
    def advice(self) -> str:
        """What would make it fit; empty when it does."""
        if self.fits:
            return ""
        gib = 1 << 30
        return (
            f"It needs about {self.predicted.peak_bytes / gib:.1f} GiB of the"
            f" {self.limit_bytes / gib:.1f} GiB allowed: raise ZKML_ENGINE_MEMORY_MB on a machine"
            " that has it, allow a larger error, or export a smaller model."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "argument": self.argument,
            "logrows": self.logrows,
            "columns": self.columns,
            "assignments": self.assignments,
            "counted": self.counted,
            **asdict(self.predicted),
            "setup_s": round(self.setup_s, 3),
            "fits": self.fits,
            "advice": self.advice,
            "limit_bytes": self.limit_bytes,
            "cost_model": {"source": self.source, "error": self.error},
        }


def estimate(
    engine: EzklEngine,
    graph: FloatGraph,
    task: LoweringTask,
    profile: Profile,
    limits: Limits,
    costs: CostModel,
) -> Estimate:
    """The cheapest typical shape of a model: with committed hints where the planner would choose
    them, by their own count, else as the engine prices it.

    Raises ``ModelTooLarge`` where the model fills more than 2^26 rows in every shape, ``NoPlan``
    where there is no circuit for another reason, or none of the profile's argument.
    """

    def cheapest(argument: str, shapes: Iterable[LayoutStats], counted: str) -> Estimate | None:
        found = [(costs.predict(p), p) for p in shapes]
        if not found:
            return None
        predicted, layout = min(found, key=lambda f: f[0].of(profile.target))
        return Estimate(
            argument=argument,
            logrows=layout.args.logrows,
            columns=layout.args.num_inner_cols,
            predicted=predicted,
            # Key generation transforms about the same columns once: it takes about as long as a
            # proof.
            setup_s=predicted.prove_s,
            fits=predicted.peak_bytes <= limits.memory_bytes,
            limit_bytes=limits.memory_bytes,
            source=costs.source,
            error=costs.error,
            assignments=layout.assignments,
            counted=counted,
        )

    size = graph_size(engine, graph, task, limits)
    many = size.nodes > _MANY_NODES
    committed, reason = None, ""
    if profile.may_commit and (profile.must_commit or not many):
        graphs: list[LoweredGraph] | Measured | str
        shown = profile.visibility.shows_input
        try:
            graphs = engine.sandbox.run(
                limits, committed_graphs, graph, task, shown, profile.weights
            )
        except EngineError as error:
            graphs = error.detail
        made = graphs if isinstance(graphs, list) else []
        reason = f": {graphs}" if isinstance(graphs, str) else ""
        shapes = (committed_shape(profile, found) for found in made)
        committed = cheapest("committed", shapes, "formula")
        if committed is None and profile.must_commit:
            raise NoPlan(graphs if isinstance(graphs, str) else "no committed circuit is exact")
        if committed and (profile.must_commit or not profile.visibility.shows_input):
            return committed
    plain = cheapest("plain", *_plain_shapes(engine, graph, task, profile, limits, size))
    if committed and plain:
        target = profile.target
        return min(committed, plain, key=lambda e: (not e.fits, e.predicted.of(target)))
    found = committed or plain
    if found is None and size.cells > _MOST_CELLS:
        raise ModelTooLarge(
            f"no shape of this model fits 2^26 rows: it fills about {size.cells:,} cells",
            advice="Export a smaller model: fewer channels, a smaller image, fewer steps.",
        )
    if found is None:
        raise NoPlan(
            f"the estimate found no circuit for this model{reason}",
            advice="`zkml plan` with calibration data says what each candidate lacks.",
        )
    return found


def _plain_shapes(
    engine: EzklEngine,
    graph: FloatGraph,
    task: LoweringTask,
    profile: Profile,
    limits: Limits,
    size: Count,
) -> tuple[list[LayoutStats], str]:
    """Typical shapes of a model without committed hints, and who counted their cells: of a graph of
    integers by its layers, of one in fixed point the engine, unless that would take minutes."""
    integers = engine.sandbox.run(limits, likely_shapes, graph, task)
    if integers or size.cells > _TOO_MANY or size.nodes > _MANY_NODES:
        return integers or list(_counted_shapes(size, profile)), "formula"
    layouts = Layouts(engine=engine, limits=limits, profile=profile)
    found: list[LayoutStats] = []
    for multiplier, bits in _FIXED_POINT:
        args = base_args(profile, input_scale=7, param_scale=7, scale_rebase_multiplier=multiplier)
        if size.cells > _MANY:
            found += _few_shapes(engine, graph.onnx, args, bits, limits)
        else:
            found += layouts.shapes(graph.onnx, args, bits, _TABLE)
    return found, "engine"


def graph_size(engine: EzklEngine, graph: FloatGraph, task: LoweringTask, limits: Limits) -> Count:
    """The cells that the model's cheaper form fills, by formula: in integers where it has such a
    form, else in the engine's fixed point. Takes a fraction of a second."""
    integers = engine.sandbox.run(limits, count_integers, graph, task)
    if integers is not None:
        return integers
    return engine.sandbox.run(limits, count, graph.plain)


def _counted_shapes(size: Count, profile: Profile) -> Iterator[LayoutStats]:
    """Shapes of a graph that the engine was not asked about."""
    args = base_args(profile, input_scale=7, param_scale=7, scale_rebase_multiplier=1)
    digits = replace(args, decomp_base=1 << _WIDE_DIGIT, decomp_legs=2)
    for columns in (1, 2):
        shape = at_smallest(
            LayoutStats.counted(
                replace(digits, num_inner_cols=columns, lookup_range=_TABLE),
                size.cells,
                lookups=("table",) * size.tables,
                range_checks=((-1, 1), (0, (1 << _WIDE_DIGIT) - 1)),
                constants=size.constants,
            )
        )
        if shape is not None:
            yield shape


def _few_shapes(
    engine: EzklEngine, onnx: bytes, args: RunArgs, bits: int, limits: Limits
) -> Iterator[LayoutStats]:
    """One and two columns of the widest sensible digits, for the price of one count."""
    legs = max(2, math.ceil(bits / _WIDE_DIGIT))
    draft = replace(
        args,
        decomp_base=1 << math.ceil(bits / legs),
        decomp_legs=legs,
        num_inner_cols=1,
        lookup_range=_TABLE,
    )
    (layout,) = engine.measure_layout(onnx, [draft], limits)
    if not isinstance(layout, LayoutStats):
        return
    for columns in (1, 2):
        shape = replace(
            layout,
            args=replace(draft, num_inner_cols=columns),
            rows=math.ceil(layout.rows / columns),
        )
        sized = at_smallest(shape)
        if sized is not None:
            yield sized
