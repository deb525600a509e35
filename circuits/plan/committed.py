"""The road to circuits with committed hints: a size and an arithmetic at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from circuits.engine.port import RunArgs
from circuits.lower.committed.candidates import CommittedGraph
from circuits.manifest import AppliedPass
from circuits.plan.accuracy import compare
from circuits.plan.graphs import FloatGraph
from circuits.plan.integers import integer_task
from circuits.plan.variants import Network, Rejected, Task, Variant, base_args
from circuits.profile import Profile
from circuits.tensors import InputEncoding

_LOWER = "circuits.lower.committed.candidates:committed_graphs"
COMMITTED = AppliedPass(name="commit-hints", version=1)
#: No number is decomposed; the engine wants digits all the same.
_BASE, _LEGS = 4, 2


def committed(task: Task, graph: FloatGraph) -> Iterator[Variant | Rejected]:
    """Circuits with committed hints that keep the tolerance."""
    task.say("committed hints")
    shown, weights = task.profile.visibility.shows_input, task.profile.weights
    made: list[CommittedGraph] | str = task.engine.sandbox.call(
        _LOWER, graph, integer_task(task), shown, weights, limits=task.limits
    )
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
    args = base_args(profile, input_scale=0, param_scale=0, scale_rebase_multiplier=1)
    return replace(
        args,
        logrows=logrows,
        num_inner_cols=columns,
        decomp_base=_BASE,
        decomp_legs=_LEGS,
        lookup_range=lookup_range,
    )


def _judged(task: Task, graph: FloatGraph, made: CommittedGraph) -> Variant | Rejected:
    measured = compare(task.reference["held_out"], made.outputs, decisive=task.decisive)
    if not measured.meets(task.profile):
        return Rejected(label=made.label, reason="not exact enough", measured=measured)
    inputs = tuple(
        InputEncoding(tensor=tensor, scale=scale, lower=lower, upper=upper)
        for tensor, scale, (lower, upper) in zip(
            task.signature.inputs, made.input_scales, made.accepted, strict=True
        )
    )
    return Variant(
        label=made.label,
        onnx=made.onnx,
        passes=(*graph.passes[:-1], COMMITTED),
        args=committed_args(task.profile, made.logrows, made.columns, made.lookup_range),
        inputs=inputs,
        context=task.context,
        outputs=task.decodings(made.output_scales),
        bound_bits=1,
        lookup_range=made.lookup_range,
        proven=False,
        measured=measured,
        samples=tuple(task.encode(inputs, s) for s in task.samples.held_out),
        recipe=made.recipe,
        network=Network(data=made.network, claim=made.claim),
    )
