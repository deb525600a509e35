"""The lowering path to committed hints, which chooses size and number formats together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from circuits.calibration.accuracy import Measured
from circuits.engine.port import LayoutStats, RunArgs
from circuits.errors import EngineError
from circuits.format.commitments import columns
from circuits.format.profile import Profile
from circuits.lower.committed.choosing.candidates import LEAST_LOGROWS, committed_graphs
from circuits.lower.graphs import LoweredGraph
from circuits.plan.lowered_candidates import LoweredCandidate, Rejected, Task, integer_args, judged

#: No number is decomposed; the engine wants digits all the same.
_BASE, _LEGS = 4, 2
#: Columns of committed elements: hints, and challenges.
_LEAST_COMMITTED = 2


def committed(task: Task) -> Iterator[LoweredCandidate | Rejected]:
    """Circuits with committed hints that keep the tolerance."""
    task.say("committed hints")
    shown, weights = task.profile.visibility.shows_input, task.profile.weights
    made: list[LoweredGraph] | Measured | str
    try:
        made = task.engine.sandbox.run(
            task.limits, committed_graphs, task.graph, task.lowering, shown, weights
        )
    except EngineError as error:  # a plain circuit may serve all the same
        if task.profile.must_commit:
            raise
        made = error.detail
    if isinstance(made, str):
        yield Rejected(label="committed hints", reason=made)
        return
    if isinstance(made, Measured):
        yield Rejected(label="committed hints", reason="not exact enough", measured=made)
        return
    if not made:
        asked = task.profile.input_scale
        steps = "" if asked is None else f" with inputs in steps of 2^{-asked}"
        reason = f"no size is exact enough and small enough{steps}"
        yield Rejected(label="committed hints", reason=reason)
    for graph in made:
        args = committed_shape(task.profile, graph).args
        yield judged(task, graph, args, graph.answers, proven=False)


def committed_args(
    profile: Profile,
    logrows: int,
    columns: int,
    lookup_range: tuple[int, int],
    function: tuple[str, int] | None = None,
) -> RunArgs:
    """The engine's settings for a circuit with committed hints, and a table of this ``function``:
    all but what has been looked up in it is at scale 0."""
    args = integer_args(profile.chosen(committed=True), 0 if function is None else function[1])
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
    return shape_of(committed_args(profile, LEAST_LOGROWS, 1, (0, 1)), 0, _LEAST_COMMITTED, 1)


def committed_shape(profile: Profile, graph: LoweredGraph) -> LayoutStats:
    """The graph's shape by its own count, without asking the engine."""
    assert graph.size is not None
    assert graph.commitments is not None
    assert graph.lookup_range is not None
    logrows, inner, cells = graph.size
    claim = graph.commitments
    args = committed_args(profile, logrows, inner, graph.lookup_range, claim.function)
    committed = sum(columns(n, logrows) for n in claim.sizes)
    return shape_of(args, cells, committed, len(claim.tables))


def shape_of(args: RunArgs, cells: int, committed: int, tables: int) -> LayoutStats:
    """A circuit of so many cells and tables, with so many columns of committed elements."""
    return LayoutStats.counted(args, cells, lookups=("table",) * tables, committed=committed)
