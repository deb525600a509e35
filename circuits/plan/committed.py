"""The road to circuits with committed hints: a size and an arithmetic at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from circuits.calibration.accuracy import compare
from circuits.calibration.samples import corner_samples
from circuits.engine.port import LayoutStats, RunArgs
from circuits.errors import EngineError
from circuits.format.commitments import columns
from circuits.format.manifest import AppliedPass
from circuits.format.profile import Profile
from circuits.lower.committed.candidates import LEAST_LOGROWS, CommittedGraph
from circuits.lower.graphs import FloatGraph
from circuits.plan.integers import integer_task
from circuits.plan.variants import (
    BOUND_SAMPLES,
    LoweredCandidate,
    Network,
    Rejected,
    Task,
    base_args,
)

COMMITTED_GRAPHS = "circuits.lower.committed.candidates:committed_graphs"
COMMITTED = AppliedPass(name="commit-hints", version=1)
#: No number is decomposed; the engine wants digits all the same.
_BASE, _LEGS = 4, 2
#: Columns of committed elements: hints, and challenges.
_LEAST_COMMITTED = 2


def committed(task: Task, graph: FloatGraph) -> Iterator[LoweredCandidate | Rejected]:
    """Circuits with committed hints that keep the tolerance."""
    task.say("committed hints")
    shown, weights = task.profile.visibility.shows_input, task.profile.weights
    made: list[CommittedGraph] | str
    try:
        made = task.engine.sandbox.call(
            COMMITTED_GRAPHS, graph, integer_task(task), shown, weights, limits=task.limits
        )
    except EngineError as error:  # a plain circuit may serve all the same
        if task.profile.must_commit:
            raise
        made = error.detail
    if isinstance(made, str):
        yield Rejected(label="committed hints", reason=made)
        return
    if not made:
        yield Rejected(label="committed hints", reason="no size is exact enough and small enough")
    for candidate in made:
        yield _judged(task, graph, candidate)


def committed_args(
    profile: Profile, logrows: int, columns: int, lookup_range: tuple[int, int]
) -> RunArgs:
    """The engine's settings for a circuit with committed hints."""
    profile = profile.chosen(committed=True)
    args = base_args(profile, input_scale=0, param_scale=0, scale_rebase_multiplier=1)
    return replace(
        args,
        logrows=logrows,
        num_inner_cols=columns,
        decomp_base=_BASE,
        decomp_legs=_LEGS,
        lookup_range=lookup_range,
    )


def least_shape(profile: Profile) -> LayoutStats:
    """What every circuit with committed hints costs at least."""
    return _shape(committed_args(profile, LEAST_LOGROWS, 1, (0, 1)), 0, _LEAST_COMMITTED)


def committed_shape(profile: Profile, made: CommittedGraph) -> LayoutStats:
    """The graph's shape by its own count, without asking the engine."""
    args = committed_args(profile, made.logrows, made.columns, made.lookup_range)
    committed = sum(columns(size, made.logrows) for size in made.claim.sizes)
    return _shape(args, made.cells, committed)


def _shape(args: RunArgs, cells: int, committed: int) -> LayoutStats:
    return LayoutStats(
        args=args,
        settings="",
        rows=-(-cells // args.num_inner_cols),
        assignments=cells,
        constants=0,
        dynamic_size=0,
        lookups=("table",),
        range_checks=(),
        input_scales=(),
        output_scales=(),
        instance_shapes=(),
        committed=committed,
    )


def _judged(task: Task, graph: FloatGraph, made: CommittedGraph) -> LoweredCandidate | Rejected:
    measured = compare(task.reference["held_out"], made.outputs, decisive=task.decisive)
    if not measured.meets(task.profile):
        return Rejected(label=made.label, reason="not exact enough", measured=measured)
    return LoweredCandidate(
        label=made.label,
        onnx=made.onnx,
        passes=(*graph.passes[:-1], COMMITTED),
        args=committed_args(task.profile, made.logrows, made.columns, made.lookup_range),
        inputs=made.inputs,
        context=task.context,
        outputs=task.decodings(made.output_scales),
        bound_bits=1,
        lookup_range=made.lookup_range,
        proven=False,
        measured=measured,
        samples=tuple(
            task.encode(made.inputs, s)
            for s in [*corner_samples(made.inputs), *task.samples.held_out[:BOUND_SAMPLES]]
        ),
        recipe=made.recipe,
        network=Network(
            data=made.network, claim=made.claim, shape=committed_shape(task.profile, made)
        ),
    )
