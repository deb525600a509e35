"""Entries of the zoo, and built models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model and its data. Arrays are ``[N, *shape]`` per input; ``labels`` is int64 [N].

    ``labels`` is None if only the model's output is correct (untrained weights, regression): then
    the error over the output's range decides.
    """

    onnx: bytes
    calibration: Mapping[str, Floats]
    held_out: Mapping[str, Floats]
    labels: Labels | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model of the zoo.

    ``multiplications`` and ``activations`` count one inference: they bound what any circuit
    costs; None if unknown.
    ``tables`` names the functions that need a look-up table; comparisons and ReLUs need none.
    ``quick``: part of ``--quick`` runs. ``bound_by`` says in words what its circuit's cost is.
    """

    name: str
    title: str
    build: Callable[[], Built]
    multiplications: int | None
    activations: int | None
    bound_by: str
    tables: str = "none"
    quick: bool = False
