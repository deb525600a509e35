"""Medians, spread, and confidence intervals of ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Median and quartiles of ``count`` samples."""

    count: int
    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        """``samples`` must not be empty."""
        lower, median, upper = np.quantile(np.asarray(samples, dtype=np.float64), [0.25, 0.5, 0.75])
        return cls(count=len(samples), median=float(median), lower=float(lower), upper=float(upper))

    @property
    def spread(self) -> float:
        """Half the interquartile range over the median: 0.02 is 2 %."""
        return (self.upper - self.lower) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A ratio of medians with its confidence interval."""

    value: float
    lower: float
    upper: float

    def parts_from(self, other: float = 1.0) -> bool:
        """Whether the interval excludes ``other``."""
        return self.lower > other or self.upper < other


def ratio(
    numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0
) -> Ratio | None:
    """median(numerators) / median(denominators), with a bootstrap interval.

    None if numerators or denominators are empty or have a median of zero. With fewer than three
    samples in either the interval is unbounded.
    """
    above = np.asarray(numerators, dtype=np.float64)
    below = np.asarray(denominators, dtype=np.float64)
    if not above.size or not below.size or np.median(below) == 0 or np.median(above) == 0:
        return None
    value = float(np.median(above) / np.median(below))
    if min(above.size, below.size) < 3:
        return Ratio(value=value, lower=0.0, upper=float("inf"))
    rng = np.random.default_rng(seed)
    ratios = _resampled_medians(above, rng) / _resampled_medians(below, rng)
    tail = (1 - CONFIDENCE) / 2
    lower, upper = np.quantile(ratios, [tail, 1 - tail])
    return Ratio(value=value, lower=float(lower), upper=float(upper))


def _resampled_medians(
    samples: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    drawn = rng.integers(0, samples.size, (RESAMPLES, samples.size))
    return np.asarray(np.median(samples[drawn], axis=1))
