"""Running the passes in order, each held to what the uploaded model computes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx
from numpy.typing import NDArray

from circuits.errors import CircuitNotFaithful, DynamicShape, ModelError, UnsupportedOperator
from circuits.format.manifest import AppliedPass
from circuits.format.tensors import Signature
from circuits.frontend.fixed_shapes import outputs_of
from circuits.frontend.folding import folded
from circuits.frontend.labels import signs_of
from circuits.frontend.operators import GraphFacts, refusal
from circuits.rewrite import (
    booleans,
    broadcasting,
    comparisons,
    composites,
    convolutions,
    defaults,
    identities,
    index_masks,
    indexing,
    integers,
    microsoft,
    neighbours,
    opset,
    padding,
    pooling,
    powers,
    quantized,
    repair,
    resizing,
    scattering,
    selection,
    sequences,
    training,
    unrolling,
)
from circuits.rewrite import fold_constants as folding
from circuits.rewrite import inline_functions as functions
from circuits.rewrite.compare import Sample, difference, probes, run, settled
from circuits.rewrite.draft import Draft
from circuits.rewrite.edit import Pass
from circuits.rewrite.ml.branches import GUARD_BRANCHES
from circuits.rewrite.ml.categories import ENCODE_CATEGORIES
from circuits.rewrite.ml.leaves import FOLD_LEAVES
from circuits.rewrite.ml.lowering import LOWER_ESTIMATORS
from circuits.rewrite.ml.missing import MASK_MISSING
from circuits.rewrite.ml.paths import RECOVER_TREES
from circuits.rewrite.uploaded import Uploaded, uploaded

#: Largest difference from the uploaded model, over the output's range, after any pass.
TOLERANCE = 1e-5
#: The same for a model that counts in 16 bits, which rounds whatever is written otherwise.
HALF_TOLERANCE = 4e-3
#: And after a pass that may round a tie the other way: some steps of 8 bits.
ROUNDING_TOLERANCE = 2e-2
#: Samples times nodes that are run after a pass, of which a few samples in any case.
_MOST_RUNS, _LEAST_SAMPLES = 200_000, 8

#: Each sample's outputs.
Answers = list[list[NDArray[np.float64]]]

#: In the order in which they run.
PASSES: tuple[Pass, ...] = (
    microsoft.LOWER_QUANTISED_OPERATORS,
    opset.CONVERT_OPSET,
    ENCODE_CATEGORIES,
    training.DROP_TRAINING,
    quantized.DROP_DYNAMIC_QUANTISATION,
    functions.EXPAND_FUNCTIONS,
    GUARD_BRANCHES,
    FOLD_LEAVES,
    MASK_MISSING,
    LOWER_ESTIMATORS,
    folding.FOLD_CONSTANTS,
    RECOVER_TREES,
    identities.SIMPLIFY_ALGEBRA,
    neighbours.SUM_NEAREST,
    index_masks.DROP_INDEX_MASKS,
    quantized.DECOMPOSE_QUANTISATION,
    composites.EXPAND_COMPOSITES,
    defaults.FILL_DEFAULTS,
    unrolling.UNROLL_RECURRENT,
    padding.DECOMPOSE_PADDING,
    pooling.DECOMPOSE_POOLING,
    convolutions.DECOMPOSE_CONVOLUTIONS,
    resizing.DECOMPOSE_RESIZE,
    powers.DECOMPOSE_POWERS,
    integers.DECOMPOSE_INTEGER_ARITHMETIC,
    selection.DECOMPOSE_SELECTION,
    comparisons.LEGALIZE_MINMAX,
    sequences.DECOMPOSE_CUMSUM,
    broadcasting.DECOMPOSE_BROADCASTS,
    scattering.DECOMPOSE_SCATTER,
    booleans.RESCALE_BOOLEANS,
    indexing.WRAP_INDICES,
    folding.FOLD_LEFTOVERS,
)


#: What makes onnxruntime take a model that it refuses.
_REPAIRS = (
    opset.CONVERT_OPSET,
    functions.EXPAND_FUNCTIONS,
    functions.LOWER_OPSET,
    repair.WIDEN_INTEGERS,
    repair.WRAP_FEATURE_INDICES,
)


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """The model as the engine gets it.

    ``max_difference`` is the largest difference from the uploaded model seen on samples and random
    inputs, over the output's range. ``reference`` is what onnxruntime's answers are taken from:
    the uploaded bytes wherever onnxruntime takes them and gives tensors of numbers, else that model
    with its types repaired and its outputs plain.
    """

    onnx: bytes
    passes: tuple[AppliedPass, ...]
    signature: Signature
    max_difference: float
    reference: bytes


def rewrite(data: bytes, samples: Sequence[Sample] = (), absent: Collection[str] = ()) -> Rewritten:
    """Rewrites an uploaded model; ``samples`` (inputs by name) also fix dynamic shapes. Masks of
    missing values named in ``absent`` are false throughout.

    Equal inputs give equal bytes. Raises ``ModelError`` and its kin for a model that cannot be
    used, ``UnsupportedOperator`` naming a node that no pass could make provable, and
    ``CircuitNotFaithful`` naming a pass after which the graph computes something else.
    """
    if samples or absent:
        return _rewritten(data, samples, absent)
    return _rewritten_alone(data, PASSES)


@lru_cache(maxsize=2)
def _rewritten_alone(data: bytes, passes: tuple[Pass, ...]) -> Rewritten:
    """Remembered: what a model costs is asked for in several ways."""
    return _rewritten(data, (), ())


def _rewritten(data: bytes, samples: Sequence[Sample], absent: Collection[str]) -> Rewritten:
    found = _uploaded(data, samples, absent)
    applied = [AppliedPass(name="encode-outputs", version=1)] if found.notes else []
    applied += [AppliedPass(name="encode-inputs", version=1)] if found.plain.notes else []
    if found.bound and not samples:
        applied.append(AppliedPass(name="bind-shapes", version=1))
    inputs = Signature(inputs=found.inputs, outputs=())
    most = max(_LEAST_SAMPLES, _MOST_RUNS // max(1, len(found.model.graph.node)))
    feeds = probes(inputs, samples, most)
    original, expected, repaired = _answers(found.written, feeds)
    _require_one_shape(found.model, expected)
    steps = passed(original)
    usual = HALF_TOLERANCE if _counts_in_halves(found.model) else TOLERANCE
    worst = _held(expected, steps, feeds, usual, signs_of(found.model.graph))
    current = steps[-1][1] if steps else original
    final = onnx.load_model_from_string(current)
    _refuse_leftovers(final)
    applied += [*repaired, *(AppliedPass(name=s.name, version=s.version) for s, _ in steps)]
    return Rewritten(
        onnx=current,
        passes=tuple(applied),
        signature=Signature(inputs=inputs.inputs, outputs=outputs_of(final)),
        max_difference=worst,
        reference=original if found.notes or found.plain.notes or repaired else data,
    )


def _uploaded(data: bytes, samples: Sequence[Sample], absent: Collection[str]) -> Uploaded:
    """The model in the samples' shapes. Mostly these are its own: as it was inspected."""
    if not samples:
        return uploaded(data, absent=absent)
    shapes = {name: value.shape for name, value in samples[0].items()}
    try:
        found = uploaded(data, absent=absent)
    except ModelError:  # it has no shapes of its own, or none that fit
        return uploaded(data, shapes, absent)
    own = all(shapes.get(tensor.name, tensor.shape) == tensor.shape for tensor in found.inputs)
    return found if own else uploaded(data, shapes, absent)


def passed(data: bytes) -> tuple[tuple[Pass, bytes], ...]:
    """The passes that change a model whose shapes are bound, each with the model after it. Nothing
    is compared. Remembered, since what inspects a model is mostly followed by what rewrites it."""
    return _passed(data, PASSES)


@lru_cache(maxsize=4)
def _passed(data: bytes, passes: tuple[Pass, ...]) -> tuple[tuple[Pass, bytes], ...]:
    draft = Draft.of(data)
    found, current = [], data
    for step in passes:
        if not draft.run(step):
            continue
        changed = draft.written
        if changed != current:
            found.append((step, changed))
            current = changed
    return tuple(found)


def folded_alone(written: bytes) -> onnx.ModelProto:
    """The model with its constants folded, and nothing else done to it: as a pass has left it,
    where that was the first to change anything."""
    steps = passed(written)
    if steps and steps[0][0] is not folding.FOLD_CONSTANTS:
        return folded(written)
    return onnx.load_model_from_string(steps[0][1] if steps else written)


def _answers(original: bytes, feeds: Sequence[Sample]) -> tuple[bytes, Answers, list[AppliedPass]]:
    """onnxruntime's answers; for a model that it refuses, those of the model with types
    repaired."""
    try:
        return original, run(original, feeds), []
    except ModelError:
        draft, repaired, applied = Draft(onnx.load_model_from_string(original)), original, []
        for step in _REPAIRS:
            if draft.run(step) and draft.written != repaired:
                repaired = draft.written
                applied.append(AppliedPass(name=step.name, version=step.version))
        if not applied:
            raise
        return repaired, run(repaired, feeds), applied


def _held(
    expected: Answers,
    steps: Sequence[tuple[Pass, bytes]],
    feeds: Sequence[Sample],
    usual: float,
    signs: Sequence[tuple[int, int]],
) -> float:
    """How far passes lead from the uploaded model's answers, at most ``usual``, in one comparison
    for all between two that round: what comes after such a pass is held to what it rounds.
    ``signs``: the labels that are signs of scores.

    Raises ``CircuitNotFaithful`` naming the first pass after which more is off.
    """
    worst, start = 0.0, 0
    for place, (step, changed) in enumerate(steps):
        last = place + 1 == len(steps)
        if not (last or step.rounds or steps[place + 1][0].rounds):
            continue
        answers = settled(expected, run(changed, feeds), signs, usual)
        gap = difference(expected, answers)
        if gap > (ROUNDING_TOLERANCE if step.rounds else usual):
            _blame(expected, steps[start : place + 1], feeds, usual, signs)
        worst = max(worst, gap)
        if step.rounds:
            expected = answers
        start = place + 1
    return worst


def _blame(
    expected: Answers,
    steps: Sequence[tuple[Pass, bytes]],
    feeds: Sequence[Sample],
    usual: float,
    signs: Sequence[tuple[int, int]],
) -> None:
    """Raises ``CircuitNotFaithful`` for the first of some passes that changes the answers."""
    for step, changed in steps:
        allowed = ROUNDING_TOLERANCE if step.rounds else usual
        gap = difference(expected, settled(expected, run(changed, feeds), signs, usual))
        if gap > allowed:
            raise CircuitNotFaithful(
                f"after the pass {step.name!r} the graph differs from the uploaded model by"
                f" {gap:.3g} of the output's range (at most {allowed:g} is allowed)",
                rewriting=step.name,
                difference=gap,
            )


def _require_one_shape(
    model: onnx.ModelProto, answers: Sequence[Sequence[NDArray[np.float64]]]
) -> None:
    """Raises ``DynamicShape`` where an output is longer for one input than for another."""
    for position, value in enumerate(model.graph.output):
        if len({answer[position].shape for answer in answers}) > 1:
            raise DynamicShape(
                f"output {value.name!r} has a shape that depends on the input", output=value.name
            )


def _counts_in_halves(model: onnx.ModelProto) -> bool:
    """Whether any value is a 16-bit float."""
    narrow = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    graph = model.graph
    values = [*graph.value_info, *graph.input, *graph.output]
    kinds = [v.type.tensor_type.elem_type for v in values] + [
        t.data_type for t in graph.initializer
    ]
    return any(kind in narrow for kind in kinds)


def _refuse_leftovers(model: onnx.ModelProto) -> None:
    facts = GraphFacts.of(model)
    for node in model.graph.node:
        if (why := refusal(node, facts)) is not None:
            label = node.name or node.output[0]
            raise UnsupportedOperator.at(node.op_type, label, why.reason, advice=why.instead)
