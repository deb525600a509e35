"""A circuit rebuilt from its model: for an auditor who trusts neither operator nor stored files.

A verifying key means nothing without the settings beside it, and most of those (scales, shapes,
whether ranges are checked) leave no trace in the key. So a rebuild does not stop at the key: the
graph, the settings and the manifest's own words about number formats are derived again as well.
Check (34) of ``prover.verify`` compares the key.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.batching.vectorize import VECTORIZED, vectorize
from circuits.calibration.accuracy import FAR_OFF, MOST_SERVED, compare, output_range
from circuits.calibration.reference import run_reference
from circuits.calibration.samples import Range, Sample, draw
from circuits.committed.arithmetic import Steps
from circuits.compiler.recipe import Recipe, Recompiled, recompile_committed
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits, RunArgs, Simulated
from circuits.errors import CircuitNotFaithful, SrsMissing
from circuits.format.digests import canonical_json, sha256
from circuits.format.field import to_felt
from circuits.format.hidden import Hidden, hides
from circuits.format.manifest import CircuitManifest, SrsRef
from circuits.format.profile import Argument
from circuits.format.tensors import Signature, TensorSpec
from circuits.lower import BitWidths, lower
from circuits.lower.committed.reading.columns import within_columns
from circuits.lower.committed.reading.decisions import bits_for_decisions
from circuits.lower.graphs import FloatGraph, LoweredGraph
from circuits.plan.committed import committed_shape
from circuits.plan.graphs import bound_float, float_graph, lay_out
from circuits.plan.lowered_candidates import integer_args
from circuits.srs.files import SrsFolder
from circuits.srs.verify_part import extract

#: The settings that choose a circuit's shape and nothing of what it computes.
_SHAPE = ("logrows", "num_inner_cols", "decomp_base", "decomp_legs", "lookup_range")
#: Inputs that a rebuild compares a circuit with its model on.
_RANDOM_INPUTS = 32
_OTHER_COMPILER = "Another version of the compiler made it, or it is not what it is said to be."


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """``srs_part`` is what verification needs of the reference string that the key was made over,
    ``answer``: onnxruntime's outputs of the model for an input, each with the width that it has on
    random inputs."""

    vk: bytes
    srs_part: bytes
    answer: Callable[[Sample], list[tuple[NDArray[Any], float]]] | None = None


def recompiled_graph(model: bytes, samples: Sequence[Sample], recipe: Recipe) -> Recompiled:
    """The graph that a recipe stands for. Runs inside a sandbox child.

    ``samples`` only guard the float passes: what they give does not depend on them.
    """
    graph = float_graph(model, samples, recipe.limbs, recipe.expose, recipe.accepted)
    if recipe.argument is Argument.COMMITTED:
        lowered = recompile_committed(graph, recipe)
        return Recompiled(graph=lowered, signature=graph.signature, reference=graph.reference)
    if recipe.lowering is not None:
        chosen, tables = BitWidths.from_json(recipe.lowering["bits"]), recipe.lowering.get("tables")
        alike = {"bits": chosen.to_json(), "tables": bool(tables)}
        if canonical_json(recipe.lowering) != canonical_json(alike):
            raise CircuitNotFaithful(
                "the manifest's lowering is no recipe as this compiler has it",
                advice=_OTHER_COMPILER,
            )
        lowered = lay_out(
            graph,
            lower(graph.plain, chosen, recipe.accepted, tables=bool(tables)),
            recipe.accepted,
            recipe.limbs,
            recipe.visibility,
            salt=recipe.salt,
        )
        _tell_thresholds(graph, samples, lowered)
    else:
        onnx, passes, hidden = graph.onnx, graph.passes, None
        if not recipe.visibility.shows_input:
            bounded = bound_float(onnx, recipe.accepted, recipe.input_scales)
            if isinstance(bounded, str):
                raise CircuitNotFaithful(f"the accepted range cannot be enforced: {bounded}")
            onnx, passes = bounded[0], (*passes, bounded[1])
            hidden = Hidden(inputs="digits")
        lowered = LoweredGraph(
            label="", onnx=onnx, passes=passes, inputs=(), outputs=(), scale=None, hidden=hidden
        )
    if recipe.lanes > 1:
        batched = vectorize(lowered.onnx, recipe.lanes)
        lowered = replace(lowered, onnx=batched, passes=(*lowered.passes, VECTORIZED))
    return Recompiled(graph=lowered, signature=graph.signature, reference=graph.reference)


def _tell_thresholds(graph: FloatGraph, samples: Sequence[Sample], lowered: LoweredGraph) -> None:
    """Steps of inputs tell the thresholds apart that these are compared with: random inputs need
    not come between them. (``lower.committed.choosing.recompiling`` asks so of committed hints.)"""
    least = bits_for_decisions(graph.plain, samples[0]) if samples else {}
    for own in lowered.inputs:
        if np.any(least.get(own.tensor.name, np.array(own.scale)) > own.scale):
            raise CircuitNotFaithful(
                f"input {own.tensor.name!r} counts in steps that do not tell its thresholds apart"
            )


def _committed(made: LoweredGraph, manifest: CircuitManifest) -> None:
    """What a circuit with committed hints accepts: no other range than the manifest says."""
    accepted = [(i.lower, i.upper) for i in made.inputs]
    if made.commitments is not None and not _accepts(accepted, manifest):
        raise CircuitNotFaithful("the circuit's table accepts another range than the manifest says")


def _accepts(accepted: Sequence[Range], manifest: CircuitManifest) -> bool:
    stated = [(i.lower, i.upper) for i in manifest.inputs]
    if manifest.profile.visibility.shows_input:
        return all(
            low <= lower and upper <= high
            for (low, high), (lower, upper) in zip(accepted, stated, strict=True)
        )
    return [*accepted] == stated


def rebuild(
    engine: EzklEngine,
    srs: SrsFolder,
    model: bytes,
    manifest: CircuitManifest,
    settings: bytes,
    reference: SrsRef,
    limits: Limits,
) -> Rebuilt:
    """The verifying key rebuilt: from the ONNX as uploaded, under frozen settings.

    On the way it derives again, and compares: the graph, the passes, the tensors' names, types,
    shapes and scales, and every one of the settings but the engine's own choices in ``run_args``,
    which are taken as they are (the key is made under them). What is not compared, because it does
    not follow from the model: the accuracy measured and, in the engine's own fixed point, the
    bounds of the accepted range.

    Raises ``SrsMissing`` when the reference string is not in the folder, ``CircuitNotFaithful``
    when one of these is not what manifest and settings say.
    """
    source = next((f for f in srs.files() if f.sha256 == reference.sha256), None)
    if source is None:
        raise SrsMissing(
            f"the reference string {reference.sha256} (k = {reference.logrows},"
            f" {reference.origin}) is not on this machine",
            logrows=reference.logrows,
        )
    recompiled = _compile(engine, model, manifest, limits)
    made = recompiled.graph
    frozen = json.loads(settings)
    args = RunArgs.of(frozen)
    if made.commitments is not None:
        if args != committed_shape(manifest.profile, made).args:
            raise CircuitNotFaithful(
                "the settings' run_args are not those of the committed circuit"
            )
    elif made.scale is not None:
        _same_arithmetic(args, integer_args(manifest.profile, made.scale))
    _committed(made, manifest)
    _same_hidden(manifest, made.hidden, args)
    layout = _measured_layout(engine, made.onnx, frozen, limits)
    _same_settings(frozen, json.loads(layout.settings))
    _same_formats(manifest, recompiled, layout)
    if made.commitments is None and not manifest.profile.visibility.shows_input:
        _hold_to_model(engine, recompiled, manifest, layout, limits)
    with tempfile.TemporaryDirectory(prefix="zkml-rebuild-") as folder:
        out = Path(folder)
        engine.setup(made.onnx, settings.decode(), source.path, out, limits)
        vk = (out / "vk").read_bytes()

    def answer(inputs: Sample) -> list[tuple[NDArray[Any], float]]:
        samples = [dict(inputs), *_random_inputs(recompiled, manifest)]
        found, *others = engine.sandbox.run(limits, run_reference, recompiled.reference, samples)
        widths = [output_range(np.stack(outputs)) for outputs in zip(*others, strict=True)]
        return [*zip(found, widths, strict=True)]

    part = extract(source.path)
    return Rebuilt(vk=vk, srs_part=part, answer=answer)


def _random_inputs(recompiled: Recompiled, manifest: CircuitManifest) -> list[Sample]:
    """Inputs of the accepted range that no issuer can know."""
    accepted = Recipe.of(manifest).accepted
    drawn = draw(recompiled.signature, accepted, seed=secrets.randbits(64)).plan[:_RANDOM_INPUTS]
    if recompiled.graph.commitments is None or recompiled.graph.recipe is None:
        return [*drawn]
    steps = Steps.from_json(recompiled.graph.recipe["steps"])
    return within_columns(drawn, recompiled.signature, accepted, steps.inputs, steps.base)


def _hold_to_model(
    engine: EzklEngine,
    recompiled: Recompiled,
    manifest: CircuitManifest,
    layout: LayoutStats,
    limits: Limits,
) -> None:
    """Compares a circuit of hidden inputs with onnxruntime on random ones, loosely: whoever issued
    the recipe chose its steps, and nobody sees the input that the proof is about.

    (``circuits.lower.committed.choosing.recompiling`` does so for circuits with committed hints.)
    """
    samples = _random_inputs(recompiled, manifest)
    lanes, (low, high) = manifest.lanes, layout.args.lookup_range
    context = [manifest.context.encode(0) * lanes] if manifest.context.limbs else []
    encoded = [
        [
            *([to_felt(n) for n in i.quantise(s[i.tensor.name])] * lanes for i in manifest.inputs),
            *context,
        ]
        for s in samples
    ]
    served, got = [], []
    runs = engine.simulate(recompiled.graph.onnx, layout.settings, encoded, limits)
    for sample, made in zip(samples, runs, strict=True):
        if isinstance(made, Simulated) and (
            not layout.lookups or (low <= made.lookup_min and made.lookup_max <= high)
        ):
            felts = manifest.model_outputs(made.outputs)
            served.append(sample)
            got.append(
                [
                    o.decode(values[: o.tensor.size])
                    for o, values in zip(manifest.outputs, felts, strict=True)
                ]
            )
    if len(served) < MOST_SERVED * len(samples):
        raise CircuitNotFaithful(
            f"only {len(served)} of {len(samples)} random inputs in its range stay in its tables"
        )
    reference = engine.sandbox.run(limits, run_reference, recompiled.reference, served)
    measured = compare(reference, got)
    if measured.max_error > FAR_OFF:
        raise CircuitNotFaithful(
            f"its outputs are {measured.max_error:.0%} of their range off on random inputs"
        )


def derive(engine: EzklEngine, model: bytes, manifest: CircuitManifest, limits: Limits) -> None:
    """Derives graph and weights again from the ONNX as uploaded, without keys.

    Raises ``CircuitNotFaithful`` where they are not those that the manifest names, and where its
    numbers mean something else.
    """
    made = _compile(engine, model, manifest, limits)
    _committed(made.graph, manifest)
    if made.graph.inputs:
        _same_formats(manifest, made, None)


def _same_hidden(manifest: CircuitManifest, hidden: Hidden | None, args: RunArgs) -> None:
    """What the manifest says of values that proofs do not show."""
    if hidden != manifest.hidden:
        raise CircuitNotFaithful(
            "the manifest says otherwise of what bounds and hides values that are not shown",
            advice=_OTHER_COMPILER,
        )
    if (salt := manifest.salt) is not None and not hides(
        salt, args.lookup_range, args.logrows, args.num_inner_cols
    ):
        raise CircuitNotFaithful("the salt is too little to hide what the circuit's tables hold")


def _same_arithmetic(found: RunArgs, wanted: RunArgs) -> None:
    """What the engine may be told about an integer graph: only its shape is a choice."""
    alike = replace(wanted, **{name: getattr(found, name) for name in _SHAPE})
    if found != alike:
        raise CircuitNotFaithful(
            "under the settings' run_args the engine computes something else than the integer graph"
        )


def _compile(
    engine: EzklEngine, model: bytes, manifest: CircuitManifest, limits: Limits
) -> Recompiled:
    signature = Signature(
        inputs=tuple(i.tensor for i in manifest.inputs),
        outputs=tuple(o.tensor for o in manifest.outputs),
    )
    if manifest.hints is not None or not manifest.profile.visibility.shows_weights:
        raise CircuitNotFaithful(
            "the circuit has public hints, or weights that no identity names: this version verifies"
            " it and does not make it again",
            advice=_OTHER_COMPILER,
        )
    recipe = Recipe.of(manifest)
    samples = draw(signature, recipe.accepted)
    recompiled = engine.sandbox.run(limits, recompiled_graph, model, list(samples.plan), recipe)
    made = recompiled.graph
    if sha256(made.onnx) != manifest.rewritten_sha256:
        raise CircuitNotFaithful(
            f"rewriting the model gives {sha256(made.onnx)}, the circuit was made from"
            f" {manifest.rewritten_sha256}",
            advice=_OTHER_COMPILER,
        )
    if made.passes != manifest.passes:
        raise CircuitNotFaithful(
            "rewriting the model takes other passes than the manifest lists", advice=_OTHER_COMPILER
        )
    derived, stated = made.commitments, manifest.commitments
    if derived is not None and stated is not None and derived.private is not None:
        # Weights and salt of an identity are its owner's alone.
        stated = replace(stated, network_sha256=derived.network_sha256, identity=())
    if derived != stated:
        raise CircuitNotFaithful(
            "what the manifest says of committed hints does not follow from the model",
            advice=_OTHER_COMPILER,
        )
    return recompiled


def _measured_layout(
    engine: EzklEngine, onnx: bytes, frozen: dict[str, Any], limits: Limits
) -> LayoutStats:
    """The engine's settings for the graph, derived again from the frozen run arguments."""
    (layout,) = engine.measure_layout(onnx, [RunArgs.of(frozen)], limits)
    if not isinstance(layout, LayoutStats):
        raise layout
    return layout


def _same_settings(frozen: dict[str, Any], made: dict[str, Any]) -> None:
    names = sorted(set(frozen) | set(made))
    differing = [n for n in names if n != "timestamp" and frozen.get(n) != made.get(n)]
    if differing:
        raise CircuitNotFaithful(
            f"the settings' {', '.join(differing)} do not follow from the model and run_args",
            advice=_OTHER_COMPILER,
        )


def _same_formats(manifest: CircuitManifest, made: Recompiled, layout: LayoutStats | None) -> None:
    """What the manifest says that the numbers in the instances mean: at the scales that the
    compiler chose, or the engine (``layout``)."""
    inputs, outputs = made.signature.inputs, made.signature.outputs
    input_scales = [i.scale for i in made.graph.inputs]
    output_scales = [o.scale for o in made.graph.outputs]
    if not input_scales and layout is not None:
        input_scales = [*layout.input_scales[: len(inputs)]]
        last = len(layout.output_scales) - (manifest.residues > 0)
        output_scales = [*layout.output_scales[last - len(outputs) : last]]
    _same_tensors("input", [(i.tensor, i.scale) for i in manifest.inputs], inputs, input_scales)
    _same_tensors("output", [(o.tensor, o.scale) for o in manifest.outputs], outputs, output_scales)


def _same_tensors(
    what: str,
    stated: Sequence[tuple[TensorSpec, int]],
    tensors: Sequence[TensorSpec],
    scales: Sequence[int],
) -> None:
    for (tensor, scale), found, true_scale in zip(stated, tensors, scales, strict=True):
        if tensor != found:
            raise CircuitNotFaithful(
                f"the manifest's {what} {tensor.name!r} is {found.dtype} {list(found.shape)}"
                f" {found.name!r} in the model"
            )
        if scale != true_scale:
            raise CircuitNotFaithful(
                f"{what} {tensor.name!r} has scale {true_scale}; the manifest says {scale}, so its"
                f" values are off by a factor of 2^{abs(scale - true_scale)}"
            )
