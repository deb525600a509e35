"""The lowering path to integers, the main one: graphs of integers for the engine at scale 0.

We quantise input and weights ourselves (``circuits.lower``). Nothing is rescaled, the circuit's
outputs are known without running the engine, and interval arithmetic proves how large its numbers
get. Functions that do not map integers to integers are looked up in tables; for these the engine's
witnesses show how exact a graph is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.engine.port import RunArgs
from circuits.errors import EngineError
from circuits.format.profile import Target
from circuits.lower.graphs import LoweredGraph
from circuits.plan.graphs import integer_graphs
from circuits.plan.lowered_candidates import LoweredCandidate, Rejected, Task, integer_args, judged

#: Each sample's outputs.
Answers = list[list[NDArray[Any]]]

#: Bits that are added to each layer where the samples planned on asked for too few.
_MORE_BITS = (2, 4, 6)
#: Assignments that simulating one graph's held-out samples may take; at least ``_QUICK`` are run.
_MEASURE_CELLS, _QUICK = 8_000_000, 8
#: By how much the estimate of a graph may be off, against that of another of the same model.
_SLOWER = 1.1


def integers(task: Task) -> Iterator[LoweredCandidate | Rejected]:
    """Every choice of bits and options that keeps the tolerance."""
    task.say("choosing bits for each layer")
    made = task.engine.sandbox.run(task.limits, integer_graphs, task.graph, task.lowering)
    if isinstance(made, str):
        yield Rejected(label="integers", reason=made)
        return
    if not made:
        yield Rejected(label="integers", reason="no choice of bits is exact enough")
    tried = _all_judged(task, made)
    yield from tried
    yield from _finer(task, tried)


def _finer(
    task: Task, tried: Sequence[LoweredCandidate | Rejected]
) -> Iterator[LoweredCandidate | Rejected]:
    """More bits, where those that did for the samples planned on do not for the held-out ones."""
    for bits in _MORE_BITS:
        if not tried or any(isinstance(t, LoweredCandidate) or t.measured is None for t in tried):
            return
        task.say(f"{bits} more bits for each layer")
        wanted = replace(task.lowering, finer=bits)
        made = task.engine.sandbox.run(task.limits, integer_graphs, task.graph, wanted)
        if isinstance(made, str) or not made:
            return
        tried = _all_judged(task, made)
        yield from tried


def _all_judged(task: Task, made: Sequence[LoweredGraph]) -> list[LoweredCandidate | Rejected]:
    """How exact graphs are, in their order: without those that are clearly slower than an exact one
    before them, as far as it is speed that counts."""
    witnessed: dict[bytes, Answers] = {}
    tried: list[LoweredCandidate | Rejected] = []
    fastest = math.inf
    weighs = task.profile.target is Target.SPEED and not task.lowering.salt
    for graph in made:
        if weighs and graph.estimated_s > _SLOWER * fastest:
            tried.append(Rejected(label=graph.label, reason="estimated no faster than another"))
            continue
        found = _judged(task, graph, witnessed)
        tried.append(found)
        if isinstance(found, LoweredCandidate):
            fastest = min(fastest, graph.estimated_s)
    return tried


def _judged(
    task: Task, graph: LoweredGraph, witnessed: dict[bytes, Answers]
) -> LoweredCandidate | Rejected:
    """How exact a graph is. ``witnessed`` holds the engine's answers by our own: forms of one graph
    give the same, so that one of them is enough to run."""
    answers: Answers = graph.answers
    assert graph.scale is not None
    args = integer_args(task.profile, graph.scale)
    if graph.scale:
        ours = b"".join(np.ascontiguousarray(o).tobytes() for sample in answers for o in sample)
        if ours not in witnessed:
            found = _witnessed(task, graph, args)
            if isinstance(found, str):  # of this form: another may be laid out
                return Rejected(label=graph.label, reason=found)
            witnessed[ours] = found
        answers = witnessed[ours]
    return judged(task, graph, args, answers, proven=True)


def _witnessed(task: Task, graph: LoweredGraph, args: RunArgs) -> Answers | str:
    """The engine's own answers for the held-out samples (as many as time allows), or why one has
    none. Tables are computed in floating point, which two programs may round apart."""
    (layout,) = task.engine.measure_layout(graph.onnx, [args], task.limits)
    if isinstance(layout, EngineError):
        return layout.detail
    count = max(_QUICK, _MEASURE_CELLS // max(1, layout.assignments))
    encoded = [task.encode(graph.inputs, s) for s in task.samples.held_out[:count]]
    answers = []
    for run in task.engine.simulate(graph.onnx, layout.settings, encoded, task.limits):
        if isinstance(run, EngineError):
            return run.detail
        felts = graph.model_outputs(run.outputs)
        answers.append([d.decode(f) for d, f in zip(graph.outputs, felts, strict=True)])
    return answers
