"""How far a circuit's outputs are from onnxruntime's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.format.profile import Profile

#: How many times as wide as its most varied element an output is at most.
_APART = 4.0
#: A rebuilt circuit's error on random inputs from which on it is another function, and the share
#: of them that it has to serve.
FAR_OFF, MOST_SERVED = 0.1, 0.75
#: The share of them that it may be so far off on, where it decides a comparison otherwise.
MOST_TURNED = 0.05
#: Numbers that differ by so little of them are alike to sums of float32.
_ROUNDING = 2.0**-21
#: One sample's outputs.
Outputs = Sequence[NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """``max_error``: largest absolute error over the range of that output's reference values.
    ``agreement``: share of top answers, along the last axis, that are the same: of the output where
    it is least (1.0 for outputs of one value)."""

    max_error: float
    agreement: float
    samples: int

    def meets(self, profile: Profile) -> bool:
        return self.max_error <= profile.max_error and self.agreement >= profile.agreement


def compare(
    reference: Sequence[Outputs], got: Sequence[Outputs], *, decisive: float | None = None
) -> Measured:
    """Compares outputs sample by sample; both lists have one entry a sample, in order.

    With ``decisive`` (a share of the output's range), answers whose two largest reference values
    lie within twice that of each other do not count as disagreeing: what onnxruntime itself is
    undecided about, as it is on much random data, says nothing of a circuit.
    """
    worst, agreement = 0.0, 1.0
    for index in range(len(reference[0])):
        want = np.stack([np.asarray(r[index], dtype=np.float64) for r in reference])
        have = np.stack([np.asarray(g[index], dtype=np.float64) for g in got])
        have = have.reshape(want.shape)
        worst = max(worst, _largest_difference(want, have) / output_range(want))
        room = 0.0 if decisive is None else 2 * decisive * output_range(want)
        agreement = min(agreement, top1_agreement(want, have, room))
    return Measured(max_error=worst, agreement=agreement, samples=len(reference))


def far_off(reference: Sequence[Outputs], got: Sequence[Outputs]) -> NDArray[np.bool_]:
    """The samples of which an output is off by more than ``FAR_OFF`` of its range."""
    off = np.zeros(len(reference), dtype=bool)
    for index in range(len(reference[0])):
        want = np.stack([np.asarray(r[index], dtype=np.float64) for r in reference])
        have = np.stack([np.asarray(g[index], dtype=np.float64) for g in got]).reshape(want.shape)
        far = FAR_OFF * output_range(want)
        pairs = zip(want, have, strict=True)
        off |= np.array([_largest_difference(w, h) > far for w, h in pairs])
    return off


def _largest_difference(want: NDArray[Any], have: NDArray[Any]) -> float:
    """Infinite where a value is no number, or infinite on one side only."""
    with np.errstate(invalid="ignore"):
        off = np.where(want == have, 0.0, np.abs(want - have))
    return float(np.where(np.isnan(off), np.inf, off).max(initial=0.0))


def output_range(reference: NDArray[Any]) -> float:
    """The width of an output's finite reference values, ``[samples, …]``; their magnitude where
    they are all the same.

    An output whose elements lie far apart and vary little, such as logits of which one is masked
    with -1e9, is no wider than four times what its most varied element is: else nothing that its
    other elements are off by would count.
    """
    finite = reference[np.isfinite(reference)]
    width = float(finite.max(initial=-np.inf) - finite.min(initial=np.inf))
    if not np.isfinite(width) or width <= 0:
        return max(float(np.abs(finite).max(initial=0.0)), 1.0)
    known = np.where(np.isfinite(reference), reference, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of elements that are never finite
        varied = float(np.nan_to_num(np.nanmax(known, 0) - np.nanmin(known, 0)).max(initial=0.0))
    return min(width, _APART * varied) if varied > 0 else width


def top1_agreement(want: NDArray[Any], have: NDArray[Any], room: float = 0.0) -> float:
    """How often the largest entry along the last axis is the same, over all samples and other axes.

    Entries within ``room`` of the largest count as the largest, and those that float32 does not
    tell from it reliably.
    """
    if want.ndim < 2 or want.shape[-1] < 2 or not want.size:
        return 1.0
    chosen = np.take_along_axis(want, have.argmax(-1)[..., None], -1)[..., 0]
    largest = want.max(-1)
    with np.errstate(invalid="ignore"):  # of infinities
        near = largest - np.maximum(room, _ROUNDING * np.abs(largest))
    return float(np.mean((chosen >= near) | (chosen == largest)))
