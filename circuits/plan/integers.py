"""The integer road, the main one: graphs of integers for the engine at scale 0.

We quantise input and weights ourselves (``circuits.lower``). Nothing is rescaled, the circuit's
answers are known without running the engine, and interval arithmetic proves how large its numbers
get. Functions that are no maps of integers are looked up in tables; there the engine's own
witnesses say how exact a graph is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.accuracy import compare
from circuits.calibration.samples import corner_samples
from circuits.engine.port import RunArgs
from circuits.errors import EngineError
from circuits.format.manifest import model_outputs, residues_of
from circuits.format.tensors import InputEncoding
from circuits.lower.graphs import FloatGraph, IntegerGraph, IntegerTask
from circuits.plan.variants import BOUND_SAMPLES, LoweredCandidate, Rejected, Task, integer_args

#: Each sample's outputs.
Answers = list[list[NDArray[Any]]]

_LOWER = "circuits.compiler.process:integer_graphs"
#: Bits that are added to each layer where the samples planned on asked for too few.
_MORE_BITS = (2, 4, 6)
#: Assignments that simulating one graph's held-out samples may take; at least ``_QUICK`` are run.
_MEASURE_CELLS, _QUICK = 8_000_000, 8


def integers(task: Task, graph: FloatGraph) -> Iterator[LoweredCandidate | Rejected]:
    """The integer road: every choice of bits and form that keeps the tolerance."""
    task.say("choosing bits for each layer")
    made: list[IntegerGraph] | str = task.engine.sandbox.call(
        _LOWER, graph, integer_task(task), limits=task.limits
    )
    if not isinstance(made, str) and not _laid_out(task, made):
        # The engine simplifies what binds results away: then none are given.
        alone = replace(integer_task(task), hints=False)
        made = task.engine.sandbox.call(_LOWER, graph, alone, limits=task.limits)
    if isinstance(made, str):
        yield Rejected(label="integers", reason=made)
        return
    if not made:
        yield Rejected(label="integers", reason="no choice of bits is exact enough")
    witnessed: dict[bytes, Answers] = {}
    judged = [_judged(task, candidate, witnessed) for candidate in made]
    yield from judged
    yield from _finer(task, graph, judged)


def _finer(
    task: Task, graph: FloatGraph, judged: Sequence[LoweredCandidate | Rejected]
) -> Iterator[LoweredCandidate | Rejected]:
    """More bits, where those that did for the samples planned on do not for the held-out ones."""
    for bits in _MORE_BITS:
        if not judged or any(isinstance(j, LoweredCandidate) or j.measured is None for j in judged):
            return
        task.say(f"{bits} more bits for each layer")
        wanted = replace(integer_task(task), finer=bits)
        made = task.engine.sandbox.call(_LOWER, graph, wanted, limits=task.limits)
        if isinstance(made, str) or not made:
            return
        witnessed: dict[bytes, Answers] = {}
        judged = [_judged(task, candidate, witnessed) for candidate in made]
        yield from judged


def _laid_out(task: Task, made: Sequence[IntegerGraph]) -> bool:
    """Whether the engine lays out the first graph that is given results as it stands, if any is."""
    hinted = next((graph for graph in made if graph.given is not None), None)
    if hinted is None:
        return True
    args = integer_args(task.profile, hinted.scale)
    (priced,) = task.engine.measure_layout(hinted.onnx, [args], task.limits)
    return not isinstance(priced, EngineError)


def integer_task(task: Task) -> IntegerTask:
    """A task as the compiler's child sees it."""
    calibrated = task.samples.calibrated
    return IntegerTask(
        accepted=task.accepted,
        limbs=task.context.limbs,
        visibility=task.profile.visibility,
        hints=task.profile.shows_hidden_layers,
        salt=task.profile.salts_tables,
        checked=task.profile.checks_ranges,
        plan=task.samples.plan,
        held_out=task.samples.held_out,
        max_error=task.profile.max_error,
        # On drawn samples the top answer is judged by the planner, where it is decided at all.
        agreement=task.profile.agreement if calibrated else 0.0,
    )


def _judged(
    task: Task, graph: IntegerGraph, witnessed: dict[bytes, Answers]
) -> LoweredCandidate | Rejected:
    """How exact a graph is. ``witnessed`` holds the engine's answers by our own: forms of one graph
    give the same, so that one of them is enough to run."""
    outputs: Answers = graph.outputs
    inputs = task.encodings(graph.input_scales)
    args = integer_args(task.profile, graph.scale)
    if graph.scale:
        ours = b"".join(np.ascontiguousarray(o).tobytes() for sample in outputs for o in sample)
        if ours not in witnessed:
            found = _witnessed(task, graph, args, inputs)
            if isinstance(found, str):  # of this form: another may be laid out
                return Rejected(label=graph.label, reason=found)
            witnessed[ours] = found
        outputs = witnessed[ours]
    reference = task.reference["held_out"][: len(outputs)]
    measured = compare(reference, outputs, decisive=task.decisive)
    if not measured.meets(task.profile):
        return Rejected(label=graph.label, reason="not exact enough", measured=measured)
    tried = [*corner_samples(inputs), *task.samples.held_out[:BOUND_SAMPLES]]
    return LoweredCandidate(
        label=graph.label,
        onnx=graph.onnx,
        passes=graph.passes,
        args=args,
        inputs=inputs,
        context=task.context,
        outputs=task.decodings(graph.output_scales),
        bound_bits=max(1, graph.bound.bit_length()),
        lookup_range=graph.lookup_range,
        proven=True,
        measured=measured,
        samples=tuple(task.encode(inputs, s) for s in tried),
        recipe=graph.recipe,
        given=graph.given,
        hidden=graph.hidden,
    )


def _witnessed(
    task: Task, graph: IntegerGraph, args: RunArgs, inputs: tuple[InputEncoding, ...]
) -> Answers | str:
    """The engine's own answers for the held-out samples (as many as time allows), or why one has
    none. Tables are computed in floating point, which two programs may round apart."""
    (priced,) = task.engine.measure_layout(graph.onnx, [args], task.limits)
    if isinstance(priced, EngineError):
        return priced.detail
    decodings = task.decodings(graph.output_scales)
    count = max(_QUICK, _MEASURE_CELLS // max(1, priced.assignments))
    encoded = [task.encode(inputs, s) for s in task.samples.held_out[:count]]
    answers = []
    hints, claim = (None, None) if graph.given is None else (graph.given.graph, graph.given.claim)
    residues = residues_of(claim, graph.hidden)
    for run in task.engine.simulate(graph.onnx, priced.settings, encoded, task.limits, hints):
        if isinstance(run, EngineError):
            return run.detail
        felts = model_outputs(run.outputs, len(decodings), residues)
        answers.append([d.decode(f) for d, f in zip(decodings, felts, strict=True)])
    return answers
