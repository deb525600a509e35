"""The rewritten graph beside the uploaded one, in onnxruntime, on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.session import open_session
from circuits.errors import ModelError
from circuits.format.tensors import Signature, TensorSpec
from circuits.frontend.labels import undecided

Sample = Mapping[str, NDArray[Any]]

_RANDOM_SAMPLES = 8
#: More samples than are ever given.
MANY = 1 << 20
_SEED = 20231
#: Numbers of this magnitude are drawn at most.
_LARGEST = 1e300
_LARGEST_WHOLE = 2.0**62
#: Outputs that vary by no more than this part of themselves vary as floats are rounded.
_NOISE = 1e-6


def run(onnx: bytes, samples: Sequence[Sample]) -> list[list[NDArray[np.float64]]]:
    """Outputs of every sample, in the graph's order; raises ``ModelError`` when it cannot run."""
    try:
        session = open_session(onnx, optimised=False)
        names = [o.name for o in session.get_outputs()]
        wanted = {i.name for i in session.get_inputs()}
        results = []
        for sample in samples:
            feed = {k: v for k, v in sample.items() if k in wanted}
            results.append([np.asarray(o, dtype=np.float64) for o in session.run(names, feed)])
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's exception types share no base
        raise ModelError(
            f"onnxruntime cannot run the model: {str(error).partition(chr(10))[0][:300]}",
            advice="Check that the model runs in onnxruntime as exported. Without calibration"
            " data it is run on drawn numbers, which an input that holds indices may not take.",
        ) from error
    return results


def probes(signature: Signature, samples: Sequence[Sample], most: int = MANY) -> list[Sample]:
    """The caller's samples, as many as ``most``, and random ones, each element drawn from its range
    among all of them (or from -1…1, or 0…1): a model may have no answer for what is usual in
    another column."""
    rng = np.random.default_rng(_SEED)
    drawn: list[Sample] = [
        {spec.name: _draw(rng, spec, samples) for spec in signature.inputs}
        for _ in range(_RANDOM_SAMPLES)
    ]
    return [*samples[:most], *drawn]


def _draw(rng: np.random.Generator, spec: TensorSpec, samples: Sequence[Sample]) -> NDArray[Any]:
    low = np.full(spec.shape, 0.0 if "int" in spec.dtype else -1.0)
    high = np.ones(spec.shape)
    if samples:
        seen = np.stack([np.asarray(s[spec.name], dtype=np.float64) for s in samples])
        finite = np.isfinite(seen)
        low = np.where(finite.any(axis=0), np.where(finite, seen, np.inf).min(axis=0), low)
        high = np.where(finite.any(axis=0), np.where(finite, seen, -np.inf).max(axis=0), high)
        low, high = np.maximum(low, -_LARGEST), np.minimum(high, _LARGEST)
    if spec.categories is not None:
        return rng.integers(0, spec.places, spec.shape)
    if spec.dtype == "bool":
        return rng.integers(0, 2, spec.shape).astype(bool)
    if "int" in spec.dtype:
        bottom, top = (
            np.clip(end, -_LARGEST_WHOLE, _LARGEST_WHOLE).astype(np.int64) for end in (low, high)
        )
        return rng.integers(bottom, top, spec.shape, endpoint=True).astype(spec.dtype)
    return rng.uniform(low, high, spec.shape).astype(spec.dtype)


def settled(
    before: list[list[NDArray[np.float64]]],
    after: list[list[NDArray[np.float64]]],
    signs: Sequence[tuple[int, int]],
    allowed: float,
) -> list[list[NDArray[np.float64]]]:
    """The answers after, with the label before wherever it is the sign of a score (``signs_of``)
    that no more than ``allowed`` of its range parts from zero: floats summed in another order may
    give the other sign, and the score itself is compared. The label has to be its own score's."""
    found = [list(answer) for answer in after]
    for old, new, near in zip(before, found, undecided(before, signs, allowed), strict=True):
        for (label, score), tied in zip(signs, near, strict=True):
            if new[label].shape == tied.shape and new[score].size == tied.size:
                own = np.sign(new[score]).reshape(tied.shape) == new[label]
                new[label] = np.where(tied & own, old[label], new[label])
    return found


def difference(
    before: list[list[NDArray[np.float64]]], after: list[list[NDArray[np.float64]]]
) -> float:
    """The largest absolute difference over the output's range; infinite when shapes differ.

    Where the model itself gives NaN or an infinity, the other must give the same.
    """
    worst = 0.0
    for position in range(len(before[0])):
        ours = [b[position] for b in before]
        theirs = [a[position] for a in after]
        if any(o.shape != t.shape for o, t in zip(ours, theirs, strict=True)):
            return np.inf
        left, right = np.stack(ours), np.stack(theirs)
        finite = np.isfinite(left)
        if not np.array_equal(left[~finite], right[~finite], equal_nan=True):
            return np.inf
        if not finite.any():
            continue
        values = left[finite]
        gap = float(np.max(np.abs(values - right[finite])))
        width, largest = float(values.max() - values.min()), float(np.abs(values).max())
        spread = (width if width > _NOISE * largest else largest) or 1.0
        worst = max(worst, gap / spread)
    return worst
