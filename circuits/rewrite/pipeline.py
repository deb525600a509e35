"""Running the passes in order, each held to what the uploaded model computes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from circuits.errors import (
    CircuitNotFaithful,
    DynamicShape,
    ModelError,
    UnsupportedOperator,
    ZkmlError,
)
from circuits.format.manifest import AppliedPass
from circuits.format.tensors import Signature
from circuits.frontend.fixed_shapes import bind_shapes, infer_shapes, outputs_of
from circuits.frontend.inputs import plain_inputs
from circuits.frontend.operators import GraphFacts, refusal
from circuits.frontend.outputs import plain_outputs
from circuits.frontend.reading import read_model
from circuits.rewrite import (
    broadcasting,
    comparisons,
    composites,
    convolutions,
    defaults,
    identities,
    indexing,
    integers,
    microsoft,
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
from circuits.rewrite import rescaled_answers as scales
from circuits.rewrite import reverse_recurrent as recurrent
from circuits.rewrite.compare import Sample, difference, probes, run
from circuits.rewrite.edit import Pass
from circuits.rewrite.ml.branches import GUARD_BRANCHES
from circuits.rewrite.ml.categories import NUMBER_CATEGORIES
from circuits.rewrite.ml.leaves import FOLD_LEAVES
from circuits.rewrite.ml.lowering import LOWER_ESTIMATORS
from circuits.rewrite.ml.missing import MASK_MISSING
from circuits.rewrite.ml.paths import FLOW_ALONG_PATHS

#: Largest difference from the uploaded model, over the output's range, after any pass.
TOLERANCE = 1e-5
#: The same for a model that counts in 16 bits, which rounds whatever is written otherwise.
HALF_TOLERANCE = 4e-3
#: And after a pass that may round a tie the other way: some steps of 8 bits.
ROUNDING_TOLERANCE = 2e-2
#: Samples times nodes that are run after a pass, of which a few samples in any case.
_MOST_RUNS, _LEAST_SAMPLES = 200_000, 8

#: In the order in which they run.
PASSES: tuple[Pass, ...] = (
    microsoft.LOWER_QUANTISED_OPERATORS,
    opset.CONVERT_OPSET,
    NUMBER_CATEGORIES,
    training.DROP_TRAINING,
    quantized.LEAVE_OUT_DYNAMIC_STEPS,
    functions.EXPAND_FUNCTIONS,
    GUARD_BRANCHES,
    FOLD_LEAVES,
    MASK_MISSING,
    LOWER_ESTIMATORS,
    folding.FOLD_CONSTANTS,
    FLOW_ALONG_PATHS,
    identities.SHORTEN_FORMULAS,
    quantized.GIVE_QUANTISATION_MEANING,
    composites.EXPAND_COMPOSITES,
    defaults.FILL_DEFAULTS,
    recurrent.SPLIT_DIRECTIONS,
    unrolling.UNROLL_RECURRENT,
    padding.EXPLICIT_PADDING,
    pooling.EXPLICIT_POOLING,
    convolutions.PLAIN_CONVOLUTIONS,
    resizing.RESIZE_BY_CONSTANTS,
    powers.PLAIN_POWERS,
    integers.INTEGER_ARITHMETIC,
    selection.CHOOSE_BY_COMPARISONS,
    comparisons.EXTREMA_AND_MASKS,
    sequences.PLAIN_SUMS,
    broadcasting.EXPLICIT_BROADCASTS,
    scattering.PLAIN_SCATTER,
    scales.COUNT_IN_ONES,
    indexing.EXPLICIT_INDICES,
    folding.FOLD_AGAIN,
)


#: What makes onnxruntime take a model that it refuses.
_REPAIRS = (
    opset.CONVERT_OPSET,
    functions.EXPAND_FUNCTIONS,
    functions.LOWER_OPSET,
    repair.WIDEN_INTEGERS,
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
    model = read_model(data)
    notes = plain_outputs(model)
    plain = plain_inputs(model, absent)
    shapes = {name: value.shape for name, value in samples[0].items()} if samples else None
    if shapes is not None:
        shapes = {i.name: shapes[i.name] for i in model.graph.input if i.name in shapes}
    binding = bind_shapes(model, shapes)
    applied = [AppliedPass(name="plain-outputs", version=1)] if notes else []
    applied += [AppliedPass(name="plain-inputs", version=1)] if plain.notes else []
    if binding.notes:
        applied.append(AppliedPass(name="bind-shapes", version=1))
    model = infer_shapes(model)
    original = written_plainly(model)
    inputs = Signature(inputs=tuple(plain.told(binding.inputs)), outputs=())
    most = max(_LEAST_SAMPLES, _MOST_RUNS // max(1, len(model.graph.node)))
    feeds = probes(inputs, samples, most)
    original, expected, mended = _answers(original, feeds)
    applied += mended

    _require_one_shape(model, expected)
    half = _counts_in_halves(model)
    worst, current = 0.0, original
    for step, changed in passed(original):
        allowed = ROUNDING_TOLERANCE if step.rounds else HALF_TOLERANCE if half else TOLERANCE
        worst = max(worst, _held(step.name, expected, changed, feeds, allowed))
        if step.rounds:
            expected = run(changed, feeds)  # later steps are held to what this one rounds
        current = changed
        applied.append(AppliedPass(name=step.name, version=step.version))
    final = onnx.load_model_from_string(current)
    _refuse_leftovers(final)
    signature = Signature(inputs=inputs.inputs, outputs=outputs_of(final))
    return Rewritten(
        onnx=current,
        passes=tuple(applied),
        signature=signature,
        max_difference=worst,
        reference=original if notes or plain.notes or mended else data,
    )


def passed(data: bytes) -> tuple[tuple[Pass, bytes], ...]:
    """The passes that change a model whose shapes are bound, each with the model after it. Nothing
    is compared. Remembered, since what inspects a model is mostly followed by what rewrites it."""
    return _passed(data, PASSES)


@lru_cache(maxsize=4)
def _passed(data: bytes, passes: tuple[Pass, ...]) -> tuple[tuple[Pass, bytes], ...]:
    draft = Draft(onnx.load_model_from_string(data))
    found, current = [], data
    for step in passes:
        if not draft.run(step):
            continue
        changed = _bytes(draft.model)
        if changed != current:
            found.append((step, changed))
            current = changed
    return tuple(found)


class Draft:
    """A model between passes: parsed again only where one has changed it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._graph: ir.Model | None = None
        self._folded = False

    @property
    def operators(self) -> set[str]:
        return {node.op_type for node in self.model.graph.node}

    def run(self, step: Pass) -> bool:
        """Runs a pass and infers shapes; whether it can have changed anything. Compares nothing.

        Raises ``ModelError`` naming the pass for whatever it trips over.
        """
        if not step.concerns(self.operators) or (step.folds and self._folded):
            return False
        try:
            graph = self._graph or ir.from_proto(self.model)
            before = [id(node) for node in graph.graph], set(graph.graph.initializers)
            idle = step.run(graph) is False
            after = [id(node) for node in graph.graph], set(graph.graph.initializers)
            if idle or ((step.touches or step.folds) and before == after):
                self._graph, self._folded = graph, self._folded or step.folds
                return False  # it replaces nodes, and found none to replace
            if step.touches and before[0] == after[0]:
                self._graph = None
                return False
            self._write(graph)
        except ZkmlError:
            raise
        except Exception as error:  # models come from outside: whatever a pass trips over is theirs
            raise ModelError(
                f"the model cannot be rewritten: pass {step.name!r}: {type(error).__name__}:"
                f" {str(error).splitlines()[0] if str(error) else ''}"[:300],
                advice="Run onnx.checker.check_model(model, full_check=True) on it and export it"
                " again.",
            ) from error
        self._folded = step.folds
        return True

    def _write(self, graph: ir.Model) -> None:
        common.RemoveUnusedNodesPass()(graph)
        common.RemoveUnusedOpsetsPass()(graph)
        common.ClearMetadataAndDocStringPass()(graph)
        written = ir.to_proto(graph)
        del written.graph.value_info[:]  # inferred again, in the order of the nodes
        self.model, self._graph = infer_shapes(written), None


def _answers(
    original: bytes, feeds: Sequence[Sample]
) -> tuple[bytes, list[list[NDArray[np.float64]]], list[AppliedPass]]:
    """onnxruntime's answers; for a model that it refuses, those of the model with types
    repaired."""
    try:
        return original, run(original, feeds), []
    except ModelError:
        mended, applied = original, []
        for step in _REPAIRS:
            draft = Draft(onnx.load_model_from_string(mended))
            draft.run(step)
            changed = _bytes(draft.model)
            if changed != mended:
                mended = changed
                applied.append(AppliedPass(name=step.name, version=step.version))
        if not applied:
            raise
        return mended, run(mended, feeds), applied


#: Written once by the same hand as all later steps, so that only real changes show.
_NOTHING = Pass(name="", version=0, purpose="", reference="", run=lambda model: None)


def written_plainly(model: onnx.ModelProto) -> bytes:
    """A model whose shapes are bound without what nothing reads, written as after every pass."""
    draft = Draft(model)
    draft.run(_NOTHING)
    return _bytes(draft.model)


def _bytes(model: onnx.ModelProto) -> bytes:
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _held(
    name: str,
    expected: list[list[NDArray[np.float64]]],
    changed: bytes,
    feeds: Sequence[Sample],
    allowed: float,
) -> float:
    gap = difference(expected, run(changed, feeds))
    if gap > allowed:
        raise CircuitNotFaithful(
            f"after the pass {name!r} the graph differs from the uploaded model by {gap:.3g} of the"
            f" output's range (at most {allowed:g} is allowed)",
            rewriting=name,
            difference=gap,
        )
    return gap


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
