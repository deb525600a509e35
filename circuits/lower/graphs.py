"""Graphs as the compiler hands them over: plain data, so that no caller has to load onnx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from circuits.calibration.samples import Range, Sample
from circuits.format.hidden import Hidden
from circuits.format.hints import HintSpec
from circuits.format.manifest import AppliedPass
from circuits.format.profile import Visibility
from circuits.format.tensors import Signature


@dataclass(frozen=True, kw_only=True)
class FloatGraph:
    """A model after the float passes, for the engine's own fixed point.

    ``onnx`` has the context input bound; ``plain`` has not (the integer road starts there).
    ``reference`` is the model whose answers count (``Rewritten.reference``).
    """

    onnx: bytes
    plain: bytes
    passes: tuple[AppliedPass, ...]
    signature: Signature
    reference: bytes


@dataclass(frozen=True, kw_only=True)
class IntegerTask:
    """What the integer road has to keep: the accepted range of each input (margins included), the
    tolerance on the ``plan`` samples, and how the context enters (by ``visibility``). ``held_out``
    samples are only run, to be judged by the planner. ``hints``: whether results of products may
    be given (``circuits.format.hints``), ``salt``: whether tables are salted
    (``circuits.format.hidden``), ``checked``: whether the engine decomposes inputs and outputs.
    ``finer``: bits added to each choice, where the planner found those without not exact enough on
    other samples."""

    accepted: dict[str, Range]
    limbs: int
    visibility: Visibility = Visibility.PUBLIC
    hints: bool = False
    salt: bool = False
    checked: bool = False
    plan: tuple[Sample, ...] = ()
    held_out: tuple[Sample, ...] = ()
    max_error: float = 0.01
    agreement: float = 0.99
    finer: int = 0


@dataclass(frozen=True, kw_only=True)
class IntegerGraph:
    """A graph of integers, context input bound, for the engine at scale 0, its tables at
    ``scale`` (0 without).

    ``bound``: no accepted input drives a decomposed value beyond this magnitude, by interval
    arithmetic; ``lookup_range``: what its tables must hold, or None. ``recipe`` (bits and form)
    rebuilds it; ``outputs`` are the circuit's exact answers for the held-out samples; ``given``
    is there where the circuit is given results, ``hidden`` where inputs are not shown.
    """

    label: str
    onnx: bytes
    passes: tuple[AppliedPass, ...]
    input_scales: tuple[int, ...]
    output_scales: tuple[int, ...]
    bound: int
    lookup_range: tuple[int, int] | None
    recipe: dict[str, Any]
    outputs: list[list[NDArray[Any]]]
    scale: int = 0
    given: HintSpec | None = None
    hidden: Hidden | None = None
