"""Calibration data: what a circuit's accuracy is measured on and its input range comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import CalibrationError, InputError, InputOutOfRange
from circuits.format.digests import digest_json, sha256
from circuits.format.input_forms import read_columns
from circuits.format.tensors import InputEncoding, Signature, TensorSpec, dtype_bounds

#: One sample: each input by name, in its shape.
Sample = Mapping[str, NDArray[Any]]
#: A model's outputs for samples, in order.
Ask = Callable[[Sequence[Sample]], Sequence[Sequence[NDArray[Any]]]]
#: Accepted values of an input, ``(lower, upper)``.
Range = tuple[float, float]

MAX_PLAN, MAX_HELD_OUT = 64, 256
#: The largest input that a circuit is planned for without calibration data.
MAX_MAGNITUDE = 2.0**40
_DRAWN = 64
#: From here to 1 a sample is taken for one of the usual -1 to 1.
_USUAL = 0.25
#: The exponent of the narrowest range.
_SMALLEST = -20
_NEARER, _NEAR_EACH = 8, 4


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Data to plan on and data held out; ``ranges`` bounds each input, margins not yet added.

    ``digest`` identifies where they came from (the calibration file, or the declared ranges).
    """

    plan: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    ranges: dict[str, Range]
    calibrated: bool
    digest: str


def read_calibration(data: bytes, signature: Signature) -> Samples:
    """Calibration samples from a file's bytes, in any of the forms that inputs have
    (``circuits.format.input_forms``), each row a sample.

    A deterministic quarter is held out. Raises ``CalibrationError`` for a wrong name, shape or
    value, or fewer than two samples.
    """
    try:
        columns = read_columns(data, signature)
    except InputError as error:
        raise CalibrationError(
            f"calibration data: {error.detail}", advice=error.advice, **error.context
        ) from None
    if columns.unused:
        raise CalibrationError(
            f"the calibration data has {columns.unused[0]!r}, which is no input of the model",
            advice=f"The model's inputs are {', '.join(repr(t.name) for t in signature.sent)}.",
        )
    arrays, count = columns.arrays, columns.rows
    if count < 2:
        raise CalibrationError(
            f"the calibration data has {count} sample{'' if count == 1 else 's'}, and at least two"
            " are needed",
            advice="One part is planned on, another is held out to measure accuracy.",
        )
    ranges = {n: (float(a.min()), float(a.max())) for n, a in arrays.items()}
    ranges |= _declared(signature.inputs)
    for mask in signature.masks.values():
        ranges[mask.name] = 0.0, ranges[mask.name][1]
    order = np.random.default_rng(0).permutation(count)
    held = order[: max(1, min(MAX_HELD_OUT, count // 4))]
    plan = order[len(held) :][:MAX_PLAN]
    return Samples(
        plan=tuple(columns.row(i) for i in plan),
        held_out=tuple(columns.row(i) for i in held),
        ranges=ranges,
        calibrated=True,
        digest=sha256(data),
    )


def draw(signature: Signature, ranges: Mapping[str, Range], seed: int = 0) -> Samples:
    """Samples drawn uniformly from declared ranges: for a model without calibration data.

    Each fourth is drawn eight times ``nearer`` to zero: a range that covers one input reaches far
    beyond a small one, where what normalises its input is exact with fewer bits.
    """
    rng = np.random.default_rng(seed)
    wide = [
        {t.name: _draw(rng, t, *ranges[t.name]) for t in signature.inputs} for _ in range(_DRAWN)
    ]
    drawn = tuple(s if at % _NEAR_EACH else nearer(s, ranges) for at, s in enumerate(wide))
    return Samples(
        plan=drawn[: _DRAWN // 2],
        held_out=drawn[_DRAWN // 2 :],
        ranges=dict(ranges),
        calibrated=False,
        digest=digest_json({"ranges": {n: list(r) for n, r in ranges.items()}}),
    )


def default_ranges(signature: Signature) -> dict[str, Range]:
    """What is accepted where nothing is known: -1 to 1, or 0 to 1 for what cannot be negative, and
    every category."""
    return {t.name: _clipped(1.0, t.dtype) for t in signature.inputs} | _declared(signature.inputs)


def _declared(tensors: Iterable[TensorSpec]) -> dict[str, Range]:
    """What is accepted whatever the data: all places of a list of categories."""
    return {t.name: (0.0, float(t.places - 1)) for t in tensors if t.categories is not None}


def never_true(ranges: Mapping[str, Range]) -> frozenset[str]:
    """The inputs that are 0 whatever is proved: among them the masks where no value is missing."""
    return frozenset(name for name, range_ in ranges.items() if range_ == (0.0, 0.0))


def covering_ranges(sample: Sample, tensors: Iterable[TensorSpec]) -> dict[str, Range]:
    """Power-of-two ranges that hold a sample; from 0 where it has no negative value.

    What a circuit without calibration data is built for: few different ones, so later inputs of
    about the same size find the circuit made, and ±1 for anything from a quarter to 1. Numbers
    smaller than that have a range of their own size, or a model that tells them apart would be
    planned for what it never sees. Integers may be indices, for which a larger one
    is none at all: their range ends at the largest that is there. Raises
    ``InputOutOfRange`` for a magnitude that no circuit's integers hold with any precision left.
    """
    out = {}
    for name, values in sample.items():
        largest = float(np.abs(values.astype(np.float64)).max(initial=0.0))
        if largest > MAX_MAGNITUDE:
            raise InputOutOfRange(
                f"input {name!r} has a value of magnitude {largest:.3g}; circuits are planned for"
                f" magnitudes up to {MAX_MAGNITUDE:.3g}",
                advice="Scale the input, as is usual before a network, and export that step with"
                " it.",
                input=name,
            )
        if values.dtype.kind != "f":
            out[name] = (min(0.0, float(values.min(initial=0))), float(values.max(initial=0)))
            continue
        bound = _covering(largest)
        low, high = _clipped(bound, values.dtype.name)
        out[name] = (low if (values < 0).any() else 0.0, high)
    return out | {n: r for n, r in _declared(tensors).items() if n in sample}


def _covering(largest: float) -> float:
    """A power of two that is no smaller."""
    if largest == 0 or _USUAL <= largest <= 1:
        return 1.0
    return math.ldexp(1.0, max(_SMALLEST, math.ceil(math.log2(largest))))


def accepted_ranges(
    signature: Signature, ranges: Mapping[str, Range], margin: float
) -> dict[str, Range]:
    """What a circuit accepts: the ranges with a margin, for integers without."""
    return {
        t.name: widened(ranges[t.name], margin if t.dtype.startswith("float") else 0.0)
        for t in signature.inputs
    }


def _clipped(bound: float, dtype: str) -> Range:
    """``-bound`` to ``bound``, as far as the dtype goes."""
    low, high = dtype_bounds(dtype)
    return max(-bound, float(low)), min(bound, float(high))


def widened(range_: Range, margin: float) -> Range:
    """A range with ``margin`` times its width added on each side.

    A range that begins at 0 still does: counts, pixels and what a root is taken of are never
    negative, and the model may have no answer for what is.
    """
    lower, upper = range_
    room = margin * (upper - lower)
    return 0.0 if lower == 0 else lower - room, upper + room


def answered(
    samples: Sequence[Sample], ask: Ask, drawn_from: Mapping[str, Range] | None
) -> tuple[tuple[Sample, ...], list[Sequence[NDArray[Any]]]]:
    """The samples on which the model's answers are finite, with those answers.

    A drawn sample (``drawn_from`` has the ranges) may lie where the model has no answer, such as a
    root of a negative number: it is tried once more ``nearer`` to zero, then left out. One of the
    user's own should have one. Raises ``CalibrationError`` for such a one, or when none is left.
    """
    answers = ask(samples)
    lost = sum(not is_finite(a) for a in answers)
    if lost and drawn_from is not None:
        samples = [
            s if is_finite(a) else nearer(s, drawn_from)
            for s, a in zip(samples, answers, strict=True)
        ]
        answers = ask(samples)
    pairs = [(s, a) for s, a in zip(samples, answers, strict=True) if is_finite(a)]
    if not pairs or (lost and drawn_from is None):
        whose = "samples drawn from the accepted range" if drawn_from else "calibration samples"
        raise CalibrationError(
            f"onnxruntime answers {lost} of {len(samples)} {whose} with NaN or an infinity",
            advice="Give calibration data like the inputs that you will prove, on which the"
            " model has finite answers.",
        )
    return tuple(s for s, _ in pairs), [a for _, a in pairs]


def is_finite(answer: Sequence[NDArray[Any]]) -> bool:
    """Whether a model's outputs for one sample hold neither NaN nor an infinity."""
    return all(np.isfinite(v).all() for v in answer)


def nearer(sample: Sample, ranges: Mapping[str, Range]) -> Sample:
    """A drawn sample at an eighth of its distance from zero, or from the end of its range that is
    nearest to zero. Integers stay."""
    out = {}
    for name, values in sample.items():
        anchor = min(max(0.0, ranges[name][0]), ranges[name][1])
        moved = anchor + (values - anchor) / _NEARER if values.dtype.kind == "f" else values
        out[name] = np.asarray(moved, dtype=values.dtype)  # a scalar stays an array
    return out


def _draw(rng: np.random.Generator, tensor: TensorSpec, lower: float, upper: float) -> NDArray[Any]:
    if tensor.dtype.startswith("float"):
        return rng.uniform(lower, upper, tensor.shape).astype(tensor.dtype)
    # Through int64: a generator of unsigned or larger integers would give nothing that fits.
    low, high = math.ceil(lower), min(math.floor(upper), np.iinfo(np.int64).max)
    return rng.integers(low, high, tensor.shape, endpoint=True).astype(tensor.dtype)


def corner_samples(inputs: tuple[InputEncoding, ...]) -> list[Sample]:
    """Inputs at the edges of what is accepted: all low, all high, alternating, random signs."""
    rng = np.random.default_rng(1)

    def patterns(size: int) -> list[NDArray[np.bool_]]:
        order = np.arange(size)
        fixed = [order < 0, order >= 0, order % 2 == 0, order % 2 == 1]
        return fixed + [rng.random(size) < 0.5 for _ in range(4)]

    columns = {
        e.tensor.name: [
            np.where(low, e.lower, e.upper).astype(np.float64).reshape(e.tensor.shape)
            for low in patterns(e.tensor.size)
        ]
        for e in inputs
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
