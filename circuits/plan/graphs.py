"""Graphs as the compiler hands them over: plain data, so that no caller has to load onnx."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from circuits.manifest import AppliedPass
from circuits.tensors import Signature


@dataclass(frozen=True, kw_only=True)
class FloatGraph:
    """A model after the float passes, for the engine's own fixed point.

    ``onnx`` has the context input bound; ``plain`` has not (the integer road starts there).
    """

    onnx: bytes
    plain: bytes
    passes: tuple[AppliedPass, ...]
    signature: Signature


@dataclass(frozen=True, kw_only=True)
class IntegerGraph:
    """A graph of whole numbers, context input bound, for the engine at scale 0.

    ``bound``: no accepted input drives a decomposed value beyond this magnitude, by interval
    arithmetic; ``lookup_range``: what its tables must hold, or None. ``outputs`` are those of the
    samples it was made with, exactly as a circuit would give them, as floats.
    """

    label: str
    onnx: bytes
    passes: tuple[AppliedPass, ...]
    input_scales: tuple[int, ...]
    output_scales: tuple[int, ...]
    bound: int
    lookup_range: tuple[int, int] | None
    evidence: dict[str, Any] = field(default_factory=dict)
