"""onnxruntime's outputs for a proved input, and how far the proved ones are from them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.accuracy import compare, output_range
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits, ProofResult
from circuits.format.manifest import CircuitManifest
from prover.artifacts import Artifacts
from prover.errors import NoAnswer
from prover.statement.predicate import MeasuredError
from prover.statement.statement import decode_outputs

#: onnxruntime's outputs, and how many compared values are near a threshold.
Answer = tuple[list[NDArray[Any]], int | None]


def reference_answers(
    engine: EzklEngine,
    artifacts: Artifacts,
    manifest: CircuitManifest,
    inputs: Sequence[dict[str, NDArray[Any]]],
    limits: Limits,
) -> list[Answer]:
    """onnxruntime's outputs for each input, from a child process. Raises the engine's errors."""
    near = manifest.files.get("near")  # counts values near thresholds, if the model has any
    answers: list[Answer] = engine.sandbox.compute(
        "circuits.calibration.reference:answers",
        artifacts.get(manifest.reference_sha256),
        artifacts.get(near) if near else None,
        list(inputs),
        limits=limits,
    )
    return answers


def measured_error(
    manifest: CircuitManifest,
    proof: ProofResult,
    want: list[NDArray[Any]],
    near: int | None = None,
    lane: int = 0,
) -> MeasuredError:
    """The error of one lane's outputs against onnxruntime's on the same input.

    The relative error refers to each output's range on the planning samples, since a single output
    does not show the range. ``near``: compared values near a threshold. Raises ``NoAnswer`` if
    onnxruntime's output is not finite.
    """
    if not all(np.isfinite(w).all() for w in want):
        raise NoAnswer("onnxruntime's output for this input is NaN or infinite")
    have = [
        np.array(o.values, dtype=np.float64).reshape(w.shape)
        for o, w in zip(decode_outputs(manifest, proof.instances, lane), want, strict=True)
    ]
    off = [float(np.abs(h - w).max(initial=0.0)) for h, w in zip(have, want, strict=True)]
    known = manifest.measured.get("output_ranges") or [output_range(w[None]) for w in want]
    ranges = [float(r) for r in known]
    absolute, relative = max(off), max(o / r for o, r in zip(off, ranges, strict=True))
    if not manifest.profile.visibility.shows_input or manifest.weights_identity is not None:
        relative = _bound(relative, manifest.profile.max_error)
        absolute = relative * max(ranges)
    return MeasuredError(
        max_absolute=absolute,
        max_relative=relative,
        same_top1=compare([want], [have]).agreement == 1.0,
        near_thresholds=near,
    )


def _bound(error: float, tolerance: float) -> float:
    """The least of ``tolerance``, twice that, four times that… that an error does not exceed: what
    is said of a hidden input, which its exact error would identify, and of private weights, whose
    exact outputs it would tell."""
    bound = tolerance or sys.float_info.epsilon
    while bound < error:
        bound *= 2
    return bound
