"""The integer road, the main one: graphs of whole numbers for the engine at scale 0.

We quantise input and weights ourselves (``circuits.lower``). Nothing is rescaled, the circuit's
answers are known without running the engine, and interval arithmetic proves how large its numbers
get.
"""

from __future__ import annotations

from collections.abc import Iterator

from circuits.plan.accuracy import compare
from circuits.plan.graphs import FloatGraph, IntegerGraph, IntegerTask
from circuits.plan.variants import (
    BOUND_SAMPLES,
    Rejected,
    Task,
    Variant,
    base_args,
    corner_samples,
)

_LOWER = "circuits.compiler:integer_graphs"


def integers(task: Task, graph: FloatGraph) -> Iterator[Variant | Rejected]:
    """The integer road: every choice of bits and form that keeps the tolerance."""
    task.say("choosing bits for each layer")
    made: list[IntegerGraph] | str = task.engine.sandbox.call(
        _LOWER, graph, _integer_task(task), limits=task.limits
    )
    if isinstance(made, str):
        yield Rejected(label="integers", reason=made)
        return
    if not made:
        yield Rejected(label="integers", reason="no choice of bits is exact enough")
    for candidate in made:
        yield _judged(task, candidate)


def _integer_task(task: Task) -> IntegerTask:
    calibrated = task.samples.calibrated
    return IntegerTask(
        accepted=task.accepted,
        limbs=task.context.limbs,
        hand_on=not task.profile.visibility.shows_input,
        plan=task.samples.plan,
        held_out=task.samples.held_out,
        max_error=task.profile.max_error,
        # On drawn samples the top answer is judged by the planner, where it is decided at all.
        agreement=task.profile.agreement if calibrated else 0.0,
    )


def _judged(task: Task, graph: IntegerGraph) -> Variant | Rejected:
    measured = compare(task.reference["held_out"], graph.outputs, decisive=task.decisive)
    if not measured.meets(task.profile):
        return Rejected(label=graph.label, reason="not exact enough", measured=measured)
    inputs = task.encodings(graph.input_scales)
    tried = [*corner_samples(inputs), *task.samples.held_out[:BOUND_SAMPLES]]
    return Variant(
        label=graph.label,
        onnx=graph.onnx,
        passes=graph.passes,
        args=base_args(task.profile, input_scale=0, param_scale=0, scale_rebase_multiplier=1),
        inputs=inputs,
        context=task.context,
        outputs=task.decodings(graph.output_scales),
        bound_bits=max(1, graph.bound.bit_length()),
        lookup_range=graph.lookup_range,
        proven=True,
        measured=measured,
        samples=tuple(task.encode(inputs, s) for s in tried),
        recipe=graph.recipe,
    )
